/**
 * Recurrent layers: the cells of `ops/recurrent.ts`, walked along time. In shape comments: B batch, T time, I inputs,
 * H hidden units, G gates.
 *
 * @module
 */
import { ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { arange, zeros } from "../ops/create.ts";
import { add, less, where } from "../ops/elementwise.ts";
import { fromInput, gruStep, type LstmState, lstmStep, type RecurrentParams, rnnStep } from "../ops/recurrent.ts";
import { expandDims, reshape } from "../ops/shape.ts";
import { scan } from "./scan.ts";

/** How to walk along time. */
export interface RecurrentOptions {
  /** From the last step to the first; outputs keep their places. */
  readonly reverse?: boolean;
  /**
   * Steps of each sequence, i32 `[B]`; all of them by default. Past its end a sequence keeps its state and its outputs
   * are 0, so that a walk in reverse begins at the end of each, as over PyTorch's packed sequences.
   */
  readonly lengths?: Tensor;
}

function requireSequence(name: string, xs: Tensor, { input }: RecurrentParams, { lengths }: RecurrentOptions): void {
  const fits = xs.dtype === "i32" ? xs.rank === 2 : xs.rank === 3 && xs.shape[2] === input.shape[0];
  if (!fits || input.rank !== 2) {
    throw new ShapeError(
      `Cannot run ${name} over ${show(xs.shape)} with input weights ${
        show(input.shape)
      }: it takes [time, batch, inputs]`,
    );
  }
  if (lengths && (lengths.rank !== 1 || lengths.shape[0] !== xs.shape[1])) {
    throw new ShapeError(
      `Cannot run ${name} over ${show(xs.shape)} with lengths ${show(lengths.shape)}: they must be [${xs.shape[1]}]`,
    );
  }
}

function initial(xs: Tensor, { hidden }: RecurrentParams): Tensor {
  return zeros([xs.shape[1], hidden.shape[0]], { dtype: hidden.dtype, backend: xs.backend.name });
}

/** A cell's step, seen from the loop: the gates' input part is there, `[B, G·H]`. */
type Step<S> = (gates: Tensor, state: S, params: RecurrentParams) => S;

/** Walks along time; a state is one or more tensors `[B, H]` by name, the hidden one is what it shows. */
function walk<S extends { readonly hidden: Tensor }>(
  step: Step<S>,
  { xs, params, start, reverse = false, lengths }: RecurrentOptions & {
    readonly xs: Tensor;
    readonly params: RecurrentParams;
    readonly start: S;
  },
): [outputs: Tensor, state: S] {
  const gates = fromInput(xs, params); // [T, B, G·H]
  if (!lengths) {
    const turn = (state: S, gates: Tensor) => {
      const next = step(gates, state, params);
      return [next, next.hidden] as const;
    };
    const [state, outputs] = scan(turn, start, gates, { reverse });
    return [outputs, state];
  }
  const T = xs.shape[0], steps = reshape(arange(T, { backend: xs.backend.name }), [T, 1, 1]);
  const runs = less(steps, expandDims(lengths, 1)); // [T, B, 1]
  const turn = (state: S, { gates, runs }: { readonly gates: Tensor; readonly runs: Tensor }) => {
    const next = tree.map((next: Tensor, last: Tensor) => where(runs, next, last), step(gates, state, params), state);
    return [next, where(runs, next.hidden, 0)] as const;
  };
  const [state, outputs] = scan(turn, start, { gates, runs }, { reverse });
  return [outputs, state];
}

/** The biases added up before the loop, where the cell only ever adds both. */
function withOneBias({ bias, hiddenBias, ...weights }: RecurrentParams): RecurrentParams {
  if (!hiddenBias) return bias ? { ...weights, bias } : weights;
  return { ...weights, bias: bias ? add(bias, hiddenBias) : hiddenBias };
}

/**
 * A plain recurrent layer along the first axis. The input's part is one product before the loop.
 *
 * @param xs `[T, B, I]`, or i32 `[T, B]`: numbers of inputs that are 1, the others 0.
 * @param params See {@linkcode rnnCell}.
 * @param options `hidden` to start from, zeros by default.
 * @returns The hidden state of every step, `[T, B, H]`, and the last one, `[B, H]`.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 2]), hidden: tn.zeros([2, 2]) };
 * console.log(tn.rnn(tn.ones([5, 1, 3]), params)[0].shape); // [5, 1, 2]
 * ```
 */
export function rnn(
  xs: Tensor,
  params: RecurrentParams,
  options: RecurrentOptions & { readonly hidden?: Tensor } = {},
): [outputs: Tensor, hidden: Tensor] {
  requireSequence("rnn", xs, params, options);
  return scope(() => {
    const start = { hidden: options.hidden ?? initial(xs, params) };
    const step: Step<typeof start> = (gates, { hidden }, params) => ({ hidden: rnnStep(gates, hidden, params) });
    const [outputs, { hidden }] = walk(step, { ...options, xs, params: withOneBias(params), start });
    return [outputs, hidden];
  });
}

/**
 * An LSTM layer along the first axis. The input's part of all gates is one product before the loop.
 *
 * @param xs `[T, B, I]`, or i32 `[T, B]`: numbers of inputs that are 1, the others 0.
 * @param params See {@linkcode lstmCell}.
 * @param options `state` to start from, zeros by default.
 * @returns The hidden state of every step, `[T, B, H]`, and the last state.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 8]), hidden: tn.zeros([2, 8]) };
 * const [outputs, state] = tn.lstm(tn.ones([5, 1, 3]), params);
 * console.log(outputs.shape, state.cell.shape); // [5, 1, 2] [1, 2]
 * ```
 */
export function lstm(
  xs: Tensor,
  params: RecurrentParams,
  options: RecurrentOptions & { readonly state?: LstmState } = {},
): [outputs: Tensor, state: LstmState] {
  requireSequence("lstm", xs, params, options);
  return scope(() => {
    const start = options.state ?? { hidden: initial(xs, params), cell: initial(xs, params) };
    return walk(lstmStep, { ...options, xs, params: withOneBias(params), start });
  });
}

/**
 * A GRU layer along the first axis. The input's part of all gates is one product before the loop.
 *
 * @param xs `[T, B, I]`, or i32 `[T, B]`: numbers of inputs that are 1, the others 0.
 * @param params See {@linkcode gruCell}.
 * @param options `hidden` to start from, zeros by default.
 * @returns The hidden state of every step, `[T, B, H]`, and the last one, `[B, H]`.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 6]), hidden: tn.zeros([2, 6]) };
 * console.log(tn.gru(tn.ones([5, 1, 3]), params)[0].shape); // [5, 1, 2]
 * ```
 */
export function gru(
  xs: Tensor,
  params: RecurrentParams,
  options: RecurrentOptions & { readonly hidden?: Tensor } = {},
): [outputs: Tensor, hidden: Tensor] {
  requireSequence("gru", xs, params, options);
  return scope(() => {
    const start = { hidden: options.hidden ?? initial(xs, params) };
    const step: Step<typeof start> = (gates, { hidden }, params) => ({ hidden: gruStep(gates, hidden, params) });
    const [outputs, { hidden }] = walk(step, { ...options, xs, params, start });
    return [outputs, hidden];
  });
}
