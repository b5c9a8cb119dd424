/**
 * Activation functions: composites, so that a fused kernel takes in each as a few scalar ops.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  abs,
  add,
  erf,
  exp,
  expm1,
  greater,
  log1p,
  mul,
  neg,
  sigmoid,
  square,
  sub,
  tanh,
  where,
} from "./elementwise.ts";
import { max, min } from "./extremum.ts";

/** A gradient rule of one operand: `(x, y, dy) -> dx`. */
type ActivationRule<A> = (x: Tensor, y: Tensor, dy: Tensor, attrs: A) => Tensor;

/** A composite of one float operand whose output has the operand's shape. */
function activation<A>(name: string, body: (x: Tensor, attrs: A) => Tensor, rule?: ActivationRule<A>): Op<1, A> {
  return {
    name,
    infer([x]) {
      requireDType(name, x.dtype, FLOATS);
      return { shape: x.shape, dtype: x.dtype };
    },
    body: ([x], attrs) => body(x, attrs),
    ...(rule && { vjp: ({ inputs: [x], output: y, grad: dy, attrs }) => [rule(x, y, dy, attrs)] }),
  };
}

/** `max(x, 0)`; no gradient at 0. */
export const reluOp: Op<1, null> = activation(
  "relu",
  (x) => max(x, 0),
  (x, _, dy) => where(greater(x, 0), dy, 0),
);

/** `x` above 0, `slope · x` below. */
export const leakyReluOp: Op<1, { readonly slope: number }> = activation(
  "leakyRelu",
  (x, { slope }) => where(greater(x, 0), x, mul(x, slope)),
);

/** `x` above 0, `alpha · (eˣ - 1)` below (Clevert et al. 2015, arXiv:1511.07289). */
export const eluOp: Op<1, { readonly alpha: number }> = activation(
  "elu",
  (x, { alpha }) => where(greater(x, 0), x, mul(expm1(min(x, 0)), alpha)),
  // below 0: alpha · eˣ = y + alpha
  (x, y, dy, { alpha }) => where(greater(x, 0), dy, mul(dy, add(y, alpha))),
);

/** `x · Φ(x)`, Φ the normal distribution function (Hendrycks and Gimpel 2016, arXiv:1606.08415). */
export const geluOp: Op<1, { readonly approximate: "none" | "tanh" }> = activation(
  "gelu",
  (x, { approximate }) => mul(x, normalCdf(x, approximate)),
  // dx = dy · (Φ + x Φ'), the bracket apart from dy: it can be computed along with y, and is all that is kept
  (x, _, dy, { approximate }) => mul(dy, add(normalCdf(x, approximate), mul(x, normalDensity(x, approximate)))),
);

/** `√(2/π)` and the cubic part of what tanh approximates erf with: `√(2/π) · (x + 0.044715 x³)`. */
const SCALE = Math.sqrt(2 / Math.PI), CUBIC = 0.044715 * SCALE;

/** `Φ(x) = (1 + erf(x/√2)) / 2`, or with tanh for erf. */
function normalCdf(x: Tensor, approximate: "none" | "tanh"): Tensor {
  const bent = approximate === "none" ? erf(mul(x, Math.SQRT1_2)) : tanh(mul(x, add(mul(square(x), CUBIC), SCALE)));
  return add(mul(bent, 0.5), 0.5);
}

/** `Φ'(x) = e^(-x²/2) / √(2π)`, or with tanh `t` for erf: `(1 - t²) (√(2/π) + 3 · 0.044715 √(2/π) x²) / 2`. */
function normalDensity(x: Tensor, approximate: "none" | "tanh"): Tensor {
  if (approximate === "none") return mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  const cdf = normalCdf(x, approximate); // 1 - t² = 4 Φ (1 - Φ)
  return mul(mul(cdf, sub(1, cdf)), add(mul(square(x), 6 * CUBIC), 2 * SCALE));
}

/** `x · sigmoid(x)`; dx = dy · (s + y (1 - s)) with `s = sigmoid(x)`. */
export const siluOp: Op<1, null> = activation(
  "silu",
  (x) => mul(x, sigmoid(x)),
  (x, y, dy) => {
    const s = sigmoid(x);
    return mul(dy, add(s, mul(y, sub(1, s))));
  },
);

/** `log(1 + eˣ)`, written so that nothing overflows. */
export const softplusOp: Op<1, null> = activation(
  "softplus",
  (x) => add(max(x, 0), log1p(exp(neg(abs(x))))),
  (x, _, dy) => mul(dy, sigmoid(x)),
);

/**
 * Rectified linear unit: `max(x, 0)`, any shape, f32 or f16. Its gradient at 0 is 0.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.relu(tn.tensor([-1, 0, 2])).array(), [0, 0, 2]);
 * ```
 */
export function relu(x: Tensor): Tensor {
  return bind(reluOp, [x], null);
}

/**
 * `x` where positive, `slope · x` elsewhere; any shape, f32 or f16.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.leakyRelu(tn.tensor([-2, 3]), { slope: 0.5 }).array(), [-1, 3]);
 * ```
 */
export function leakyRelu(x: Tensor, { slope = 0.01 }: { readonly slope?: number } = {}): Tensor {
  return bind(leakyReluOp, [x], { slope });
}

/**
 * Exponential linear unit: `x` where positive, `alpha · (eˣ - 1)` elsewhere; any shape, f32 or f16.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.elu(tn.tensor(-1)).item(), Math.exp(-1) - 1, 1e-6);
 * ```
 */
export function elu(x: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor {
  return bind(eluOp, [x], { alpha });
}

/**
 * Gaussian error linear unit: `x · Φ(x)`, exact or by the tanh approximation (GPT-2's); any shape, f32 or f16.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.gelu(tn.tensor(1)).item(), 0.841345, 1e-5);
 * assertAlmostEquals(await tn.gelu(tn.tensor(1), { approximate: "tanh" }).item(), 0.841192, 1e-5);
 * ```
 */
export function gelu(x: Tensor, { approximate = "none" }: { readonly approximate?: "none" | "tanh" } = {}): Tensor {
  if (approximate !== "none" && approximate !== "tanh") {
    throw new ArgumentError(`Cannot approximate gelu by "${approximate}": it must be "none" or "tanh"`);
  }
  return bind(geluOp, [x], { approximate });
}

/**
 * Sigmoid linear unit, also called swish: `x · sigmoid(x)`; any shape, f32 or f16.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.silu(tn.tensor(1)).item(), 0.731059, 1e-5);
 * ```
 */
export function silu(x: Tensor): Tensor {
  return bind(siluOp, [x], null);
}

/**
 * A smooth relu: `log(1 + eˣ)`, without overflow; any shape, f32 or f16.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.softplus(tn.tensor(0)).item(), Math.log(2), 1e-6);
 * assertEquals(await tn.softplus(tn.tensor(100)).item(), 100);
 * ```
 */
export function softplus(x: Tensor): Tensor {
  return bind(softplusOp, [x], null);
}
