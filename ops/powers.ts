/**
 * Elementwise powers and roots.
 *
 * @module
 */
import { FLOATS, NUMBERS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import { Tensor, type TensorLike } from "../core/tensor.ts";
import { div, mul, neg, sub } from "./arithmetic.ts";
import { equal, greater } from "./compare.ts";
import { log } from "./exponential.ts";
import { applyBinary, binaryOp, unaryOp } from "./scalar.ts";
import { where } from "./select.ts";

/** `square` as data: `y = x²`, `dx = 2·dy·x`. */
export const squareOp: Op<1, null> = unaryOp("square", NUMBERS, ({ x, dy }) => mul(dy, mul(x, 2)));

/**
 * `x²` of every element.
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
 * assertEquals(await tn.square(tn.tensor([3, -2])).array(), [9, 4]);
 * ```
 */
export function square(x: Tensor): Tensor {
  return bind(squareOp, [x], null);
}

/** `sqrt` as data: `y = √x`, `dx = dy / 2y`. */
export const sqrtOp: Op<1, null> = unaryOp("sqrt", FLOATS, ({ y, dy }) => mul(dy, div(0.5, y)));

/**
 * Square root of every element; NaN below 0.
 *
 * @param x f32 or f16, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.sqrt(tn.tensor([4, 9])).array(), [2, 3]);
 * ```
 */
export function sqrt(x: Tensor): Tensor {
  return bind(sqrtOp, [x], null);
}

/** `rsqrt` as data: `y = x^(-1/2)`, `dx = -dy·y³/2`. */
export const rsqrtOp: Op<1, null> = unaryOp("rsqrt", FLOATS, ({ y, dy }) => mul(dy, mul(mul(y, square(y)), -0.5)));

/**
 * `1/√x` of every element.
 *
 * @param x f32 or f16, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.rsqrt(tn.tensor([4])).array(), [0.5]);
 * ```
 */
export function rsqrt(x: Tensor): Tensor {
  return bind(rsqrtOp, [x], null);
}

/** `reciprocal` as data: `y = 1/x`, `dx = -dy·y²`. */
export const reciprocalOp: Op<1, null> = unaryOp("reciprocal", FLOATS, ({ y, dy }) => mul(dy, neg(square(y))));

/**
 * `1/x` of every element.
 *
 * @param x f32 or f16, of any shape.
 * @returns Same dtype, same shape.
 * @throws {DTypeError} If `x` has another dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.reciprocal(tn.tensor([4])).array(), [0.25]);
 * ```
 */
export function reciprocal(x: Tensor): Tensor {
  return bind(reciprocalOp, [x], null);
}

/**
 * `pow` as data: `y = aᵇ`, `da = dy·b·aᵇ⁻¹` and `db = dy·y·ln a`.
 *
 * Where `b` is 0, `da` is 0 even at `a = 0`; where `a` is not positive, `db` is 0. The selections happen on the operands,
 * so that no NaN of an unused branch reaches a gradient of higher order.
 */
export const powOp: Op<2, null> = binaryOp("pow", "raise", FLOATS, [
  ({ a, b, dy }) => mul(dy, mul(b, pow(a, where(equal(b, 0), 1, sub(b, 1))))),
  ({ a, y, dy }) => mul(dy, mul(y, log(where(greater(a, 0), a, 1)))),
]);

/**
 * `aᵇ`, element by element, as C's `pow`: NaN for a negative base with an exponent that is not whole.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype.
 *
 * @returns Same dtype, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the dtypes differ or are not f32 or f16.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.pow(tn.tensor([2, 3]), 3).array(), [8, 27]);
 * ```
 */
export function pow(a: TensorLike, b: TensorLike): Tensor {
  return b === 2 && a instanceof Tensor ? square(a) : applyBinary(powOp, "raise", a, b);
}
