/**
 * Exponentials, logarithms and their relatives, as polynomials over four f32 lanes.
 *
 * Each function emits code into `f` and returns the result; arguments are variables, so that they can be read twice.
 * Errors are below 2 units in the last place unless a function says otherwise. The polynomials are those of the Cephes
 * library (Moshier).
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
const ROUNDER_BITS = 0x4b400000;

/** `c0 + x (c1 + x (c2 + ...))`. */
export function polynomial(f: Func, x: Vector, coefficients: readonly number[]): V128 {
  let sum: V128 = f32x4.const(coefficients.at(-1)!);
  for (let i = coefficients.length - 2; i >= 0; i--) sum = f.madd(sum, x, f32x4.const(coefficients[i]));
  return sum;
}

/** `(mask & a) | (~mask & b)`. */
function choose(mask: V128, a: V128, b: V128): V128 {
  return v128.select(mask, a, b);
}

/** `(e^r - 1 - r) / r^2` for |r| <= ln 2 / 2. */
const EXP_TAIL = [
  5.0000001201e-1,
  1.6666665459e-1,
  4.1665795894e-2,
  8.3334519073e-3,
  1.3981999507e-3,
  1.9875691500e-4,
];

/** Writes x as `n ln 2 + r` with whole n and |r| <= ln 2 / 2. Returns n in the low bits of a float, and r. */
function splitExp(f: Func, x: Vector): { shifted: Vector; r: Vector } {
  const shifted = f.let(f.madd(x, f32x4.const(LOG2E), f32x4.const(ROUNDER)));
  const whole = f.let(f32x4.sub(shifted, f32x4.const(ROUNDER)));
  const r = f.let(f.nmadd(whole, f32x4.const(LN2_LOW), f.nmadd(whole, f32x4.const(LN2_HIGH), x)));
  return { shifted, r };
}

/** x as `n ln 2 + r`: n (as an integer) and `e^r - 1`. */
function reduceExp(f: Func, x: Vector): { n: Vector; p: Vector } {
  const { shifted, r } = splitExp(f, x);
  const n = f.let(i32x4.sub(shifted, i32x4.const(ROUNDER_BITS)));
  return { n, p: f.let(f.madd(polynomial(f, r, EXP_TAIL), f.let(f32x4.mul(r, r)), r)) };
}

/** 2^n for whole n in -126 to 127. */
function powerOfTwo(n: V128): V128 {
  return i32x4.shl(i32x4.add(n, i32x4.const(127)), 23);
}

function clampBetween(x: V128, low: number, high: number): V128 {
  return f32x4.pmin(f32x4.pmax(x, f32x4.const(low)), f32x4.const(high));
}

/** e^x. The power of two is applied in two halves, so that results below the normal range come out right. */
export function exp(f: Func, x: Vector): V128 {
  const { n, p } = reduceExp(f, f.let(clampBetween(x, -104, 89)));
  const half = f.let(i32x4.shr_s(n, 1));
  const scaled = f32x4.mul(f32x4.add(p, f32x4.const(1)), powerOfTwo(half));
  return f32x4.mul(scaled, powerOfTwo(i32x4.sub(n, half)));
}

/** e^x for x below 88, and 0 where that is below the normal range: less work, and all that weights need. */
export function expOfWeight(f: Func, x: Vector): V128 {
  const { shifted, r } = splitExp(f, x);
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.const(127 << 23)); // only n is left of the shifted bits
  const small = f32x4.lt(x, f32x4.const(-87.3));
  return v128.andnot(f32x4.mul(polynomial(f, r, [1, 1, ...EXP_TAIL]), power), small);
}

/** e^x - 1, exact near 0: with x = n ln 2 + r it is `2 (s (e^r - 1) + s - 1/2)` where s = 2^(n-1). */
export function expm1(f: Func, x: Vector): V128 {
  const { n, p } = reduceExp(f, f.let(clampBetween(x, -30, 89)));
  const s = f.let(i32x4.shl(i32x4.add(n, i32x4.const(126)), 23));
  const half = f.let(f.madd(s, p, f32x4.sub(s, f32x4.const(0.5))));
  return f32x4.add(half, half);
}

/** Splits x > 0 as `2^e (1 + t)` with 1 + t between sqrt(1/2) and sqrt(2); small x are scaled up first. */
function splitLog(f: Func, x: Vector): { e: Vector; t: Vector } {
  const tiny = f.let(f32x4.lt(x, f32x4.const(1.17549435e-38)));
  const normal = f.let(choose(tiny, f32x4.mul(x, f32x4.const(2 ** 23)), x));
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
  return f32x4.mul(f32x4.mul(q, t), square);
}

/** log 0 = -inf, log of negatives and NaN = NaN, log inf = inf. */
function logEdges(x: Vector, y: V128): V128 {
  const positive = choose(f32x4.eq(x, f32x4.const(Infinity)), x, y);
  const orZero = choose(f32x4.eq(x, f32x4.const(0)), f32x4.const(-Infinity), f32x4.const(NaN));
  return choose(f32x4.gt(x, f32x4.const(0)), positive, orZero);
}

/** The natural logarithm. */
export function log(f: Func, x: Vector): V128 {
  const { e, t } = splitLog(f, x);
  const square = f.let(f32x4.mul(t, t));
  const tail = f.madd(e, f32x4.const(LN2_LOW), logTail(f, t, square));
  const near = f32x4.add(t, f.nmadd(square, f32x4.const(0.5), tail));
  return logEdges(x, f.madd(e, f32x4.const(LN2_HIGH), near));
}

/** The logarithm to base 2; exact for powers of two. */
export function log2(f: Func, x: Vector): V128 {
  const { e, t } = splitLog(f, x);
  const square = f.let(f32x4.mul(t, t));
  // log2(1 + t) = t + t (log2 e - 1) + ..., so that rounding the constant costs little
  const rest = f.let(f.nmadd(square, f32x4.const(0.5), logTail(f, t, square)));
  const excess = f32x4.const(LOG2E - 1);
  const small = f32x4.add(f.madd(t, excess, f32x4.mul(rest, excess)), f32x4.add(rest, t));
  return logEdges(x, f32x4.add(small, e));
}

/** log(1 + x): the logarithm of u = 1 + x, plus what the rounding of u lost, relative to u. */
export function log1p(f: Func, x: Vector): V128 {
  const u = f.let(f32x4.add(x, f32x4.const(1)));
  const lost = f32x4.div(f32x4.sub(x, f32x4.sub(u, f32x4.const(1))), u);
  const finite = f32x4.lt(f32x4.abs(u), f32x4.const(Infinity));
  const correction = f.let(v128.and(lost, v128.and(finite, f32x4.ne(u, f32x4.const(0)))));
  const sum = f32x4.add(log(f, u), correction);
  return choose(f32x4.eq(x, f32x4.const(0)), x, sum);
}

/** 1 / (1 + e^-x). */
export function sigmoid(f: Func, x: Vector): V128 {
  const u = exp(f, f.let(f32x4.neg(x)));
  return f32x4.div(f32x4.const(1), f32x4.add(u, f32x4.const(1)));
}

/** `x P(x^2) / Q(x^2)` for x between -limit and limit, and its value there beyond; never outside of -1 to 1. */
function oddRational(f: Func, x: Vector, limit: number, p: readonly number[], q: readonly number[]): V128 {
  const bounded = f.let(clampBetween(x, -limit, limit));
  const square = f.let(f32x4.mul(bounded, bounded));
  const quotient = f32x4.div(f32x4.mul(polynomial(f, square, p), bounded), polynomial(f, square, q));
  return clampBetween(quotient, -1, 1);
}

/** The hyperbolic tangent, by the minimax quotient that the Eigen library uses: relative error below 3e-7. */
export function tanh(f: Func, x: Vector): V128 {
  const p = [
    4.89352455891786e-3,
    6.37261928875436e-4,
    1.48572235717979e-5,
    5.12229709037114e-8,
    -8.60467152213735e-11,
    2.00018790482477e-13,
    -2.76076847742355e-16,
  ];
  const q = [4.89352518554385e-3, 2.268434632439e-3, 1.18534705686654e-4, 1.19825839466702e-6];
  return oddRational(f, x, 7.99881172180175781, p, q);
}

/** The error function, by the minimax quotient that the Eigen library uses: relative error below 4e-7. */
export function erf(f: Func, x: Vector): V128 {
  const p = [
    -1.60960333262415e-2,
    -2.95459980854025e-3,
    -7.34990630326855e-4,
    -5.69250639462346e-5,
    -2.10102402082508e-6,
    2.77068142495902e-8,
    -2.72614225801306e-10,
  ];
  const q = [
    -1.42647390514189e-2,
    -7.37332916720468e-3,
    -1.68282697438203e-3,
    -2.13374055278905e-4,
    -1.45660718464996e-5,
  ];
  return oddRational(f, x, 4, p, q);
}
