/**
 * The element types that safetensors files hold, and how each becomes one of ours.
 *
 * @module
 */
import type { DType, TypedArray } from "../core/dtype.ts";
import { FormatError } from "../core/errors.ts";

/** How one element type of the format is read. */
export interface Format {
  /** Size of an element. */
  readonly bytes: number;
  /** What it becomes here. */
  readonly dtype: DType;
  /** `count` elements from `offset`, a multiple of `bytes`. */
  decode(buffer: ArrayBuffer, offset: number, count: number, name: string): TypedArray;
}

type NumberArray = new (buffer: ArrayBuffer, offset: number, count: number) => ArrayLike<number>;
type BigArray = new (buffer: ArrayBuffer, offset: number, count: number) => BigInt64Array | BigUint64Array;

/** Small integers, which i32 holds exactly. */
function widened(bytes: number, Source: NumberArray): Format {
  return { bytes, dtype: "i32", decode: (buffer, offset, count) => Int32Array.from(new Source(buffer, offset, count)) };
}

/** Long integers, as i32 if they fit. */
function narrowed(Source: BigArray): Format {
  return {
    bytes: 8,
    dtype: "i32",
    decode: (buffer, offset, count, name) =>
      Int32Array.from(new Source(buffer, offset, count) as BigInt64Array, (value) => {
        const number = Number(value);
        if (number === (number | 0)) return number;
        throw new FormatError(`Cannot read tensor "${name}" as i32: it holds ${value}, which does not fit`);
      }),
  };
}

/** bfloat16 is the upper half of an f32. */
function decodeBf16(buffer: ArrayBuffer, offset: number, count: number): Float32Array {
  const bits = Uint32Array.from(new Uint16Array(buffer, offset, count), (half) => half << 16);
  return new Float32Array(bits.buffer);
}

/** By the name that headers use. */
export const FORMATS: Readonly<Record<string, Format>> = {
  F32: { bytes: 4, dtype: "f32", decode: (buffer, offset, count) => new Float32Array(buffer, offset, count) },
  F16: { bytes: 2, dtype: "f16", decode: (buffer, offset, count) => new Float16Array(buffer, offset, count) },
  I32: { bytes: 4, dtype: "i32", decode: (buffer, offset, count) => new Int32Array(buffer, offset, count) },
  U32: { bytes: 4, dtype: "u32", decode: (buffer, offset, count) => new Uint32Array(buffer, offset, count) },
  BOOL: { bytes: 1, dtype: "bool", decode: (buffer, offset, count) => new Uint8Array(buffer, offset, count) },
  BF16: { bytes: 2, dtype: "f32", decode: decodeBf16 },
  F64: {
    bytes: 8,
    dtype: "f32",
    decode: (buffer, offset, count) => Float32Array.from(new Float64Array(buffer, offset, count)),
  },
  U8: widened(1, Uint8Array),
  I8: widened(1, Int8Array),
  U16: widened(2, Uint16Array),
  I16: widened(2, Int16Array),
  I64: narrowed(BigInt64Array),
  U64: narrowed(BigUint64Array),
};
