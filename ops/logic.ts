/**
 * Elementwise logic: on bool as truth values, on whole numbers bit by bit.
 *
 * @module
 */
import { type DType, INTEGERS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor, TensorLike } from "../core/tensor.ts";
import { applyBinary, binaryOp, unaryOp } from "./scalar.ts";

const LOGICAL: readonly DType[] = ["bool", ...INTEGERS];

/** `not` as data; constant to gradients. */
export const notOp: Op<1, null> = unaryOp("not", LOGICAL);

/**
 * Logical negation of bool, bitwise complement of whole numbers.
 *
 * @param x bool, i32 or u32, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.not(tn.tensor([true, false])).array(), [false, true]);
 * ```
 */
export function not(x: Tensor): Tensor {
  return bind(notOp, [x], null);
}

/** `and` as data; constant to gradients. */
export const andOp: Op<2, null> = binaryOp("and", "and", LOGICAL);

/**
 * `a ∧ b`, element by element: logical on bool, bitwise on whole numbers.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not bool, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.and(tn.tensor([true, true]), tn.tensor([true, false])).array(), [true, false]);
 * ```
 */
export function and(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(andOp, "and", a, b);
}

/** `or` as data; constant to gradients. */
export const orOp: Op<2, null> = binaryOp("or", "or", LOGICAL);

/**
 * `a ∨ b`, element by element: logical on bool, bitwise on whole numbers.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not bool, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.or(tn.tensor([false, true]), tn.tensor([false, false])).array(), [false, true]);
 * ```
 */
export function or(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(orOp, "or", a, b);
}

/** `xor` as data; constant to gradients. */
export const xorOp: Op<2, null> = binaryOp("xor", "xor", LOGICAL);

/**
 * `a ⊕ b`, element by element: logical on bool, bitwise on whole numbers.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not bool, i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.xor(tn.tensor([6], { dtype: "i32" }), 3).array(), [5]);
 * ```
 */
export function xor(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(xorOp, "xor", a, b);
}

/** `shiftLeft` as data; constant to gradients. */
export const shiftLeftOp: Op<2, null> = binaryOp("shiftLeft", "shift", INTEGERS);

/**
 * `a` with its bits moved up by `b` places (modulo 32).
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.shiftLeft(tn.tensor([3], { dtype: "i32" }), 2).array(), [12]);
 * ```
 */
export function shiftLeft(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(shiftLeftOp, "shift", a, b);
}

/** `shiftRight` as data; constant to gradients. */
export const shiftRightOp: Op<2, null> = binaryOp("shiftRight", "shift", INTEGERS);

/**
 * `a` with its bits moved down by `b` places (modulo 32); i32 keeps its sign, u32 fills with 0.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not i32 or u32.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.shiftRight(tn.tensor([-8], { dtype: "i32" }), 1).array(), [-4]);
 * ```
 */
export function shiftRight(a: TensorLike, b: TensorLike): Tensor {
  return applyBinary(shiftRightOp, "shift", a, b);
}
