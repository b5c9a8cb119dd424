/**
 * Powers, division and remainders, computed in double precision two lanes at a time where f32 or i32 lanes lack them.
 *
 * @module
 */
import type { Func } from "./assembler.ts";
import { i32, type V128 } from "./instructions.ts";
import type { Vector } from "./math.ts";
import { f32x4, f64x2, i32x4, i64x2, i8x16, v128 } from "./simd.ts";

/** Adding this to a double of at most 2^51 leaves its whole part, modulo 2^32, in the low word of the sum. */
const ROUNDER = 6755399441055744; // 1.5 * 2^52

function upper(x: V128): V128 {
  return i8x16.shuffle32(x, x, [2, 3, 2, 3]);
}

/** Applies a function of double lanes to f32 lanes. */
function inDoubles(f: Func, a: Vector, b: Vector, op: (a: Vector, b: Vector) => V128): V128 {
  const half = (x: V128, y: V128) =>
    f.let(f32x4.demote_f64x2_zero(op(f.let(f64x2.promote_low_f32x4(x)), f.let(f64x2.promote_low_f32x4(y)))));
  const low = half(a, b);
  const high = half(upper(a), upper(b));
  return i8x16.shuffle32(low, high, [0, 1, 4, 5]);
}

/** Applies a function of double lanes, which returns whole numbers, to integer lanes. */
function inDoublesOfInts(
  f: Func,
  signed: boolean,
  a: Vector,
  b: Vector,
  op: (a: Vector, b: Vector) => V128,
): V128 {
  const widen = signed ? f64x2.convert_low_i32x4_s : f64x2.convert_low_i32x4_u;
  const half = (x: V128, y: V128) => f.let(f64x2.add(op(f.let(widen(x)), f.let(widen(y))), f64x2.const(ROUNDER)));
  const low = half(a, b);
  const high = half(upper(a), upper(b));
  return i8x16.shuffle32(low, high, [0, 2, 4, 6]);
}

/** Integer division toward zero; by zero it gives 0. A double quotient of two 32-bit numbers never rounds up to whole. */
export function divideInts(f: Func, signed: boolean, a: Vector, b: Vector): V128 {
  const quotient = inDoublesOfInts(f, signed, a, b, (x, y) => f64x2.trunc(f64x2.div(x, y)));
  return v128.and(quotient, i32x4.ne(b, i32x4.const(0)));
}

/** Integer remainder with the divisor's sign; by zero it gives 0. */
export function remainderOfInts(f: Func, signed: boolean, a: Vector, b: Vector): V128 {
  const quotient = f.let(inDoublesOfInts(f, signed, a, b, (x, y) => f64x2.floor(f64x2.div(x, y))));
  return v128.and(i32x4.sub(a, i32x4.mul(quotient, b)), i32x4.ne(b, i32x4.const(0)));
}

/** `a - floor(a / b) b`, exact while the quotient is below 2^29; has the sign of b. */
export function remainder(f: Func, a: Vector, b: Vector): V128 {
  return inDoubles(f, a, b, (x, y) => {
    const quotient = f.let(f64x2.floor(f64x2.div(x, y)));
    const rest = f64x2.sub(x, f64x2.mul(quotient, y));
    const untouched = v128.and(f64x2.eq(quotient, f64x2.const(0)), f64x2.lt(f64x2.abs(y), f64x2.const(Infinity)));
    const infinite = f64x2.eq(f64x2.abs(y), f64x2.const(Infinity));
    const kept = v128.select(f64x2.eq(quotient, f64x2.const(0)), x, y);
    return v128.select(v128.or(untouched, infinite), kept, rest);
  });
}

/** log2 of positive finite doubles to 1e-11: 2 atanh((m - 1) / (m + 1)) / ln 2 plus the exponent. */
function log2OfDoubles(f: Func, x: Vector): V128 {
  const halfRoot = 0x3fe6a09e667f3bcdn; // sqrt(1/2)
  const exponent = f.let(
    i64x2.sub(
      i64x2.shr_u(i64x2.sub(i64x2.add(x, i64x2.const(1023n << 52n)), i64x2.const(halfRoot)), 52),
      i64x2.const(1023n),
    ),
  );
  const m = f.let(i64x2.sub(x, i64x2.shl(exponent, 52)));
  const s = f.let(f64x2.div(f64x2.sub(m, f64x2.const(1)), f64x2.add(m, f64x2.const(1))));
  const square = f.let(f64x2.mul(s, s));
  let series: V128 = f64x2.const(1 / 15);
  for (const n of [13, 11, 9, 7, 5, 3, 1]) series = f64x2.add(f64x2.mul(series, square), f64x2.const(1 / n));
  const small = i8x16.shuffle32(exponent, exponent, [0, 2, 0, 2]);
  return f64x2.add(f64x2.convert_low_i32x4_s(small), f64x2.mul(f64x2.mul(s, series), f64x2.const(2 / Math.LN2)));
}

/** 2^y for doubles between -1000 and 1000, to 1e-10. */
function exp2OfDoubles(f: Func, y: Vector): V128 {
  const shifted = f.let(f64x2.add(y, f64x2.const(ROUNDER)));
  const r = f.let(f64x2.mul(f64x2.sub(y, f64x2.sub(shifted, f64x2.const(ROUNDER))), f64x2.const(Math.LN2)));
  let series: V128 = f64x2.const(1);
  for (const n of [9, 8, 7, 6, 5, 4, 3, 2, 1]) {
    series = f64x2.add(f64x2.mul(f64x2.mul(series, r), f64x2.const(1 / n)), f64x2.const(1));
  }
  return f64x2.mul(series, i64x2.shl(i64x2.add(shifted, i64x2.const(1023n)), 52));
}

/** a^b with the special cases of C: anything^0 = 1, 1^anything = 1, a negative base takes whole exponents only. */
export function pow(f: Func, a: Vector, b: Vector): V128 {
  const size = f.let(f32x4.abs(a));
  const magnitude = f.let(inDoubles(f, size, b, (x, y) => {
    const product = f64x2.mul(log2OfDoubles(f, x), y);
    const bounded = f64x2.pmin(f64x2.pmax(product, f64x2.const(-1000)), f64x2.const(1000));
    return exp2OfDoubles(f, f.let(bounded));
  }));
  const zero = f32x4.const(0), one = f32x4.const(1);
  const rises = f.let(f32x4.gt(b, zero));
  const atZero = v128.select(rises, zero, f32x4.const(Infinity));
  const atInfinity = v128.select(rises, f32x4.const(Infinity), zero);
  const whole = f.let(f32x4.eq(f32x4.trunc(b), b));
  const half = f.let(f32x4.mul(b, f32x4.const(0.5)));
  const odd = f.let(v128.and(whole, f32x4.ne(f32x4.trunc(half), half)));
  let y: V128 = v128.select(f32x4.eq(size, zero), atZero, magnitude);
  y = v128.select(f32x4.eq(size, f32x4.const(Infinity)), atInfinity, y);
  y = v128.select(f32x4.eq(size, one), one, y);
  y = v128.xor(y, v128.and(v128.and(a, odd), i32x4.const(0x80000000)));
  const negative = v128.and(f32x4.lt(a, zero), f32x4.gt(a, f32x4.const(-Infinity)));
  y = v128.select(v128.andnot(negative, whole), f32x4.const(NaN), y);
  const undefinedPower = v128.or(f32x4.ne(a, a), f32x4.ne(b, b));
  y = v128.select(undefinedPower, f32x4.const(NaN), y);
  return v128.select(v128.or(f32x4.eq(b, zero), f32x4.eq(a, one)), one, y);
}

/** Integer powers by squaring; negative exponents give 0 unless the base is 1 or -1. */
export function powOfInts(f: Func, signed: boolean, a: Vector, b: Vector): V128 {
  const one = i32x4.const(1);
  const base = f.let(a), left = f.let(b), product = f.let(one);
  if (signed) {
    const falling = i32x4.lt_s(b, i32x4.const(0));
    const unit = f.let(i32x4.eq(i32x4.abs(a), one));
    f.set(product, v128.andnot(one, v128.andnot(falling, unit)));
    f.set(left, v128.select(falling, v128.and(b, one), b));
  }
  f.while(v128.any_true(left), () => {
    const taken = i32x4.neg(v128.and(left, one));
    f.set(product, i32x4.mul(product, v128.select(taken, base, one)));
    f.set(base, i32x4.mul(base, base));
    f.set(left, i32x4.shr_u(left, 1));
  });
  return product;
}

/** Shifts every lane by its own count, modulo 32. */
export function shiftLanes(f: Func, op: "shl" | "shr_s" | "shr_u", a: Vector, counts: Vector): V128 {
  const result = f.let(a);
  for (let lane = 0; lane < 4; lane++) {
    const shifted = i32[op](i32x4.extract(a, lane), i32x4.extract(counts, lane));
    f.set(result, i32x4.replace(result, lane, shifted));
  }
  return result;
}
