/**
 * Elementwise trigonometry; angles are in radians.
 *
 * @module
 */
import { FLOATS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, mul, neg } from "./arithmetic.ts";
import { square } from "./powers.ts";
import { unaryOp } from "./scalar.ts";

/** `sin` as data: `y = sin x`, `dx = dy·cos x`. */
export const sinOp: Op<1, null> = unaryOp("sin", FLOATS, ({ x, dy }) => mul(dy, cos(x)));

/**
 * Sine of every element, in radians.
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
 * assertEquals(await tn.sin(tn.tensor([0])).array(), [0]);
 * ```
 */
export function sin(x: Tensor): Tensor {
  return bind(sinOp, [x], null);
}

/** `cos` as data: `y = cos x`, `dx = -dy·sin x`. */
export const cosOp: Op<1, null> = unaryOp("cos", FLOATS, ({ x, dy }) => mul(dy, neg(sin(x))));

/**
 * Cosine of every element, in radians.
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
 * assertEquals(await tn.cos(tn.tensor([0])).array(), [1]);
 * ```
 */
export function cos(x: Tensor): Tensor {
  return bind(cosOp, [x], null);
}

/** `tan` as data: `y = tan x`, `dx = dy·(1 + y²)`. */
export const tanOp: Op<1, null> = unaryOp("tan", FLOATS, ({ y, dy }) => mul(dy, add(square(y), 1)));

/**
 * Tangent of every element, in radians.
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
 * assertEquals(await tn.tan(tn.tensor([0])).array(), [0]);
 * ```
 */
export function tan(x: Tensor): Tensor {
  return bind(tanOp, [x], null);
}
