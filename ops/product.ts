/**
 * Products along axes.
 *
 * @module
 */
import { NUMBERS } from "../core/dtype.ts";
import type { Op, VjpCall } from "../core/op.ts";
import type { Tensor } from "../core/tensor.ts";
import { cast, mul } from "./elementwise.ts";
import { reduce, type ReduceAttrs, reducedSize, reduceOp, type ReduceOptions } from "./reduce.ts";
import { concat, pad, reshape, slice, transpose } from "./shape.ts";

/**
 * `prod` as data: each `dx` is `dy` times the product of all the others.
 *
 * Dividing the product by `x` would fail at zeros; walking back through a tree of multiplications does not.
 */
export const prodOp: Op<1, ReduceAttrs> = reduceOp("prod", "prod", NUMBERS, prodGradient);

function prodGradient({ inputs: [x], grad: dy, attrs: { axes } }: VjpCall<1, ReduceAttrs>): Tensor {
  const kept = x.shape.flatMap((_, axis) => axes.includes(axis) ? [] : [axis]);
  const order = [...kept, ...axes];
  const count = reducedSize(x.shape, axes);
  if (x.size === 0) return x;
  const rows = reshape(transpose(x, order), [x.size / count, count]);
  const grads = rowGradient(rows, reshape(dy, [x.size / count, 1]));
  const moved = reshape(grads, order.map((axis) => x.shape[axis]));
  return transpose(moved, order.map((_, axis) => order.indexOf(axis)));
}

/** For rows `[m, n]` and the gradient `[m, 1]` of their products: the gradient `[m, n]` of the elements. */
function rowGradient(rows: Tensor, dy: Tensor): Tensor {
  const [, n] = rows.shape;
  if (n === 1) return dy;
  const half = Math.ceil(n / 2);
  const left = slice(rows, 0, half, { axis: 1 });
  const right = pad(slice(rows, half, n, { axis: 1 }), [[0, 0], [0, 2 * half - n]], { value: 1 });
  const pairs = rowGradient(mul(left, right), dy); // [m, half]
  return slice(concat([mul(pairs, right), mul(pairs, left)], 1), 0, n, { axis: 1 });
}

/**
 * Product along axes; 1 for an empty axis.
 *
 * @param x Any dtype; bool is counted as i32.
 * @returns Same dtype (i32 for bool), without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.prod(tn.tensor([[1, 2], [3, 4]]), { axis: 0 }).array(), [3, 8]);
 * ```
 */
export function prod(x: Tensor, options: ReduceOptions = {}): Tensor {
  if (x.dtype !== "bool") return reduce(prodOp, x, options, "multiply");
  using counts = cast(x, "i32");
  return reduce(prodOp, counts, options, "multiply");
}
