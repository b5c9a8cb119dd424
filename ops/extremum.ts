/**
 * Largest and smallest: of two operands, or along axes.
 *
 * @module
 */
import { NUMBERS } from "../core/dtype.ts";
import { bind, type Op, type VjpCall } from "../core/op.ts";
import { Tensor, type TensorLike } from "../core/tensor.ts";
import { cast, div, equal, greater, less, mul, where } from "./elementwise.ts";
import { reduce, type ReduceAttrs, reduceOp, type ReduceOptions, sumOp } from "./reduce.ts";
import { applyBinary, binaryOp } from "./scalar.ts";

/** The part of `dy` that goes to `x`, where `wins(x, other)`: all of it, half where both are equal. */
function share(dy: Tensor, x: Tensor, other: Tensor, wins: typeof greater): Tensor {
  return mul(dy, where(equal(x, other), 0.5, cast(wins(x, other), dy.dtype)));
}

/** Binary `max` as data: `dy` goes to the larger operand, half to each where they are equal. */
export const maxOp: Op<2, null> = binaryOp("max", "compare", NUMBERS, [
  ({ a, b, dy }) => share(dy, a, b, greater),
  ({ a, b, dy }) => share(dy, b, a, greater),
]);

/** Binary `min` as data: `dy` goes to the smaller operand, half to each where they are equal. */
export const minOp: Op<2, null> = binaryOp("min", "compare", NUMBERS, [
  ({ a, b, dy }) => share(dy, a, b, less),
  ({ a, b, dy }) => share(dy, b, a, less),
]);

/** `dy` spread evenly over the places that hold the extreme value `y`. */
function spread({ inputs: [x], output: y, grad: dy, attrs: { axes } }: VjpCall<1, ReduceAttrs>): Tensor {
  const winners = cast(equal(x, y), dy.dtype);
  return mul(winners, div(dy, bind(sumOp, [winners], { axes })));
}

/** `reduceMax` as data: `dy` is spread evenly over the places that hold the maximum. */
export const reduceMaxOp: Op<1, ReduceAttrs> = reduceOp("reduceMax", "max", NUMBERS, spread);

/** `reduceMin` as data: `dy` is spread evenly over the places that hold the minimum. */
export const reduceMinOp: Op<1, ReduceAttrs> = reduceOp("reduceMin", "min", NUMBERS, spread);

function isOperand(value: unknown): value is TensorLike {
  return value instanceof Tensor || typeof value === "number" || typeof value === "boolean";
}

/**
 * The larger of two operands, element by element: shapes broadcast, a number takes the other operand's dtype.
 *
 * NaN wins. Where operands are equal, each gets half of the gradient.
 *
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.max(tn.tensor([1, 5]), 3).array(), [3, 5]);
 * ```
 */
export function max(a: TensorLike, b: TensorLike): Tensor;
/**
 * The largest element along axes: NaN wins, and the gradient is spread evenly over equal maxima.
 *
 * For an empty axis the result is the smallest value of the dtype (`-Infinity` for floats).
 *
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.max(tn.tensor([[1, 2], [4, 3]]), { axis: 1 }).array(), [2, 4]);
 * ```
 */
export function max(x: Tensor, options?: ReduceOptions): Tensor;
export function max(a: TensorLike, b: TensorLike | ReduceOptions = {}): Tensor {
  if (isOperand(b)) return applyBinary(maxOp, "compare", a, b);
  return reduce(reduceMaxOp, a as Tensor, b, "take the maximum");
}

/**
 * The smaller of two operands, element by element: shapes broadcast, a number takes the other operand's dtype.
 *
 * NaN wins. Where operands are equal, each gets half of the gradient.
 *
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.min(tn.tensor([1, 5]), 3).array(), [1, 3]);
 * ```
 */
export function min(a: TensorLike, b: TensorLike): Tensor;
/**
 * The smallest element along axes: NaN wins, and the gradient is spread evenly over equal minima.
 *
 * For an empty axis the result is the largest value of the dtype (`Infinity` for floats).
 *
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.min(tn.tensor([[1, 2], [4, 3]]), { axis: 1 }).array(), [1, 3]);
 * ```
 */
export function min(x: Tensor, options?: ReduceOptions): Tensor;
export function min(a: TensorLike, b: TensorLike | ReduceOptions = {}): Tensor {
  if (isOperand(b)) return applyBinary(minOp, "compare", a, b);
  return reduce(reduceMinOp, a as Tensor, b, "take the minimum");
}
