/**
 * Elementwise rounding.
 *
 * @module
 */
import { FLOATS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor } from "../core/tensor.ts";
import { unaryOp } from "./scalar.ts";

/** `floor` as data; constant to gradients. */
export const floorOp: Op<1, null> = unaryOp("floor", FLOATS);

/**
 * The largest whole number at most as large, of every element.
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
 * assertEquals(await tn.floor(tn.tensor([1.5, -1.5])).array(), [1, -2]);
 * ```
 */
export function floor(x: Tensor): Tensor {
  return bind(floorOp, [x], null);
}

/** `ceil` as data; constant to gradients. */
export const ceilOp: Op<1, null> = unaryOp("ceil", FLOATS);

/**
 * The smallest whole number at least as large, of every element.
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
 * assertEquals(await tn.ceil(tn.tensor([1.5, -2.5])).array(), [2, -2]);
 * ```
 */
export function ceil(x: Tensor): Tensor {
  return bind(ceilOp, [x], null);
}

/** `round` as data; constant to gradients. */
export const roundOp: Op<1, null> = unaryOp("round", FLOATS);

/**
 * The nearest whole number of every element; halves go to the even neighbour, as in IEEE 754 and NumPy.
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
 * assertEquals(await tn.round(tn.tensor([0.5, 1.5, 2.4])).array(), [0, 2, 2]);
 * ```
 */
export function round(x: Tensor): Tensor {
  return bind(roundOp, [x], null);
}
