/**
 * Conversion between f32 lanes and half floats (IEEE 754 binary16) in the low bits of 32-bit lanes.
 *
 * @module
 */
import type { Func } from "./assembler.ts";
import type { V128 } from "./instructions.ts";
import type { Vector } from "./math.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** Half floats, one in each 32-bit lane, as f32. Multiplying by 2^112 moves the exponent's bias, subnormals included. */
export function halfToFloat(f: Func, bits: Vector): V128 {
  const magnitude = f.let(i32x4.shl(v128.and(bits, i32x4.const(0x7fff)), 13));
  const moved = f32x4.mul(magnitude, i32x4.const((112 + 127) << 23));
  const special = v128.or(magnitude, i32x4.const(0x7f800000));
  const value = v128.select(i32x4.ge_u(magnitude, i32x4.const(0x7c00 << 13)), special, moved);
  return v128.or(value, i32x4.shl(v128.and(bits, i32x4.const(0x8000)), 16));
}

/** f32 lanes as half floats, rounded to nearest even, one in each 32-bit lane. */
export function floatToHalf(f: Func, x: Vector): V128 {
  const magnitude = f.let(f32x4.abs(x));
  // Normal halves: add just under half of the last kept bit (or half, if that bit is odd), then shift.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.const(1));
  const rounded = i32x4.add(i32x4.add(magnitude, i32x4.const(0xfff - (112 << 23))), odd);
  const normal = i32x4.min_s(i32x4.shr_s(rounded, 13), i32x4.const(0x7c00));
  // Subnormal halves: adding 1/2 leaves the bits of the half, rounded, at the end of the sum.
  const subnormal = i32x4.sub(f32x4.add(magnitude, f32x4.const(0.5)), f32x4.const(0.5));
  const finite = v128.select(f32x4.lt(magnitude, f32x4.const(2 ** -14)), subnormal, normal);
  const value = v128.select(f32x4.ne(x, x), i32x4.const(0x7e00), finite);
  return v128.or(value, v128.and(i32x4.shr_u(x, 16), i32x4.const(0x8000)));
}
