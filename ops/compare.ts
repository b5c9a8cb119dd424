/**
 * Elementwise comparisons; their results are bool.
 *
 * @module
 */
import { DTYPES, FLOATS, NUMBERS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor, TensorLike } from "../core/tensor.ts";
import { applyBinary, binaryOp, unaryOp } from "./scalar.ts";

/** `equal` as data; constant to gradients. */
export const equalOp: Op<2, null> = binaryOp("equal", "compare", DTYPES, undefined, "bool");

/**
 * Whether `a = b`, element by element.
 *
 * A comparison with NaN is false.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not known.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.equal(tn.tensor([1, 2]), 2).array(), [false, true]);
 * ```
 */
export function equal(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(equalOp, "compare", a, b);
}

/** `notEqual` as data; constant to gradients. */
export const notEqualOp: Op<2, null> = binaryOp("notEqual", "compare", DTYPES, undefined, "bool");

/**
 * Whether `a ≠ b`, element by element.
 *
 * A comparison with NaN is true.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not known.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.notEqual(tn.tensor([1, 2]), 2).array(), [true, false]);
 * ```
 */
export function notEqual(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(notEqualOp, "compare", a, b);
}

/** `less` as data; constant to gradients. */
export const lessOp: Op<2, null> = binaryOp("less", "compare", NUMBERS, undefined, "bool");

/**
 * Whether `a < b`, element by element.
 *
 * A comparison with NaN is false.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.less(tn.tensor([1, 2]), 2).array(), [true, false]);
 * ```
 */
export function less(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(lessOp, "compare", a, b);
}

/** `lessEqual` as data; constant to gradients. */
export const lessEqualOp: Op<2, null> = binaryOp("lessEqual", "compare", NUMBERS, undefined, "bool");

/**
 * Whether `a ≤ b`, element by element.
 *
 * A comparison with NaN is false.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.lessEqual(tn.tensor([1, 2]), 1).array(), [true, false]);
 * ```
 */
export function lessEqual(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(lessEqualOp, "compare", a, b);
}

/** `greater` as data; constant to gradients. */
export const greaterOp: Op<2, null> = binaryOp("greater", "compare", NUMBERS, undefined, "bool");

/**
 * Whether `a > b`, element by element.
 *
 * A comparison with NaN is false.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.greater(tn.tensor([1, 2]), 1).array(), [false, true]);
 * ```
 */
export function greater(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(greaterOp, "compare", a, b);
}

/** `greaterEqual` as data; constant to gradients. */
export const greaterEqualOp: Op<2, null> = binaryOp("greaterEqual", "compare", NUMBERS, undefined, "bool");

/**
 * Whether `a ≥ b`, element by element.
 *
 * A comparison with NaN is false.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns bool, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32, f16, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.greaterEqual(tn.tensor([1, 2]), 2).array(), [false, true]);
 * ```
 */
export function greaterEqual(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(greaterEqualOp, "compare", a, b);
}

/** `isNaN` as data; constant to gradients. */
export const isNaNOp: Op<1, null> = unaryOp("isNaN", FLOATS, undefined, "bool");

/**
 * Whether every element is NaN.
 *
 * @param x f32 or f16, of any shape.
 * @returns bool, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.isNaN(tn.tensor([NaN, 1])).array(), [true, false]);
 * ```
 */
export function isNaN(x: Tensor): Tensor {
  return bind(isNaNOp, [x], null);
}

/** `isFinite` as data; constant to gradients. */
export const isFiniteOp: Op<1, null> = unaryOp("isFinite", FLOATS, undefined, "bool");

/**
 * Whether every element is neither infinite nor NaN.
 *
 * @param x f32 or f16, of any shape.
 * @returns bool, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.isFinite(tn.tensor([Infinity, 1])).array(), [false, true]);
 * ```
 */
export function isFinite(x: Tensor): Tensor {
  return bind(isFiniteOp, [x], null);
}
