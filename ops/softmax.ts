/**
 * Softmax and its logarithm: row kernels of a maximum, a sum and a few scalar ops.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxis, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { div, exp, log, mul, sub } from "./elementwise.ts";
import { max } from "./extremum.ts";
import { sum } from "./reduce.ts";

/** The axis whose values are normalized. */
export interface SoftmaxAttrs {
  readonly axis: number;
}

function like(name: string, { shape, dtype }: Spec): Spec {
  requireDType(name, dtype, FLOATS);
  return { shape, dtype };
}

const along = ({ axis }: SoftmaxAttrs) => ({ axis, keepDims: true });

/** `eˣ / Σ eˣ`, shifted by the maximum so that nothing overflows. */
export const softmaxOp: Op<1, SoftmaxAttrs> = {
  name: "softmax",
  infer: ([x]) => like("softmax", x),
  body([x], attrs) {
    const weights = exp(sub(x, max(x, along(attrs))));
    return mul(weights, div(1, sum(weights, along(attrs)))); // one division a row
  },
  // dx = y · (dy - Σ dy·y)
  vjp({ output: y, grad: dy, attrs }) {
    return [mul(y, sub(dy, sum(mul(dy, y), along(attrs))))];
  },
};

/** `x - log Σ eˣ`, shifted by the maximum. */
export const logSoftmaxOp: Op<1, SoftmaxAttrs> = {
  name: "logSoftmax",
  infer: ([x]) => like("logSoftmax", x),
  body([x], attrs) {
    const shifted = sub(x, max(x, along(attrs)));
    return sub(shifted, log(sum(exp(shifted), along(attrs))));
  },
  // dx = dy - eʸ · Σ dy
  vjp({ output: y, grad: dy, attrs }) {
    return [sub(dy, mul(exp(y), sum(dy, along(attrs))))];
  },
};

/**
 * Values turned into weights that add up to 1 along an axis: `eˣ / Σ eˣ`.
 *
 * @param x At least one axis, f32 or f16. A row of nothing but `-Infinity` gives NaN.
 * @param options `axis` is the last by default.
 * @throws {ShapeError} If there is no such axis.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.max(tn.softmax(tn.tensor([0, Math.log(3)]))).item(), 0.75, 1e-6);
 * ```
 */
export function softmax(x: Tensor, { axis = -1 }: { readonly axis?: number } = {}): Tensor {
  return bind(softmaxOp, [x], { axis: normalizeAxis("take the softmax", axis, x.rank) });
}

/**
 * The logarithm of {@linkcode softmax}, exact where the softmax itself would round to 0.
 *
 * @param x At least one axis, f32 or f16.
 * @param options `axis` is the last by default.
 * @throws {ShapeError} If there is no such axis.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.logSoftmax(tn.tensor([0, 1000])).array(), [-1000, 0]);
 * ```
 */
export function logSoftmax(x: Tensor, { axis = -1 }: { readonly axis?: number } = {}): Tensor {
  return bind(logSoftmaxOp, [x], { axis: normalizeAxis("take the logarithm of the softmax", axis, x.rank) });
}
