/**
 * Exponentials, logarithms and their relatives, as polynomials over four f32 lanes.
 *
 * Each function emits code into `f` and returns the result; arguments are variables, so that they can be read twice.
 * Errors are below 2 units in the last place unless a function says otherwise. The logarithm's polynomial is that of the
 * Cephes library (Moshier), the others are minimax fits.
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import type { V128 } from "./instructions.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** A vector in a variable. */
export type Vector = Local<"v128">;

const LOG2E = 1.4426950408889634;
/** ln 2 in two parts: the first has few bits, so that its product with a small whole number is exact. */
const LN2_HIGH = 0.693359375;
const LN2_LOW = -2.12194440e-4;
/** Adding this to a small float rounds it to a whole number, held in the low bits of the sum. */
const ROUNDER = 12582912; // 1.5 * 2^23

/** `c0 + x (c1 + x (c2 + ...))`, step by step; a last coefficient of 1 takes no product. */
export function polynomial(f: Func, x: Vector, coefficients: readonly number[]): Vector {
  const [lead, next, ...rest] = coefficients.toReversed();
  const first = lead === 1 ? f32x4.add(x, f32x4.const(next)) : f.madd(x, f32x4.const(lead), f32x4.const(next));
  return rest.reduce((sum, c) => f.let(f.madd(sum, x, f32x4.const(c))), f.let(first));
}

/** `(e^r - 1 - r) / r^2` for |r| <= ln 2 / 2: of all polynomials of this degree the one that makes the best e^r. */
const EXP_TAIL = [0.5, 0.166666597, 0.0416715816, 0.00835733395, 0.00135274569];

/** Writes x as `n ln 2 + r` with whole n and |r| <= ln 2 / 2. Returns n in the low bits of a float, and r. */
function splitExp(f: Func, x: Vector): { shifted: Vector; r: Vector } {
  const shifted = f.let(f.madd(x, f32x4.const(LOG2E), f32x4.const(ROUNDER)));
  const whole = f.let(f32x4.sub(shifted, f32x4.const(ROUNDER)));
  const high = f.let(f.nmadd(whole, f32x4.const(LN2_HIGH), x));
  return { shifted, r: f.let(f.nmadd(whole, f32x4.const(LN2_LOW), high)) };
}

/** `2^(n + k)` for n of {@linkcode splitExp}, where n + k is in -126 to 127; 0 one step below, infinity one above. */
function powerOfTwo(f: Func, shifted: Vector, k: number): Vector {
  const n = f.let(i32x4.shl(shifted, 23)); // nothing else is left of the shifted bits
  return f.let(i32x4.add(n, i32x4.const((127 + k) << 23)));
}

function clampBetween(f: Func, x: Vector, low: number, high: number): Vector {
  return f.let(f32x4.pmin(f.let(f32x4.pmax(x, f32x4.const(low))), f32x4.const(high)));
}

/** e^x. The power of two is applied in two parts, so that results below the normal range come out right. */
export function exp(f: Func, x: Vector): V128 {
  const { shifted, r } = splitExp(f, clampBetween(f, x, -104, 89));
  const p = polynomial(f, r, [1, 1, ...EXP_TAIL]);
  const power = powerOfTwo(f, shifted, -1);
  const normal = f.let(i32x4.max_s(power, i32x4.const(6 << 23))); // no less than 2^-121
  const rest = f.let(i32x4.add(f.let(i32x4.sub(power, normal)), i32x4.const(128 << 23)));
  return f32x4.mul(f.let(f32x4.mul(p, normal)), rest);
}

/** e^x for x below 88, and 0 where that is below the normal range: less work, and all that weights need. */
export function expOfWeight(f: Func, x: Vector): V128 {
  const { shifted, r } = splitExp(f, f.let(f32x4.pmax(x, f32x4.const(-88))));
  return f32x4.mul(polynomial(f, r, [1, 1, ...EXP_TAIL]), powerOfTwo(f, shifted, 0));
}

/** e^x - 1, exact near 0: with x = n ln 2 + r it is `2 (s (e^r - 1) + s - 1/2)` where s = 2^(n-1). */
export function expm1(f: Func, x: Vector): V128 {
  const { shifted, r } = splitExp(f, clampBetween(f, x, -30, 89));
  const p = f.let(f.madd(polynomial(f, r, EXP_TAIL), f.let(f32x4.mul(r, r)), r));
  const s = powerOfTwo(f, shifted, -1);
  const half = f.let(f.madd(s, p, f.let(f32x4.sub(s, f32x4.const(0.5)))));
  return f32x4.add(half, half);
}

/** Splits x > 0 as `2^e (1 + t)` with 1 + t between sqrt(1/2) and sqrt(2); small x are scaled up first. */
function splitLog(f: Func, x: Vector): { e: Vector; t: Vector } {
  const tiny = f.let(f32x4.lt(x, f32x4.const(1.17549435e-38)));
  const normal = f.let(f.select(tiny, f32x4.mul(x, f32x4.const(2 ** 23)), x));
  const halfRoot = 0x3f3504f3; // sqrt(1/2)
  const exponent = f.let(i32x4.shr_s(i32x4.sub(normal, i32x4.const(halfRoot)), 23));
  const t = f.let(f32x4.sub(i32x4.sub(normal, i32x4.shl(exponent, 23)), f32x4.const(1)));
  const correction = v128.and(tiny, f32x4.const(-23));
  return { e: f.let(f32x4.add(f32x4.convert_i32x4_s(exponent), correction)), t };
}

/** `log(1 + t) - t + t^2 / 2` for t of {@linkcode splitLog}. */
function logTail(f: Func, t: Vector, square: Vector): V128 {
  const q = polynomial(f, t, [
    3.3333331174e-1,
    -2.4999993993e-1,
    2.0000714765e-1,
    -1.6668057665e-1,
    1.4249322787e-1,
    -1.2420140846e-1,
    1.1676998740e-1,
    -1.1514610310e-1,
    7.0376836292e-2,
  ]);
  return f32x4.mul(f.let(f32x4.mul(q, t)), square);
}

/** log 0 = -inf, log of negatives and NaN = NaN, log inf = inf. */
function logEdges(f: Func, x: Vector, y: V128): V128 {
  const positive = f.select(f32x4.eq(x, f32x4.const(Infinity)), x, y);
  const orZero = f.select(f32x4.eq(x, f32x4.const(0)), f32x4.const(-Infinity), f32x4.const(NaN));
  return f.select(f32x4.gt(x, f32x4.const(0)), positive, orZero);
}

/** The natural logarithm. */
export function log(f: Func, x: Vector): V128 {
  const { e, t } = splitLog(f, x);
  const square = f.let(f32x4.mul(t, t));
  const tail = f.let(f.madd(e, f32x4.const(LN2_LOW), logTail(f, t, square)));
  const near = f.let(f32x4.add(t, f.let(f.nmadd(square, f32x4.const(0.5), tail))));
  return logEdges(f, x, f.madd(e, f32x4.const(LN2_HIGH), near));
}

/** The logarithm to base 2; exact for powers of two. */
export function log2(f: Func, x: Vector): V128 {
  const { e, t } = splitLog(f, x);
  const square = f.let(f32x4.mul(t, t));
  // log2(1 + t) = t + t (log2 e - 1) + ..., so that rounding the constant costs little
  const rest = f.let(f.nmadd(square, f32x4.const(0.5), logTail(f, t, square)));
  const excess = f32x4.const(LOG2E - 1);
  const small = f32x4.add(f.madd(t, excess, f32x4.mul(rest, excess)), f32x4.add(rest, t));
  return logEdges(f, x, f32x4.add(small, e));
}

/** log(1 + x): the logarithm of u = 1 + x, plus what the rounding of u lost, relative to u. */
export function log1p(f: Func, x: Vector): V128 {
  const u = f.let(f32x4.add(x, f32x4.const(1)));
  const lost = f32x4.div(f32x4.sub(x, f32x4.sub(u, f32x4.const(1))), u);
  const finite = f32x4.lt(f32x4.abs(u), f32x4.const(Infinity));
  const correction = f.let(v128.and(lost, v128.and(finite, f32x4.ne(u, f32x4.const(0)))));
  const sum = f32x4.add(log(f, u), correction);
  return f.select(f32x4.eq(x, f32x4.const(0)), x, sum);
}

/** 1 / (1 + e^-x); the error is below 3 units. */
export function sigmoid(f: Func, x: Vector): V128 {
  const { shifted, r } = splitExp(f, clampBetween(f, f.let(f32x4.neg(x)), -80, 89));
  const p = polynomial(f, r, [1, 1, ...EXP_TAIL]);
  return f32x4.div(f32x4.const(1), f.let(f.madd(p, powerOfTwo(f, shifted, 0), f32x4.const(1))));
}

/**
 * `x P(x^2) / Q(x^2)` for x between -limit and limit, where it reaches -1 and 1; beyond, P and Q stay what they are at
 * the limit, and so the quotient is more than 1 and is cut.
 */
function oddRational(f: Func, x: Vector, limit: number, p: readonly number[], q: readonly number[]): V128 {
  const square = f.let(f32x4.pmin(f.let(f32x4.mul(x, x)), f32x4.const(limit * limit)));
  const above = polynomial(f, square, p);
  const below = polynomial(f, square, q);
  return clampBetween(f, f.let(f32x4.div(f.let(f32x4.mul(above, x)), below)), -1, 1);
}

/** The hyperbolic tangent, by a minimax quotient: relative error below 3e-7, or 4e-7 where products are rounded. */
export function tanh(f: Func, x: Vector): V128 {
  const p = [1194661.75, 160468.39, 4249.03271, 25.8491535, 0.0177293494];
  const q = [1194661.75, 558688.875, 31190.5684, 404.564453, 1];
  return oddRational(f, x, 8.2, p, q);
}

/** The error function, by a minimax quotient: relative error below 4e-7. */
export function erf(f: Func, x: Vector): V128 {
  const p = [28775.3301, 4749.6416, 1334.0006, 92.1897811, 7.30639267, 0.0548544079];
  const q = [25501.4727, 12709.7412, 2868.71143, 374.037018, 28.9467354, 1];
  return oddRational(f, x, 3.8, p, q);
}
