/**
 * Recurrent cells; the layers that walk them along time are in `transforms/recurrent.ts`.
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
import { scope } from "../core/scope.ts";
import { show, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, mul, sigmoid, sub, tanh } from "./elementwise.ts";
import { gather } from "./index.ts";
import { linear } from "./linear.ts";
import { matmul } from "./matmul.ts";
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
export function fromInput(x: Tensor, { input, bias }: RecurrentParams): Tensor {
  if (x.dtype !== "i32") return linear(x, bias ? { weight: input, bias } : { weight: input });
  if (!bias) return gather(input, x);
  // the bias where there are fewer rows
  return input.shape[0] < x.size ? gather(add(input, bias), x) : add(gather(input, x), bias);
}

function fromHidden(hidden: Tensor, params: RecurrentParams): Tensor {
  const gates = matmul(hidden, params.hidden);
  return params.hiddenBias ? add(gates, params.hiddenBias) : gates;
}

/** A step of the LSTM whose gates hold the input's part. */
export function lstmStep(gates: Tensor, { hidden, cell }: LstmState, params: RecurrentParams): LstmState {
  const [nextHidden, nextCell] = bindAll(lstmGatesOp, [add(gates, fromHidden(hidden, params)), cell], null);
  return { hidden: nextHidden, cell: nextCell };
}

/** A step of the plain cell, likewise. */
export function rnnStep(gates: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
  return tanh(add(gates, fromHidden(hidden, params)));
}

/** A step of the GRU, likewise. */
export function gruStep(gates: Tensor, hidden: Tensor, params: RecurrentParams): Tensor {
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
