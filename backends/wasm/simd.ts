/**
 * The 128-bit SIMD instructions that the kernels use, as typed functions (see `instructions.ts`).
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import {
  binary,
  bytesOf,
  Constant,
  type Expr,
  type I32,
  i32,
  load,
  simd,
  store,
  uleb,
  unary,
  type V128,
  type ValueType,
} from "./instructions.ts";

const one = (op: number) => unary<"v128", "v128">("v128", simd(op));
const two = (op: number) => binary<"v128", "v128">("v128", simd(op));
const test = (op: number) => unary<"v128", "i32">("i32", simd(op));
const three = (op: number) => (a: V128, b: V128, c: V128): V128 => ({
  type: "v128",
  code: [a.code, b.code, c.code, simd(op)],
});
/** Shifts all lanes by one count. */
const shift = (op: number) => (a: V128, count: I32): V128 => ({
  type: "v128",
  code: [a.code, i32.of(count).code, simd(op)],
});
const extract = <T extends ValueType>(type: T, op: number) => (a: V128, lane: number): Expr<T> => ({
  type,
  code: [a.code, simd(op), lane],
});
const replace = <T extends ValueType>(op: number) => (a: V128, lane: number, value: Expr<T>): V128 => ({
  type: "v128",
  code: [a.code, value.code, simd(op), lane],
});
const loadLane = (op: number, align: number) => (address: Expr<"i32">, a: V128, lane: number, offset = 0): V128 => ({
  type: "v128",
  code: [address.code, a.code, simd(op), align, uleb(offset), lane],
});
const storeLane =
  (op: number, align: number) => (address: Expr<"i32">, a: V128, lane: number, offset = 0): Expr<"none"> => ({
    type: "none",
    code: [address.code, a.code, simd(op), align, uleb(offset), lane],
  });
const constant = (lanes: ArrayBufferView): V128 => ({ type: "v128", code: new Constant(bytesOf(lanes)) });
const repeated = (lanes: readonly number[]) => lanes.length === 1 ? [...lanes, ...lanes, ...lanes, ...lanes] : lanes;

/** Whole vectors, as bits. */
export const v128 = {
  load: load("v128", simd(0), 2),
  load16x4_u: load("v128", simd(4), 1),
  load16_splat: load("v128", simd(8), 1),
  load32_splat: load("v128", simd(9), 2),
  load32_zero: load("v128", simd(92), 2),
  load16_lane: loadLane(85, 1),
  load32_lane: loadLane(86, 2),
  store: store<"v128">(simd(11), 2),
  store16_lane: storeLane(89, 1),
  store32_lane: storeLane(90, 2),
  store64_lane: storeLane(91, 2),
  not: one(77),
  and: two(78),
  /** `a` where `b` has no bit. */
  andnot: two(79),
  or: two(80),
  xor: two(81),
  /** Bits of `a` where `mask` has bits, of `b` elsewhere. */
  select: (mask: V128, a: V128, b: V128): V128 => three(82)(a, b, mask),
  any_true: test(83),
};

/** Sixteen bytes. */
export const i8x16 = {
  /** The 32-bit lanes of `a` (0 to 3) and `b` (4 to 7) in any order. */
  shuffle32: (a: V128, b: V128, lanes: readonly [number, number, number, number]): V128 => ({
    type: "v128",
    code: [a.code, b.code, simd(13), lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte))],
  }),
};

/** Eight 16-bit integers. */
export const i16x8 = {
  /** The low halves of eight 32-bit lanes, saturated as unsigned. */
  narrow_i32x4_u: two(0x86),
};

/** Four 32-bit integers. */
export const i32x4 = {
  /** One number for all lanes, or four. */
  const: (...lanes: number[]): V128 => constant(new Int32Array(repeated(lanes))),
  splat: (a: I32): V128 => unary<"i32", "v128">("v128", simd(17))(i32.of(a)),
  extract: extract("i32", 27),
  replace: replace<"i32">(28),
  eq: two(55),
  ne: two(56),
  lt_s: two(57),
  lt_u: two(58),
  gt_s: two(59),
  gt_u: two(60),
  le_s: two(61),
  le_u: two(62),
  ge_s: two(63),
  ge_u: two(64),
  abs: one(0xa0),
  neg: one(0xa1),
  shl: shift(0xab),
  shr_s: shift(0xac),
  shr_u: shift(0xad),
  add: two(0xae),
  sub: two(0xb1),
  mul: two(0xb5),
  min_s: two(0xb6),
  min_u: two(0xb7),
  max_s: two(0xb8),
  max_u: two(0xb9),
  trunc_sat_f32x4_s: one(0xf8),
  trunc_sat_f32x4_u: one(0xf9),
  /** Lanes of `a` where `mask` has all bits, of `b` where it has none; what else is not said. */
  relaxed_laneselect: (mask: V128, a: V128, b: V128): V128 => three(0x10b)(a, b, mask),
};

/** Four single floats. */
export const f32x4 = {
  /** One number for all lanes, or four. */
  const: (...lanes: number[]): V128 => constant(new Float32Array(repeated(lanes))),
  replace: replace<"f32">(32),
  eq: two(65),
  ne: two(66),
  lt: two(67),
  gt: two(68),
  le: two(69),
  ge: two(70),
  ceil: one(103),
  floor: one(104),
  trunc: one(105),
  nearest: one(106),
  abs: one(0xe0),
  neg: one(0xe1),
  sqrt: one(0xe3),
  add: two(0xe4),
  sub: two(0xe5),
  mul: two(0xe6),
  div: two(0xe7),
  /** `b < a ? b : a`: a NaN in `a` stays. */
  pmin: two(0xea),
  /** `a < b ? b : a`: a NaN in `a` stays. */
  pmax: two(0xeb),
  convert_i32x4_s: one(0xfa),
  convert_i32x4_u: one(0xfb),
  demote_f64x2_zero: one(94),
  relaxed_madd: three(0x105),
  relaxed_nmadd: three(0x106),
};

/** Two double floats. */
export const f64x2 = {
  /** One number for both lanes. */
  const: (x: number): V128 => constant(new Float64Array([x, x])),
  eq: two(71),
  lt: two(73),
  floor: one(0x75),
  trunc: one(0x7a),
  abs: one(0xec),
  add: two(0xf0),
  sub: two(0xf1),
  mul: two(0xf2),
  div: two(0xf3),
  pmin: two(0xf6),
  pmax: two(0xf7),
  promote_low_f32x4: one(95),
  convert_low_i32x4_s: one(0xfe),
  convert_low_i32x4_u: one(0xff),
};

/** Two 64-bit integers. */
export const i64x2 = {
  /** One number for both lanes. */
  const: (n: bigint): V128 => constant(new BigInt64Array([n, n])),
  shl: shift(0xcb),
  shr_u: shift(0xcd),
  add: two(0xce),
  sub: two(0xd1),
};

/** Four lanes from memory: each from an address of its own, `offset` bytes further on. */
export function loadLanes(
  f: Func,
  addresses: readonly Expr<"i32">[],
  offset: (lane: number) => number = () => 0,
): Local<"v128"> {
  const value = f.let(v128.load32_zero(addresses[0], offset(0)));
  for (let lane = 1; lane < 4; lane++) f.set(value, v128.load32_lane(addresses[lane], value, lane, offset(lane)));
  return value;
}

/** Four vectors of four, rows and columns exchanged. */
export function transpose(f: Func, [a, b, c, d]: readonly Local<"v128">[]): V128[] {
  const low = (x: V128, y: V128) => f.let(i8x16.shuffle32(x, y, [0, 4, 1, 5]));
  const high = (x: V128, y: V128) => f.let(i8x16.shuffle32(x, y, [2, 6, 3, 7]));
  const [ab, cd, abHigh, cdHigh] = [low(a, b), low(c, d), high(a, b), high(c, d)];
  return [
    i8x16.shuffle32(ab, cd, [0, 1, 4, 5]),
    i8x16.shuffle32(ab, cd, [2, 3, 6, 7]),
    i8x16.shuffle32(abHigh, cdHigh, [0, 1, 4, 5]),
    i8x16.shuffle32(abHigh, cdHigh, [2, 3, 6, 7]),
  ];
}
