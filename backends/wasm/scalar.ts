/**
 * The scalar table: every row of the scalar expression language as WebAssembly SIMD.
 *
 * Values are four 32-bit lanes. A `bool` is a mask in registers (all bits or none) and 0 or 1 in memory; an `f16` is an
 * f32 in registers.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { ScalarOp } from "../../core/scalar.ts";
import { divideInts, pow, powOfInts, remainder, remainderOfInts, shiftLanes } from "./arithmetic.ts";
import type { Func } from "./assembler.ts";
import { floatToHalf, halfToFloat } from "./half.ts";
import { i32, type V128 } from "./instructions.ts";
import { erf, exp, expm1, log, log1p, log2, sigmoid, tanh, type Vector } from "./math.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";
import { cos, sin, tan } from "./trigonometry.ts";

/** How a dtype's lanes are computed with. */
export type Lanes = "f32" | "i32" | "u32" | "bool";

/** The lanes that hold values of a dtype. */
export function lanesOf(dtype: DType): Lanes {
  return dtype === "f16" ? "f32" : dtype;
}

/** One scalar op, to be written into a function. */
export interface ScalarCall {
  readonly f: Func;
  /** Type of the first argument (the second, for `where`). */
  readonly lanes: Lanes;
  /** Type of the result. */
  readonly dtype: DType;
  readonly args: readonly Vector[];
  /** For shifts: the count, when all lanes have the same. */
  readonly count?: number;
}

/** Writes a scalar op. */
export type Row = (call: ScalarCall) => V128;

type Unary = (x: Vector, f: Func) => V128;
type Binary = (a: Vector, b: Vector, f: Func) => V128;
/** One way to compute for each kind of lane: `int` stands for both kinds of integer. */
type Kinds<T> = { readonly f32?: T; readonly int?: T; readonly i32?: T; readonly u32?: T; readonly bool?: T };

function pick<T>(kinds: Kinds<T>, { lanes }: ScalarCall): T {
  const own = kinds[lanes] ?? (lanes === "bool" ? undefined : kinds.int);
  if (!own) throw new TypeError(`Cannot compute with ${lanes} lanes: the scalar table has no such row`);
  return own;
}

const unary = (kinds: Kinds<Unary>): Row => (call) => pick(kinds, call)(call.args[0], call.f);
const binary = (kinds: Kinds<Binary>): Row => (call) => pick(kinds, call)(call.args[0], call.args[1], call.f);
const floats = (op: (f: Func, x: Vector) => V128): Row => (call) => op(call.f, call.args[0]);

const same: Unary = (x) => x;
const zero = i32x4.const(0);
const one = f32x4.const(1);
const allBits = i32x4.const(-1);

/** The larger (smaller) of two floats, or NaN if either is. */
const maxFloat: Binary = (a, b) => v128.or(f32x4.pmax(a, b), f32x4.ne(b, b));
const minFloat: Binary = (a, b) => v128.or(f32x4.pmin(a, b), f32x4.ne(b, b));

/** -1, 0 or 1; NaN stays. */
const signFloat: Unary = (x, f) => {
  const unit = v128.or(v128.and(x, i32x4.const(0x80000000)), one);
  return f.select(v128.or(f32x4.lt(x, zero), f32x4.gt(x, zero)), unit, x);
};

const shift = (op: Kinds<"shl" | "shr_s" | "shr_u">): Row => (call) => {
  const { f, args: [a, b], count } = call;
  return count === undefined ? shiftLanes(f, pick(op, call), a, b) : i32x4[pick(op, call)](a, i32.and(count, 31));
};

/** The value of `lanes` as another dtype. */
const cast: Row = ({ f, lanes, dtype, args: [x] }) => {
  const to = lanesOf(dtype);
  if (lanes === "bool") return to === "bool" ? x : v128.and(x, to === "f32" ? one : i32x4.const(1));
  if (to === "bool") return lanes === "f32" ? f32x4.ne(x, zero) : i32x4.ne(x, zero);
  if (lanes === "f32") {
    if (to === "i32") return i32x4.trunc_sat_f32x4_s(x);
    if (to === "u32") return i32x4.trunc_sat_f32x4_u(x);
    return dtype === "f16" ? halfToFloat(f, f.let(floatToHalf(f, x))) : x;
  }
  if (to !== "f32") return x;
  return lanes === "i32" ? f32x4.convert_i32x4_s(x) : f32x4.convert_i32x4_u(x);
};

/** Every scalar op. */
export const scalars = {
  neg: unary({ f32: f32x4.neg, int: i32x4.neg }),
  abs: unary({ f32: f32x4.abs, i32: i32x4.abs, u32: same }),
  sign: unary({
    f32: signFloat,
    i32: (x) => v128.or(i32x4.shr_s(x, 31), v128.and(i32x4.gt_s(x, zero), i32x4.const(1))),
    u32: (x) => i32x4.min_u(x, i32x4.const(1)),
  }),
  exp: floats(exp),
  expm1: floats(expm1),
  log: floats(log),
  log1p: floats(log1p),
  log2: floats(log2),
  sqrt: unary({ f32: f32x4.sqrt }),
  rsqrt: unary({ f32: (x) => f32x4.div(one, f32x4.sqrt(x)) }),
  reciprocal: unary({ f32: (x) => f32x4.div(one, x) }),
  square: unary({ f32: (x) => f32x4.mul(x, x), int: (x) => i32x4.mul(x, x) }),
  sin: floats(sin),
  cos: floats(cos),
  tan: floats(tan),
  tanh: floats(tanh),
  sigmoid: floats(sigmoid),
  erf: floats(erf),
  floor: unary({ f32: f32x4.floor, int: same }),
  ceil: unary({ f32: f32x4.ceil, int: same }),
  round: unary({ f32: f32x4.nearest, int: same }),
  isNaN: unary({ f32: (x) => f32x4.ne(x, x), int: () => zero, bool: () => zero }),
  isFinite: unary({
    f32: (x) => f32x4.lt(f32x4.abs(x), f32x4.const(Infinity)),
    int: () => allBits,
    bool: () => allBits,
  }),
  not: unary({ int: v128.not, bool: v128.not }),
  cast,

  add: binary({ f32: f32x4.add, int: i32x4.add, bool: v128.or }),
  sub: binary({ f32: f32x4.sub, int: i32x4.sub, bool: v128.xor }),
  mul: binary({ f32: f32x4.mul, int: i32x4.mul, bool: v128.and }),
  div: binary({
    f32: f32x4.div,
    i32: (a, b, f) => divideInts(f, true, a, b),
    u32: (a, b, f) => divideInts(f, false, a, b),
  }),
  pow: binary({
    f32: (a, b, f) => pow(f, a, b),
    i32: (a, b, f) => powOfInts(f, true, a, b),
    u32: (a, b, f) => powOfInts(f, false, a, b),
  }),
  max: binary({ f32: maxFloat, i32: i32x4.max_s, u32: i32x4.max_u, bool: v128.or }),
  min: binary({ f32: minFloat, i32: i32x4.min_s, u32: i32x4.min_u, bool: v128.and }),
  mod: binary({
    f32: (a, b, f) => remainder(f, a, b),
    i32: (a, b, f) => remainderOfInts(f, true, a, b),
    u32: (a, b, f) => remainderOfInts(f, false, a, b),
  }),
  equal: binary({ f32: f32x4.eq, int: i32x4.eq, bool: i32x4.eq }),
  notEqual: binary({ f32: f32x4.ne, int: i32x4.ne, bool: v128.xor }),
  less: binary({ f32: f32x4.lt, i32: i32x4.lt_s, u32: i32x4.lt_u, bool: (a, b) => v128.andnot(b, a) }),
  lessEqual: binary({ f32: f32x4.le, i32: i32x4.le_s, u32: i32x4.le_u, bool: (a, b) => v128.or(v128.not(a), b) }),
  greater: binary({ f32: f32x4.gt, i32: i32x4.gt_s, u32: i32x4.gt_u, bool: (a, b) => v128.andnot(a, b) }),
  greaterEqual: binary({ f32: f32x4.ge, i32: i32x4.ge_s, u32: i32x4.ge_u, bool: (a, b) => v128.or(a, v128.not(b)) }),
  and: binary({ int: v128.and, bool: v128.and }),
  or: binary({ int: v128.or, bool: v128.or }),
  xor: binary({ int: v128.xor, bool: v128.xor }),
  shiftLeft: shift({ int: "shl" }),
  shiftRight: shift({ i32: "shr_s", u32: "shr_u" }),
  where: ({ f, args: [condition, a, b] }) => f.select(condition, a, b),
} satisfies Record<ScalarOp, Row>;

/** About how many instructions an op takes: decides which axis is walked in vectors and what is worth keeping. */
export function costOf(op: ScalarOp): number {
  return COSTS[op] ?? 1;
}

const COSTS: { readonly [op in ScalarOp]?: number } = {
  exp: 20,
  expm1: 22,
  log: 30,
  log1p: 40,
  log2: 32,
  sqrt: 3,
  rsqrt: 6,
  reciprocal: 3,
  sin: 45,
  cos: 45,
  tan: 55,
  tanh: 20,
  sigmoid: 26,
  erf: 20,
  div: 3,
  pow: 120,
  mod: 15,
  max: 3,
  min: 3,
};
