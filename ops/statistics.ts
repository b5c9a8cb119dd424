/**
 * Reductions made of others: variance, norms, the logarithm of a sum of exponentials.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { reduceShape, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { abs, add, div, equal, exp, isFinite, log, mul, sqrt, square, sub, where } from "./elementwise.ts";
import { max, reduceMaxOp } from "./extremum.ts";
import { meanOp, reduce, type ReduceAttrs, reduceAxes, reducedSize, type ReduceOptions, sum, sumOp } from "./reduce.ts";

function inferFloat(name: string): Op<1, ReduceAttrs>["infer"] {
  return ([x]: readonly [Spec], { axes }: ReduceAttrs) => {
    requireDType(name, x.dtype, FLOATS);
    return { shape: reduceShape(x.shape, axes, true), dtype: x.dtype };
  };
}

/** `logSumExp` as data: `y = ln Σ eˣ`, `dx = dy·e^(x - y)`. */
export const logSumExpOp: Op<1, ReduceAttrs> = {
  name: "logSumExp",
  infer: inferFloat("logSumExp"),
  // Taking out the maximum keeps eˣ in range; an infinite one (all -∞, or some +∞) stays in.
  body([x], { axes }) {
    const largest = bind(reduceMaxOp, [x], { axes });
    const shift = where(isFinite(largest), largest, 0);
    return add(log(bind(sumOp, [exp(sub(x, shift))], { axes })), shift);
  },
  vjp: ({ inputs: [x], output: y, grad: dy }) => [mul(dy, exp(sub(x, where(isFinite(y), y, 0))))],
};

/**
 * Natural logarithm of the sum of exponentials along axes, without overflow.
 *
 * @param x f32 or f16.
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @throws {DTypeError} If `x` is not a float.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.logSumExp(tn.tensor([1000, 1000])).item(), 1000 + Math.LN2, 1e-3);
 * ```
 */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduce(logSumExpOp, x, options);
}

/** Attributes of {@linkcode varianceOp}. */
export interface VarianceAttrs extends ReduceAttrs {
  readonly correction: number;
}

/** `variance` as data: `y = Σ (x - m)² / (n - c)` with the mean `m`, `dx = dy·2(x - m) / (n - c)`. */
export const varianceOp: Op<1, VarianceAttrs> = {
  name: "variance",
  infer: inferFloat("variance"),
  body([x], { axes, correction }) {
    const deviation = sub(x, bind(meanOp, [x], { axes }));
    return div(bind(sumOp, [square(deviation)], { axes }), degreesOfFreedom(x, axes, correction));
  },
  vjp({ inputs: [x], grad: dy, attrs: { axes, correction } }) {
    const deviation = sub(x, bind(meanOp, [x], { axes }));
    return [mul(div(dy, degreesOfFreedom(x, axes, correction) / 2), deviation)];
  },
};

function degreesOfFreedom(x: Tensor, axes: readonly number[], correction: number): number {
  return Math.max(0, reducedSize(x.shape, axes) - correction);
}

/** How to estimate a variance. */
export interface VarianceOptions extends ReduceOptions {
  /** What is taken from the number of elements in the denominator: 0 (default), or 1 for an unbiased estimate. */
  readonly correction?: number;
}

/**
 * Variance along axes: the mean square distance from the mean.
 *
 * @param x f32 or f16.
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @throws {DTypeError} If `x` is not a float.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([1, 2, 3]);
 * assertEquals(await tn.variance(x, { correction: 1 }).item(), 1);
 * ```
 */
export function variance(x: Tensor, { correction = 0, ...options }: VarianceOptions = {}): Tensor {
  return reduceAxes(x, options, "variance", (x, axes) => bind(varianceOp, [x], { axes, correction }));
}

/** The Euclidean `norm` as data: `y = √Σ x²`, `dx = dy·x/y`, and 0 where `y` is 0. */
export const normOp: Op<1, ReduceAttrs> = {
  name: "norm",
  infer: inferFloat("norm"),
  body: ([x], { axes }) => sqrt(bind(sumOp, [square(x)], { axes })),
  vjp({ inputs: [x], output: y, grad: dy }) {
    const zero = equal(y, 0);
    return [mul(x, where(zero, 0, div(dy, where(zero, 1, y))))];
  },
};

/** Which norm. */
export interface NormOptions extends ReduceOptions {
  /** 1: sum of absolute values. 2 (default): Euclidean length. Infinity: largest absolute value. */
  readonly ord?: 1 | 2 | typeof Infinity;
}

/**
 * Vector norm along axes; over all of them by default, which for a matrix is the Frobenius norm.
 *
 * @param x f32 or f16.
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @throws {DTypeError} If `x` is not a float.
 * @throws {ArgumentError} If `ord` is not 1, 2 or Infinity.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([3, -4]);
 * assertEquals(await tn.norm(x).item(), 5);
 * assertEquals(await tn.norm(x, { ord: 1 }).item(), 7);
 * ```
 */
export function norm(x: Tensor, { ord = 2, ...options }: NormOptions = {}): Tensor {
  requireDType("norm", x.dtype, FLOATS);
  if (ord === 2) return reduce(normOp, x, options);
  if (ord !== 1 && ord !== Infinity) {
    throw new ArgumentError(`Cannot compute the norm of order ${ord}: it must be 1, 2 or Infinity`);
  }
  return scope(() => ord === 1 ? sum(abs(x), options) : max(abs(x), options));
}
