/**
 * WebAssembly instructions as typed functions: `f32x4.add(a, b)` is an expression of type `v128`, and its code is the
 * code of `a`, the code of `b`, and the opcode. Names are those of the specification.
 *
 * @module
 */

/** What an expression leaves on the stack. */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Bytes, nested as they were put together. */
export type Code = number | Constant | readonly Code[];

/**
 * A 128-bit constant. Engines build one from pieces wherever it stands, loops included, so functions compute each of
 * theirs once, at the start (see `Func.body`).
 */
export class Constant {
  constructor(readonly bytes: readonly number[]) {}
}

/** An expression of type T; `"none"` is a statement. An expression used twice is computed twice. */
export interface Expr<T extends ValueType | "none"> {
  readonly type: T;
  readonly code: Code;
}

/** An expression, or a number that stands for the constant of its type. */
export type Value<T extends ValueType> = Expr<T> | (T extends "i32" ? number : never);

/** A pointer, count or condition. */
export type I32 = Value<"i32">;
/** Four f32 or i32 lanes, or two f64 lanes, or a mask. */
export type V128 = Expr<"v128">;

/** Nested code as one list of bytes; `place` says what stands for a constant. */
export function flatten(code: Code, place?: (constant: Constant) => readonly number[], into: number[] = []): number[] {
  if (typeof code === "number") into.push(code);
  else if (code instanceof Constant) into.push(...place!(code));
  else for (const part of code) flatten(part, place, into);
  return into;
}

/** An unsigned number in LEB128. */
export function uleb(n: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = Math.floor(n / 128);
    bytes.push((n % 128) | (rest ? 128 : 0));
    n = rest;
  } while (n);
  return bytes;
}

/** A signed 32-bit number in LEB128. */
function sleb(n: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const byte = n & 127;
    n >>= 7;
    if ((n === 0 && !(byte & 64)) || (n === -1 && (byte & 64))) return [...bytes, byte];
    bytes.push(byte | 128);
  }
}

/** The bytes of a typed array. */
export function bytesOf(array: ArrayBufferView): number[] {
  return [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];
}

/** The opcode of a SIMD instruction. */
export function simd(op: number): Code {
  return [0xfd, uleb(op)];
}

function isConstant(value: I32, n: number): boolean {
  return value === n;
}

/** An instruction with one operand. */
export function unary<A extends ValueType, R extends ValueType>(type: R, op: Code): (a: Expr<A>) => Expr<R> {
  return (a) => ({ type, code: [a.code, op] });
}

/** An instruction with two operands. */
export function binary<A extends ValueType, R extends ValueType>(
  type: R,
  op: Code,
): (a: Expr<A>, b: Expr<A>) => Expr<R> {
  return (a, b) => ({ type, code: [a.code, b.code, op] });
}

const compute = (op: number): (a: I32, b: I32) => Expr<"i32"> => (a, b) => ({
  type: "i32",
  code: [i32.of(a).code, i32.of(b).code, op],
});

/** Loads take an address, and a constant offset in bytes; `align` is the power of two that the code promises. */
export const load =
  <T extends ValueType>(type: T, op: Code, align: number) => (address: Expr<"i32">, offset = 0): Expr<T> => ({
    type,
    code: [address.code, op, align, uleb(offset)],
  });
/** Stores take an address, a value, and a constant offset in bytes. */
export const store = <T extends ValueType>(op: Code, align: number) =>
(
  address: Expr<"i32">,
  value: Expr<T>,
  offset = 0,
): Expr<"none"> => ({
  type: "none",
  code: [address.code, value.code, op, align, uleb(offset)],
});
const atomic = (op: number): Code => [0xfe, op];

/** 32-bit integers. Numbers may stand for constants, and adding 0 or multiplying by 1 costs nothing. */
export const i32 = {
  const: (n: number): Expr<"i32"> => ({ type: "i32", code: [0x41, sleb(n | 0)] }),
  of: (value: I32): Expr<"i32"> => typeof value === "number" ? i32.const(value) : value,
  add: (a: I32, b: I32): Expr<"i32"> =>
    isConstant(b, 0) ? i32.of(a) : isConstant(a, 0) ? i32.of(b) : compute(0x6a)(a, b),
  sub: (a: I32, b: I32): Expr<"i32"> => isConstant(b, 0) ? i32.of(a) : compute(0x6b)(a, b),
  mul: (a: I32, b: I32): Expr<"i32"> =>
    isConstant(b, 1) ? i32.of(a) : isConstant(a, 1) ? i32.of(b) : compute(0x6c)(a, b),
  div_u: compute(0x6e),
  rem_u: compute(0x70),
  and: compute(0x71),
  or: compute(0x72),
  xor: compute(0x73),
  shl: (a: I32, b: I32): Expr<"i32"> => isConstant(b, 0) ? i32.of(a) : compute(0x74)(a, b),
  shr_s: compute(0x75),
  shr_u: compute(0x76),
  eq: compute(0x46),
  ne: compute(0x47),
  lt_s: compute(0x48),
  lt_u: compute(0x49),
  gt_s: compute(0x4a),
  gt_u: compute(0x4b),
  le_s: compute(0x4c),
  le_u: compute(0x4d),
  ge_s: compute(0x4e),
  ge_u: compute(0x4f),
  eqz: unary<"i32", "i32">("i32", 0x45),
  /** `condition ? a : b`, both computed. */
  select: (condition: Expr<"i32">, a: I32, b: I32): Expr<"i32"> => ({
    type: "i32",
    code: [i32.of(a).code, i32.of(b).code, condition.code, 0x1b],
  }),
  /** The smaller of two unsigned variables or constants. */
  min_u: (a: I32, b: I32): Expr<"i32"> => i32.select(i32.lt_u(a, b), a, b),
  load: load("i32", 0x28, 2),
  store: store<"i32">(0x36, 2),
  reinterpret_f32: unary<"f32", "i32">("i32", 0xbc),
  wrap_i64: unary<"i64", "i32">("i32", 0xa7),
  atomic_load: load("i32", atomic(0x10), 2),
  atomic_store: store<"i32">(atomic(0x17), 2),
  /** Adds in memory; the value is what was there before. */
  atomic_add: (address: Expr<"i32">, value: I32, offset = 0): Expr<"i32"> => ({
    type: "i32",
    code: [address.code, i32.of(value).code, atomic(0x1e), 2, uleb(offset)],
  }),
};

/** 64-bit integers. */
export const i64 = {
  const: (n: bigint): Expr<"i64"> => {
    const bytes: number[] = [];
    for (;;) {
      const byte = Number(n & 127n);
      n >>= 7n;
      if ((n === 0n && !(byte & 64)) || (n === -1n && (byte & 64))) {
        return { type: "i64", code: [0x42, [...bytes, byte]] };
      }
      bytes.push(byte | 128);
    }
  },
  add: binary<"i64", "i64">("i64", 0x7c),
  sub: binary<"i64", "i64">("i64", 0x7d),
  mul: binary<"i64", "i64">("i64", 0x7e),
  and: binary<"i64", "i64">("i64", 0x83),
  or: binary<"i64", "i64">("i64", 0x84),
  shl: binary<"i64", "i64">("i64", 0x86),
  shr_u: binary<"i64", "i64">("i64", 0x88),
  extend_i32_u: unary<"i32", "i64">("i64", 0xad),
  atomic_load: load("i64", atomic(0x11), 3),
  atomic_store: store<"i64">(atomic(0x18), 3),
  /** Subtracts in memory; the value is what was there before. */
  atomic_sub: (address: Expr<"i32">, value: Expr<"i64">, offset = 0): Expr<"i64"> => ({
    type: "i64",
    code: [address.code, value.code, atomic(0x26), 3, uleb(offset)],
  }),
};

/** Waiting and waking. */
export const memory = {
  /** Sleeps while the word at `address` is `expected`, at most so many nanoseconds (-1: for ever). */
  wait32: (address: Expr<"i32">, expected: Expr<"i32">, timeout: Expr<"i64">): Expr<"i32"> => ({
    type: "i32",
    code: [address.code, expected.code, timeout.code, atomic(0x01), 2, 0],
  }),
  /** Wakes up to `count` sleepers; the value is how many. */
  notify: (address: Expr<"i32">, count: I32): Expr<"i32"> => ({
    type: "i32",
    code: [address.code, i32.of(count).code, atomic(0x00), 2, 0],
  }),
  /** Copies `bytes` bytes. */
  copy: (to: Expr<"i32">, from: Expr<"i32">, bytes: I32): Expr<"none"> => ({
    type: "none",
    code: [to.code, from.code, i32.of(bytes).code, 0xfc, 10, 0, 0],
  }),
  /** Pages of 64 KB, as far as this thread knows. */
  size: (): Expr<"i32"> => ({ type: "i32", code: [0x3f, 0] }),
  /** Sets `bytes` bytes to `value`. */
  fill: (to: Expr<"i32">, value: I32, bytes: I32): Expr<"none"> => ({
    type: "none",
    code: [to.code, i32.of(value).code, i32.of(bytes).code, 0xfc, 11, 0],
  }),
};

/** Single floats. */
export const f32 = {
  const: (x: number): Expr<"f32"> => ({ type: "f32", code: [0x43, bytesOf(new Float32Array([x]))] }),
  load: load("f32", 0x2a, 2),
  store: store<"f32">(0x38, 2),
  add: binary<"f32", "f32">("f32", 0x92),
  eq: binary<"f32", "i32">("i32", 0x5b),
  ne: binary<"f32", "i32">("i32", 0x5c),
  lt: binary<"f32", "i32">("i32", 0x5d),
  gt: binary<"f32", "i32">("i32", 0x5e),
  demote_f64: unary<"f64", "f32">("f32", 0xb6),
};

/** Double floats. */
export const f64 = {
  const: (x: number): Expr<"f64"> => ({ type: "f64", code: [0x44, bytesOf(new Float64Array([x]))] }),
  mul: binary<"f64", "f64">("f64", 0xa2),
  convert_i64_s: unary<"i64", "f64">("f64", 0xb9),
};
