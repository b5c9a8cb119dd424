/**
 * Random numbers from explicit keys: the same key gives the same numbers on every backend, those of JAX (with
 * `jax_threefry_partitionable`, its default). Bits and whole numbers are equal; floats are as far as arithmetic rounds
 * alike, which `uniform` from 0 to 1 always does.
 *
 * A key is used once. {@linkcode split} makes as many new ones as are needed.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import type { Shape } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { scalar, tensor } from "./create.ts";
import {
  abs,
  add,
  cast,
  clamp,
  equal,
  erf,
  less,
  log1p,
  mul,
  neg,
  shiftRight,
  sqrt,
  square,
  sub,
  where,
} from "./elementwise.ts";
import { max } from "./extremum.ts";
import { reshape, slice } from "./shape.ts";
import { bitsOf, drawOp, type Key, randomBitsOp, splitKeyOp } from "./threefry.ts";

export { type Key } from "./threefry.ts";

/**
 * A key from a seed: its 64 bits are the key's two words.
 *
 * @param seed A whole number, or a bigint of up to 64 bits.
 * @throws {ArgumentError} If the seed is not whole.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.key(42).threefry.array(), [0, 42]);
 * ```
 */
export function key(seed: number | bigint): Key {
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
    throw new ArgumentError(`Cannot make a key from ${seed}: a seed is a whole number of at most 53 bits, or a bigint`);
  }
  const bits = BigInt.asUintN(64, BigInt(seed));
  return { threefry: tensor(Uint32Array.of(Number(bits >> 32n), Number(bits & 0xffffffffn))) };
}

/** `n` new keys from one: what `split` does with a key. */
export function splitKey({ threefry }: Key, n: number): Key[] {
  if (!Number.isInteger(n) || n < 0) {
    throw new ArgumentError(`Cannot split a key into ${n}: it must be a whole number of at least 0`);
  }
  using rows = bind(splitKeyOp, [threefry], { count: n });
  return Array.from({ length: n }, (_, i) => {
    using row = slice(rows, i, i + 1); // [1, 2]
    return { threefry: reshape(row, [2]) };
  });
}

/**
 * Random bits: 32 an element, u32.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.randomBits(tn.key(0), [2]).array(), [4070199207, 4202968722]);
 * ```
 */
export function randomBits(key: Key, shape: Shape): Tensor {
  return bind(randomBitsOp, [key.threefry], { shape });
}

/** 23 random bits as a fraction from 0 to 1, stretched as JAX does: `max(min, u · (limit - min) + min)`. */
export function uniformOf(words: Tensor, shape: Shape, min: number, limit: number): Tensor {
  const u = mul(cast(shiftRight(bitsOf(words, shape), 9), "f32"), 2 ** -23);
  if (min === 0 && limit === 1) return u;
  return max(add(mul(u, Math.fround(Math.fround(limit) - Math.fround(min))), min), min);
}

/** Attributes of {@linkcode uniformOp}. */
export interface UniformAttrs {
  readonly shape: Shape;
  readonly min: number;
  readonly max: number;
}

/** See {@linkcode uniform}. */
export const uniformOp: Op<1, UniformAttrs> = drawOp(
  "uniform",
  "f32",
  (words, { shape, min, max }) => uniformOf(words, shape, min, max),
);

/**
 * Numbers spread evenly from `min` (included) to `max` (not included), f32.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.uniform(tn.key(0), []).item(), 0.947667, 1e-6);
 * ```
 */
export function uniform(
  key: Key,
  shape: Shape,
  { min = 0, max = 1 }: { readonly min?: number; readonly max?: number } = {},
): Tensor {
  return bind(uniformOp, [key.threefry], { shape, min, max });
}

/** Coefficients of {@linkcode erfInv} near 0 and far from it, highest power first. */
const ERF_INV: readonly (readonly [near: number, far: number])[] = [
  [2.81022636e-08, -0.000200214257],
  [3.43273939e-07, 0.000100950558],
  [-3.5233877e-06, 0.00134934322],
  [-4.39150654e-06, -0.00367342844],
  [0.00021858087, 0.00573950773],
  [-0.00125372503, -0.0076224613],
  [-0.00417768164, 0.00943887047],
  [0.246640727, 1.00167406],
  [1.50140941, 2.83297682],
];

/** The inverse of erf (Giles 2010, "Approximating the erfinv function"), with XLA's coefficients. */
function erfInv(x: Tensor): Tensor {
  const w = neg(log1p(neg(square(x))));
  const near = less(w, 5);
  const z = where(near, sub(w, 2.5), sub(sqrt(w), 3));
  const coefficients = ERF_INV.map(([a, b]) => where(near, a, b));
  return mul(coefficients.reduce((p, c) => add(mul(p, z), c)), x);
}

/** Attributes of {@linkcode normalOp}. */
export interface NormalAttrs {
  readonly shape: Shape;
  readonly mean: number;
  readonly std: number;
}

/** `x · std + mean`. */
function spread(x: Tensor, { mean, std }: NormalAttrs): Tensor {
  const scaled = std === 1 ? x : mul(x, std);
  return mean === 0 ? scaled : add(scaled, mean);
}

/** See {@linkcode normal}. */
export const normalOp: Op<1, NormalAttrs> = drawOp("normal", "f32", (words, attrs) => {
  const u = uniformOf(words, attrs.shape, -1 + 2 ** -24, 1); // -1 itself would give -Infinity
  return spread(mul(erfInv(u), Math.SQRT2), attrs);
});

/**
 * Normally distributed numbers, f32: `√2 · erf⁻¹(u)`, u uniform from -1 to 1.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertAlmostEquals(await tn.normal(tn.key(42), []).item(), -0.0283046, 1e-6);
 * ```
 */
export function normal(
  key: Key,
  shape: Shape,
  { mean = 0, std = 1 }: { readonly mean?: number; readonly std?: number } = {},
): Tensor {
  return bind(normalOp, [key.threefry], { shape, mean, std });
}

/** Attributes of {@linkcode truncatedNormalOp}. */
export interface TruncatedNormalAttrs extends NormalAttrs {
  readonly lower: number;
  readonly upper: number;
}

/** The f32 next to `x`, away from or towards positive infinity. */
function neighbour(x: number, direction: 1 | -1): number {
  const value = Float32Array.of(x), bits = new Int32Array(value.buffer);
  if (value[0] === 0) return direction * 2 ** -149;
  bits[0] += (value[0] > 0 ? 1 : -1) * direction;
  return value[0];
}

/** See {@linkcode truncatedNormal}. */
export const truncatedNormalOp: Op<1, TruncatedNormalAttrs> = drawOp("truncatedNormal", "f32", (words, attrs) => {
  const { shape, lower, upper } = attrs;
  const bound = (x: number) => erf(scalar(x / Math.SQRT2, "f32", words.backend));
  const low = bound(lower), high = bound(upper);
  const u = max(add(mul(uniformOf(words, shape, 0, 1), sub(high, low)), low), low);
  const x = where(equal(abs(u), 1), mul(u, Infinity), mul(erfInv(u), Math.SQRT2));
  const inside = clamp(x, { min: neighbour(lower, 1), max: neighbour(upper, -1) });
  return spread(inside, attrs);
});

/**
 * Normally distributed numbers, f32, given that they lie between `lower` and `upper` (before `mean` and `std` apply).
 *
 * @throws {ArgumentError} If `lower` is not below `upper`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assert } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.truncatedNormal(tn.key(0), [1000], { lower: -1, upper: 1 });
 * assert(await tn.max(tn.abs(x)).item() < 1);
 * ```
 */
export function truncatedNormal(
  key: Key,
  shape: Shape,
  options: { readonly lower?: number; readonly upper?: number; readonly mean?: number; readonly std?: number } = {},
): Tensor {
  const { lower = -2, upper = 2, mean = 0, std = 1 } = options;
  if (!(lower < upper)) {
    throw new ArgumentError(`Cannot truncate between ${lower} and ${upper}: the lower bound must be less`);
  }
  return bind(truncatedNormalOp, [key.threefry], { shape, lower, upper, mean, std });
}

/** Attributes of {@linkcode bernoulliOp}. */
export interface BernoulliAttrs {
  readonly shape: Shape;
  readonly probability: number;
}

/** See {@linkcode bernoulli}. */
export const bernoulliOp: Op<1, BernoulliAttrs> = drawOp(
  "bernoulli",
  "bool",
  (words, { shape, probability }) => less(uniformOf(words, shape, 0, 1), probability),
);

/**
 * Coin tosses: true with the given probability, 0.5 by default.
 *
 * @throws {ArgumentError} If the probability is not from 0 to 1.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.bernoulli(tn.key(0), [4], { probability: 0.9 }).array(), [false, false, true, true]);
 * ```
 */
export function bernoulli(
  key: Key,
  shape: Shape,
  { probability = 0.5 }: { readonly probability?: number } = {},
): Tensor {
  if (!(probability >= 0 && probability <= 1)) {
    throw new ArgumentError(`Cannot toss a coin with probability ${probability}: it must be from 0 to 1`);
  }
  return bind(bernoulliOp, [key.threefry], { shape, probability });
}
