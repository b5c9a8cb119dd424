/**
 * Elementwise arithmetic.
 *
 * @module
 */
import { NUMBERS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor, TensorLike } from "../core/tensor.ts";
import { round } from "./rounding.ts";
import { applyBinary, binaryOp, unaryOp } from "./scalar.ts";

/** `neg` as data: `y = -x`, `dx = -dy`. */
export const negOp: Op<1, null> = unaryOp("neg", NUMBERS, ({ dy }) => neg(dy));

/**
 * `-x` of every element; whole numbers wrap around.
 *
 * @param x Any dtype but bool, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.neg(tn.tensor([1, -2])).array(), [-1, 2]);
 * ```
 */
export function neg(x: Tensor): Tensor {
  return bind(negOp, [x], null);
}

/** `abs` as data: `y = |x|`, `dx = dy·sign x`, which is 0 at 0. */
export const absOp: Op<1, null> = unaryOp("abs", NUMBERS, ({ x, dy }) => mul(dy, sign(x)));

/**
 * Absolute value of every element.
 *
 * @param x Any dtype but bool, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.abs(tn.tensor([1, -2])).array(), [1, 2]);
 * ```
 */
export function abs(x: Tensor): Tensor {
  return bind(absOp, [x], null);
}

/** `sign` as data; constant to gradients. */
export const signOp: Op<1, null> = unaryOp("sign", NUMBERS);

/**
 * -1, 0 or 1 of every element: its sign; NaN stays NaN.
 *
 * @param x Any dtype but bool, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.sign(tn.tensor([5, 0, -2])).array(), [1, 0, -1]);
 * ```
 */
export function sign(x: Tensor): Tensor {
  return bind(signOp, [x], null);
}

/** `add` as data: `y = a + b`, `da = db = dy`. */
export const addOp: Op<2, null> = binaryOp("add", "add", NUMBERS, [({ dy }) => dy, ({ dy }) => dy]);

/**
 * `a + b`, element by element; whole numbers wrap around.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.add(tn.tensor([1, 2]), 1).array(), [2, 3]);
 * ```
 */
export function add(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(addOp, "add", a, b);
}

/** `sub` as data: `y = a - b`, `da = dy`, `db = -dy`. */
export const subOp: Op<2, null> = binaryOp("sub", "subtract", NUMBERS, [({ dy }) => dy, ({ dy }) => neg(dy)]);

/**
 * `a - b`, element by element; whole numbers wrap around.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.sub(10, tn.tensor([1, 2])).array(), [9, 8]);
 * ```
 */
export function sub(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(subOp, "subtract", a, b);
}

/** `mul` as data: `y = a·b`, `da = dy·b`, `db = dy·a`. */
export const mulOp: Op<2, null> = binaryOp("mul", "multiply", NUMBERS, [
  ({ b, dy }) => mul(dy, b),
  ({ a, dy }) => mul(dy, a),
]);

/**
 * `a · b`, element by element; whole numbers wrap around.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.mul(tn.tensor([[1], [2]]), tn.tensor([3, 4])).array(), [[3, 4], [6, 8]]);
 * ```
 */
export function mul(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(mulOp, "multiply", a, b);
}

/** `div` as data: `y = a/b`, `da = dy/b`, `db = -dy·y/b`. */
export const divOp: Op<2, null> = binaryOp("div", "divide", NUMBERS, [
  ({ b, dy }) => div(dy, b),
  ({ b, y, dy }) => neg(mul(div(dy, b), y)),
]);

/**
 * `a / b`, element by element.
 *
 * Whole numbers truncate toward zero, and their division by 0 gives 0.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.div(tn.tensor([3, 4]), 2).array(), [1.5, 2]);
 * ```
 */
export function div(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(divOp, "divide", a, b);
}

/** `mod` as data: `y = a - b·⌊a/b⌋`, `da = dy`, `db = -dy·⌊a/b⌋`. */
export const modOp: Op<2, null> = binaryOp("mod", "take the remainder of", NUMBERS, [
  ({ dy }) => dy,
  ({ a, b, y, dy }) => neg(mul(dy, round(div(sub(a, y), b)))),
]);

/**
 * Remainder of `a / b` with the sign of `b`, element by element, as `%` in Python and NumPy.
 *
 * Whole numbers give 0 for a divisor of 0, floats NaN.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.mod(tn.tensor([5, -5]), 3).array(), [2, 1]);
 * ```
 */
export function mod(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(modOp, "take the remainder of", a, b);
}
