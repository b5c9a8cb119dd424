/**
 * Recurrent cells and the layers that walk them along time.
 *
 * A cell is two products and one op for everything between them, so that a backend makes one kernel of the gates,
 * forward and backward. Gates stand side by side in PyTorch's order: input, forget, cell, output for the LSTM; reset,
 * update, new for the GRU. In shape comments: B batch, T time, I inputs, H hidden units, G gates.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { bind, bindAll, type Op, requireSameDType } from "../core/op.ts";
import { scan } from "../core/scan.ts";
import { scope } from "../core/scope.ts";
import { show, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { arange, zeros } from "./create.ts";
import { add, less, mul, sigmoid, sub, tanh, where } from "./elementwise.ts";
import { gather } from "./index.ts";
import { linear } from "./linear.ts";
import { matmul } from "./matmul.ts";
import { expandDims, reshape } from "./shape.ts";
import { split } from "./split.ts";

/** Throws unless `gates` is `[B, count * H]` for a state `[B, H]`. */
function validateGates(name: string, gates: Spec, state: Spec, count: number): void {
  requireDType(name, gates.dtype, FLOATS);
  requireSameDType(`update a state of ${name} with`, state, gates);
  const [batch, hidden] = state.shape;
  if (
    state.shape.length !== 2 || gates.shape.length !== 2 || gates.shape[0] !== batch ||
    gates.shape[1] !== count * hidden
  ) {
    throw new ShapeError(
      `Cannot update a state of ${name} of shape ${show(state.shape)} with gates ${show(gates.shape)}: ` +
        `they must be [${batch ?? "batch"},${Number.isFinite(hidden) ? count * hidden : `${count} * hidden`}]`,
    );
  }
}

/** `(gates [B, 4H], cell [B, H]) -> (hidden, cell)`: `c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`. */
export const lstmGatesOp: Op<2, null, 2> = {
  name: "lstmGates",
  infer([gates, cell]) {
    validateGates("lstmCell", gates, cell, 4);
    return [cell, cell];
  },
  body([gates, cell]) {
    const [input, forget, candidate, output] = split(gates, 4, { axis: 1 }); // [B, H] each
    const next = add(mul(sigmoid(forget), cell), mul(sigmoid(input), tanh(candidate)));
    return [mul(sigmoid(output), tanh(next)), next];
  },
};

/**
 * `(x gates [B, 3H], h gates [B, 3H], hidden [B, H]) -> hidden`: `r = σ(rx + rh)`, `z = σ(zx + zh)`,
 * `n = tanh(nx + r·nh)`, `h' = (1 − z)·n + z·h`.
 */
export const gruGatesOp: Op<3, null> = {
  name: "gruGates",
  infer([fromInput, fromHidden, hidden]) {
    validateGates("gruCell", fromInput, hidden, 3);
    validateGates("gruCell", fromHidden, hidden, 3);
    return hidden;
  },
  body([fromInput, fromHidden, hidden]) {
    const [resetX, updateX, newX] = split(fromInput, 3, { axis: 1 }); // [B, H] each
    const [resetH, updateH, newH] = split(fromHidden, 3, { axis: 1 });
    const reset = sigmoid(add(resetX, resetH)), update = sigmoid(add(updateX, updateH));
    const candidate = tanh(add(newX, mul(reset, newH)));
    return add(candidate, mul(update, sub(hidden, candidate)));
  },
};

/** Weights of a recurrent cell; `G` is 4 for an LSTM, 3 for a GRU, 1 for a plain one. */
export interface RecurrentParams {
  /** `[I, G·H]`. */
  readonly input: Tensor;
  /** `[H, G·H]`. */
  readonly hidden: Tensor;
  /** `[G·H]`, added to the input's part. */
  readonly bias?: Tensor;
  /** `[G·H]`, added to the hidden part; a GRU multiplies it by the reset gate. */
  readonly hiddenBias?: Tensor;
}

/** What an LSTM carries from step to step, `[B, H]` each. */
export interface LstmState {
  /** What the cell shows, and feeds back to the gates. */
  readonly hidden: Tensor;
  /** What the cell remembers. */
  readonly cell: Tensor;
}

/** The input's part of the gates, `[..., I]` -> `[..., G·H]`; numbers i32 `[...]` stand for one-hot vectors. */
function fromInput(x: Tensor, { input, bias }: RecurrentParams): Tensor {
  if (x.dtype !== "i32") return linear(x, bias ? { weight: input, bias } : { weight: input });
  if (!bias) return gather(input, x);
  // the bias where there are fewer rows
  return input.shape[0] < x.size ? gather(add(input, bias), x) : add(gather(input, x), bias);
}

function fromHidden(hidden: Tensor, params: RecurrentParams): Tensor {
  const gates = matmul(hidden, params.hidden);
  return params.hiddenBias ? add(gates, params.hiddenBias) : gates;
}

function lstmStep(gates: Tensor, { hidden, cell }: LstmState, params: RecurrentParams): LstmState {
  const [nextHidden, nextCell] = bindAll(lstmGatesOp, [add(gates, fromHidden(hidden, params)), cell], null);
  return { hidden: nextHidden, cell: nextCell };
}

function rnnStep(gates: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
  return tanh(add(gates, fromHidden(hidden, params)));
}

function gruStep(gates: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
  return bind(gruGatesOp, [gates, fromHidden(hidden, params), hidden], null);
}

/**
 * One step of a long short-term memory (Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735).
 *
 * @param x `[B, I]`.
 * @param state Hidden and cell state, `[B, H]` each.
 * @param params Gates in the order input, forget, cell, output.
 * @returns The next state.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 8]), hidden: tn.zeros([2, 8]) };
 * const state = { hidden: tn.zeros([1, 2]), cell: tn.zeros([1, 2]) };
 * const { hidden } = tn.lstmCell(tn.ones([1, 3]), state, params);
 * console.log(hidden.shape); // [1, 2]
 * ```
 */
export function lstmCell(x: Tensor, state: LstmState, params: RecurrentParams): LstmState {
  return scope(() => lstmStep(fromInput(x, params), state, params));
}

/**
 * One step of a gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), the reset gate after the product as in PyTorch.
 *
 * @param x `[B, I]`.
 * @param hidden `[B, H]`.
 * @param params Gates in the order reset, update, new.
 * @returns The next hidden state, `[B, H]`.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 6]), hidden: tn.zeros([2, 6]) };
 * console.log(tn.gruCell(tn.ones([1, 3]), tn.zeros([1, 2]), params).shape); // [1, 2]
 * ```
 */
export function gruCell(x: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
  return scope(() => gruStep(fromInput(x, params), hidden, params));
}

/**
 * One step of a plain recurrent network (Elman 1990, doi:10.1207/s15516709cog1402_1): `tanh(x·W + b + h·U + c)`.
 *
 * @param x `[B, I]`.
 * @param hidden `[B, H]`.
 * @param params One gate, `[I, H]` and `[H, H]`.
 * @returns The next hidden state, `[B, H]`.
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const params = { input: tn.ones([3, 2]), hidden: tn.zeros([2, 2]) };
 * console.log(tn.rnnCell(tn.ones([1, 3]), tn.zeros([1, 2]), params).shape); // [1, 2]
 * ```
 */
export function rnnCell(x: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
  return scope(() => rnnStep(fromInput(x, params), hidden, params));
}

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
