/**
 * Layers without a nonlinearity: linear maps, embeddings and dropout.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { show, size } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, div, where } from "./elementwise.ts";
import { gather } from "./index.ts";
import { matmul } from "./matmul.ts";
import { bernoulli, type Key } from "./random.ts";
import { alias, reshape } from "./shape.ts";

/** `x · W + b` for every row of x; the inputs are x, weight and, where there is one, bias. */
export const linearOp: Op<number, null> = {
  name: "linear",
  infer([x, weight, bias]) {
    requireDType("linear", x.dtype, FLOATS);
    requireSameDType("multiply", x, weight);
    const inner = x.shape.at(-1), [rows, columns] = weight.shape;
    if (weight.shape.length !== 2 || inner !== rows) {
      throw new ShapeError(
        `Cannot map ${show(x.shape)} by a weight of shape ${show(weight.shape)}: it must be [${inner ?? "in"},out]`,
      );
    }
    if (bias) requireSameDType("add", x, bias);
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== columns)) {
      throw new ShapeError(
        `Cannot map ${show(x.shape)} with a bias of shape ${show(bias.shape)}: it must be [${columns}]`,
      );
    }
    return { shape: [...x.shape.slice(0, -1), columns], dtype: x.dtype };
  },
  // the leading axes become one, so that the weight's gradient is one product
  body([x, weight, bias]) {
    const lead = x.shape.slice(0, -1), [inner, columns] = weight.shape;
    const y = matmul(reshape(x, [size(lead), inner]), weight); // [rows, out]
    return reshape(bias ? add(y, bias) : y, [...lead, columns]);
  },
};

/** Parameters of {@linkcode linear}. */
export interface LinearParams {
  /** `[in, out]`. */
  readonly weight: Tensor;
  /** `[out]`. */
  readonly bias?: Tensor;
}

/**
 * Linear map of the last axis: `x · weight + bias`.
 *
 * @param x `[..., in]`, f32 or f16.
 * @returns `[..., out]`.
 * @throws {ShapeError} If the parameters do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const params = { weight: tn.tensor([[1, 0, 2], [0, 1, 3]]), bias: tn.tensor([0, 0, 1]) }; // [2, 3] and [3]
 * assertEquals(await tn.linear(tn.tensor([[10, 20]]), params).array(), [[10, 20, 81]]);
 * ```
 */
export function linear(x: Tensor, { weight, bias }: LinearParams): Tensor {
  return bind(linearOp, bias ? [x, weight, bias] : [x, weight], null);
}

/**
 * Rows of a table: `table[ids]`.
 *
 * @param table `[vocabulary, C]`.
 * @param ids Any shape, i32 or u32. An id outside the table gives NaN.
 * @returns `[...ids.shape, C]`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const table = tn.tensor([[0, 1], [2, 3], [4, 5]]);
 * assertEquals(await tn.embedding(table, tn.tensor([2, 0], { dtype: "i32" })).array(), [[4, 5], [0, 1]]);
 * ```
 */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  return gather(table, ids, { axis: 0 });
}

/** `x / (1 - rate)` where the key says so, else 0; the inputs are x and the key's words. */
export const dropoutOp: Op<2, { readonly rate: number }> = {
  name: "dropout",
  infer([x]) {
    requireDType("dropout", x.dtype, FLOATS);
    return { shape: x.shape, dtype: x.dtype };
  },
  body([x, threefry], { rate }) {
    return where(bernoulli({ threefry }, x.shape, { probability: 1 - rate }), div(x, 1 - rate), 0);
  },
  // linear in x, and the key gives the same mask again: nothing needs to be kept
  vjp: ({ inputs: [, threefry], grad, attrs }) => [bind(dropoutOp, [grad, threefry], attrs), null],
};

/**
 * Sets a random share of the elements to 0 and scales the others up, so that the mean stays (Srivastava et al. 2014).
 *
 * @param x Any shape, f32 or f16.
 * @param key Decides which elements; the same key gives the same ones on every backend.
 * @param options `rate` is the share that is dropped, 0.5 by default; 0 changes nothing.
 * @throws {ArgumentError} If the rate is not at least 0 and less than 1.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const y = tn.dropout(tn.ones([6]), tn.key(0), { rate: 0.5 });
 * assertEquals(await y.array(), [0, 0, 2, 2, 0, 2]);
 * ```
 */
export function dropout(x: Tensor, key: Key, { rate = 0.5 }: { readonly rate?: number } = {}): Tensor {
  if (!(rate >= 0 && rate < 1)) {
    throw new ArgumentError(`Cannot drop out a share of ${rate}: it must be at least 0 and less than 1`);
  }
  return rate === 0 ? alias(x) : bind(dropoutOp, [x, key.threefry], { rate });
}
