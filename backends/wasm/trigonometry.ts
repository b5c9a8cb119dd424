/**
 * Sine, cosine and tangent over four f32 lanes.
 *
 * The argument is reduced in double precision, two lanes at a time: `x = n (pi/2) + r` with whole n and |r| <= pi/4.
 * Arguments beyond 2^20 are reduced one by one in 96-bit fixed point against the bits of 2/pi (Payne and Hanek), so
 * every finite float is right. The polynomials for |r| <= pi/4 are those of Cephes.
 *
 * @module
 */
import type { Func } from "./assembler.ts";
import { type Expr, f32, f64, i32, i64, type V128 } from "./instructions.ts";
import { polynomial, type Vector } from "./math.ts";
import { f32x4, f64x2, i32x4, i8x16, v128 } from "./simd.ts";

const TWO_OVER_PI = 0.6366197723675814;
/** pi/2 in two parts; the first has 33 bits, so its product with n < 2^20 is exact. */
const HALF_PI_HIGH = 1.5707963267341256;
const HALF_PI_LOW = 6.077100506506192e-11;
/** Adding this to a double rounds it to a whole number, held in the low bits of the sum. */
const ROUNDER = 6755399441055744; // 1.5 * 2^52
const LARGE = 2 ** 20;

interface Reduced {
  /** The quadrant; only its two low bits matter. */
  readonly n: Vector;
  readonly r: Vector;
}

function reduceHalf(f: Func, x: V128): { n: Vector; r: V128 } {
  const wide = f.let(f64x2.promote_low_f32x4(x));
  const shifted = f.let(f64x2.add(f64x2.mul(wide, f64x2.const(TWO_OVER_PI)), f64x2.const(ROUNDER)));
  const whole = f.let(f64x2.sub(shifted, f64x2.const(ROUNDER)));
  const high = f64x2.sub(wide, f64x2.mul(whole, f64x2.const(HALF_PI_HIGH)));
  return {
    n: shifted,
    r: f32x4.demote_f64x2_zero(f64x2.sub(high, f64x2.mul(whole, f64x2.const(HALF_PI_LOW)))),
  };
}

function reduce(f: Func, x: Vector): Reduced {
  const low = reduceHalf(f, x);
  const high = reduceHalf(f, i8x16.shuffle32(x, x, [2, 3, 2, 3]));
  const n = f.let(i8x16.shuffle32(low.n, high.n, [0, 2, 4, 6]));
  const r = f.let(i8x16.shuffle32(low.r, high.r, [0, 1, 4, 5]));
  f.if(v128.any_true(f32x4.gt(f32x4.abs(x), f32x4.const(LARGE))), () => reduceLarge(f, x, { n, r }));
  return { n, r };
}

/** Replaces the lanes of `into` where |x| is large, one lane at a time. */
function reduceLarge(f: Func, x: Vector, into: Reduced): void {
  const turns = largeTurns(f);
  for (let lane = 0; lane < 4; lane++) {
    const bits = f.let(i32x4.extract(x, lane));
    f.if(i32.gt_u(i32.and(bits, 0x7fffffff), new Int32Array(new Float32Array([LARGE]).buffer)[0]), () => {
      const fixed = f.let(f.module.callFor("i64", turns, bits));
      const n = f.let(i64.shr_u(i64.add(fixed, i64.const(1n << 61n)), i64.const(62n)));
      const rest = i64.sub(fixed, i64.shl(n, i64.const(62n)));
      const scaled = f64.mul(f64.convert_i64_s(rest), f64.const(Math.PI / 2 * 2 ** -62));
      f.set(into.n, i32x4.replace(into.n, lane, i32.wrap_i64(n)));
      f.set(into.r, f32x4.replace(into.r, lane, f32.demote_f64(scaled)));
    });
  }
  const infinite = f32x4.eq(f32x4.abs(x), f32x4.const(Infinity));
  f.set(into.r, f.select(v128.or(infinite, f32x4.ne(x, x)), f32x4.const(NaN), into.r));
}

/** The bits of 2/pi, from 32 before the point on. */
const TWO_OVER_PI_BITS = [0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab];

/**
 * `bits -> turns`: of the float with these bits, the quarter turns modulo 4, as a 64-bit number whose two high bits are
 * whole. With |x| = m 2^s the product of m and 96 bits of 2/pi, from bit s - 2 on, holds all that matters; the sign of
 * x negates it.
 */
function largeTurns(f: Func) {
  return f.module.once("largeTurns", () => {
    const g = f.module.func("largeTurns", ["i32"], "i64");
    const bits = g.int(0);
    const s = g.let(i32.sub(i32.and(i32.shr_u(bits, 23), 255), 150)); // -3 to 104
    const m = g.let(i64.extend_i32_u(i32.or(i32.and(bits, 0x7fffff), 0x800000)));
    const from = g.let(i32.add(s, 30)); // in the table, which starts 32 bits early
    const word = g.let(i32.shr_u(from, 5));
    const shift = g.let(i64.extend_i32_u(i32.and(from, 31)));
    const window = (k: number): Expr<"i64"> => {
      const pair = i64.or(i64.shl(twoOverPiWord(word, k), i64.const(32n)), twoOverPiWord(word, k + 1));
      return i64.and(i64.shr_u(pair, i64.sub(i64.const(32n), shift)), i64.const(0xffffffffn));
    };
    const low = i64.shr_u(i64.mul(m, window(2)), i64.const(32n));
    const middle = i64.mul(m, window(1));
    const high = i64.shl(i64.mul(m, window(0)), i64.const(32n));
    const turns = g.let(i64.add(high, i64.add(middle, low)));
    g.if(i32.lt_s(bits, 0), () => g.return(i64.sub(i64.const(0n), turns)));
    g.return(turns);
    return g;
  });
}

/** Word `word + k` of the table; `word` is 0 to 4. */
function twoOverPiWord(word: Expr<"i32">, k: number): Expr<"i64"> {
  const at = (i: number) => TWO_OVER_PI_BITS[i] ?? 0;
  let value = i32.const(at(k));
  for (let i = 1; i <= 4; i++) value = i32.select(i32.ge_u(word, i), at(k + i), value);
  return i64.extend_i32_u(value);
}

function sinPolynomial(f: Func, r: Vector, square: Vector): V128 {
  const q = polynomial(f, square, [-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4]);
  return f.madd(f32x4.mul(q, square), r, r);
}

function cosPolynomial(f: Func, square: Vector): V128 {
  const q = polynomial(f, square, [4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5]);
  const tail = f32x4.mul(f32x4.mul(q, square), square);
  return f32x4.add(f.nmadd(square, f32x4.const(0.5), tail), f32x4.const(1));
}

/** All bits where bit 0 of n is set. */
function isOdd(n: V128): V128 {
  return i32x4.shr_s(i32x4.shl(n, 31), 31);
}

function sineOfQuadrant(f: Func, n: Vector, r: Vector): V128 {
  const square = f.let(f32x4.mul(r, r));
  const sine = f.let(sinPolynomial(f, r, square));
  const value = f.select(isOdd(n), cosPolynomial(f, square), sine);
  const sign = i32x4.shl(i32x4.shr_u(n, 1), 31);
  return v128.xor(value, sign);
}

/** The sine. */
export function sin(f: Func, x: Vector): V128 {
  const { n, r } = reduce(f, x);
  return sineOfQuadrant(f, n, r);
}

/** The cosine: the sine a quarter turn on. */
export function cos(f: Func, x: Vector): V128 {
  const { n, r } = reduce(f, x);
  return sineOfQuadrant(f, f.let(i32x4.add(n, i32x4.const(1))), r);
}

/** The tangent: sin/cos in even quadrants, -cos/sin in odd ones. */
export function tan(f: Func, x: Vector): V128 {
  const { n, r } = reduce(f, x);
  const square = f.let(f32x4.mul(r, r));
  const sine = f.let(sinPolynomial(f, r, square));
  const cosine = f.let(cosPolynomial(f, square));
  const odd = f.let(isOdd(n));
  const quotient = f32x4.div(f.select(odd, cosine, sine), f.select(odd, sine, cosine));
  return v128.xor(quotient, i32x4.shl(odd, 31));
}
