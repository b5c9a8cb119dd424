/**
 * Elementwise exponentials and logarithms, and the curves made of them.
 *
 * @module
 */
import { FLOATS } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, div, mul, sub } from "./arithmetic.ts";
import { square } from "./powers.ts";
import { unaryOp } from "./scalar.ts";

/** `exp` as data: `y = eˣ`, `dx = dy·y`. */
export const expOp: Op<1, null> = unaryOp("exp", FLOATS, ({ y, dy }) => mul(dy, y));

/**
 * `eˣ` of every element.
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
 * assertEquals(await tn.exp(tn.tensor([0])).array(), [1]);
 * ```
 */
export function exp(x: Tensor): Tensor {
  return bind(expOp, [x], null);
}

/** `expm1` as data: `y = eˣ - 1`, `dx = dy·(y + 1)`. */
export const expm1Op: Op<1, null> = unaryOp("expm1", FLOATS, ({ y, dy }) => mul(dy, add(y, 1)));

/**
 * `eˣ - 1` of every element, exact near 0.
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
 * assertEquals(await tn.expm1(tn.tensor([0])).array(), [0]);
 * ```
 */
export function expm1(x: Tensor): Tensor {
  return bind(expm1Op, [x], null);
}

/** `log` as data: `y = ln x`, `dx = dy / x`. */
export const logOp: Op<1, null> = unaryOp("log", FLOATS, ({ x, dy }) => div(dy, x));

/**
 * Natural logarithm of every element: `-Infinity` at 0, NaN below.
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
 * assertEquals(await tn.log(tn.tensor([0, 1])).array(), [-Infinity, 0]);
 * ```
 */
export function log(x: Tensor): Tensor {
  return bind(logOp, [x], null);
}

/** `log1p` as data: `y = ln(1 + x)`, `dx = dy / (1 + x)`. */
export const log1pOp: Op<1, null> = unaryOp("log1p", FLOATS, ({ x, dy }) => div(dy, add(x, 1)));

/**
 * `ln(1 + x)` of every element, exact near 0.
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
 * assertEquals(await tn.log1p(tn.tensor([0])).array(), [0]);
 * ```
 */
export function log1p(x: Tensor): Tensor {
  return bind(log1pOp, [x], null);
}

/** `log2` as data: `y = log₂ x`, `dx = dy / (x·ln 2)`. */
export const log2Op: Op<1, null> = unaryOp("log2", FLOATS, ({ x, dy }) => div(dy, mul(x, Math.LN2)));

/**
 * Logarithm to base 2 of every element.
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
 * assertEquals(await tn.log2(tn.tensor([1, 8])).array(), [0, 3]);
 * ```
 */
export function log2(x: Tensor): Tensor {
  return bind(log2Op, [x], null);
}

/** `tanh` as data: `y = tanh x`, `dx = dy·(1 - y²)`. */
export const tanhOp: Op<1, null> = unaryOp("tanh", FLOATS, ({ y, dy }) => mul(dy, sub(1, square(y))));

/**
 * Hyperbolic tangent of every element.
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
 * assertEquals(await tn.tanh(tn.tensor([0])).array(), [0]);
 * ```
 */
export function tanh(x: Tensor): Tensor {
  return bind(tanhOp, [x], null);
}

/** `sigmoid` as data: `y = 1 / (1 + e⁻ˣ)`, `dx = dy·y·(1 - y)`. */
export const sigmoidOp: Op<1, null> = unaryOp("sigmoid", FLOATS, ({ y, dy }) => mul(dy, mul(y, sub(1, y))));

/**
 * Logistic function `1 / (1 + e⁻ˣ)` of every element.
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
 * assertEquals(await tn.sigmoid(tn.tensor([0])).array(), [0.5]);
 * ```
 */
export function sigmoid(x: Tensor): Tensor {
  return bind(sigmoidOp, [x], null);
}

/** `erf` as data: `y = erf x`, `dx = dy · 2/√π · e^(-x²)`. */
export const erfOp: Op<1, null> = unaryOp(
  "erf",
  FLOATS,
  ({ x, dy }) => mul(dy, mul(exp(mul(square(x), -1)), 2 / Math.sqrt(Math.PI))),
);

/**
 * Error function `2/√π · ∫₀ˣ e^(-t²) dt` of every element.
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
 * assertEquals(await tn.erf(tn.tensor([0])).array(), [0]);
 * ```
 */
export function erf(x: Tensor): Tensor {
  return bind(erfOp, [x], null);
}
