/**
 * Element types, and the typed arrays that hold them in JavaScript.
 *
 * @module
 */
import { DTypeError } from "./errors.ts";

/**
 * Element type of a tensor. `bool` is stored as a 32-bit lane holding 0 or 1, so that masks select values without
 * widening; `f16` is stored in 2 bytes and computed in f32 wherever a backend has no f16 arithmetic.
 */
export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** What `data()` returns: one element an entry; `bool` becomes bytes holding 0 or 1. */
export type TypedArray = Float32Array | Float16Array | Int32Array | Uint32Array | Uint8Array;

/** Every dtype, in the order in which documentation lists them. */
export const DTYPES: readonly DType[] = ["f32", "f16", "i32", "u32", "bool"];

/** The dtypes with a fraction. */
export const FLOATS: readonly DType[] = ["f32", "f16"];

/** The dtypes of whole numbers. */
export const INTEGERS: readonly DType[] = ["i32", "u32"];

/** The dtypes that can be added and multiplied. */
export const NUMBERS: readonly DType[] = [...FLOATS, ...INTEGERS];

/** Bytes that one element takes in a backend's buffer. */
export function bytesPerElement(dtype: DType): number {
  return dtype === "f16" ? 2 : 4;
}

/** Whether values of this type have a fraction, and so a gradient. */
export function isFloat(dtype: DType): boolean {
  return dtype === "f32" || dtype === "f16";
}

/** The array that kernels written in JavaScript compute with: raw buffer contents, `bool` as 32-bit lanes. */
export function viewBuffer(
  buffer: ArrayBufferLike,
  dtype: DType,
  offset = 0,
  length?: number,
): Float32Array | Float16Array | Int32Array | Uint32Array {
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, offset, length);
    case "f16":
      return new Float16Array(buffer, offset, length);
    case "u32":
      return new Uint32Array(buffer, offset, length);
    default:
      return new Int32Array(buffer, offset, length);
  }
}

/** Raw buffer contents as the user sees them: `bool` lanes narrowed to bytes. */
export function toUserArray(buffer: ArrayBuffer, dtype: DType, length: number): TypedArray {
  const raw = viewBuffer(buffer, dtype, 0, length);
  return dtype === "bool" ? Uint8Array.from(raw) : raw;
}

/** User data as raw buffer contents of `dtype`. */
export function toRawArray(data: ArrayLike<number | boolean>, dtype: DType): ArrayBufferView {
  const numbers = data as ArrayLike<number>;
  switch (dtype) {
    case "f32":
      return data instanceof Float32Array ? data : Float32Array.from(numbers);
    case "f16":
      return data instanceof Float16Array ? data : Float16Array.from(numbers);
    case "i32":
      return data instanceof Int32Array ? data : Int32Array.from(numbers);
    case "u32":
      return data instanceof Uint32Array ? data : Uint32Array.from(numbers);
    case "bool":
      return Int32Array.from(numbers, (value) => value ? 1 : 0);
  }
}

/** The dtype whose elements `data` holds already. */
export function dtypeOf(data: ArrayLike<unknown>): DType {
  if (data instanceof Float32Array || data instanceof Float64Array) return "f32";
  if (data instanceof Float16Array) return "f16";
  if (data instanceof Uint32Array) return "u32";
  if (ArrayBuffer.isView(data)) return "i32";
  return typeof data[0] === "boolean" ? "bool" : "f32";
}

/** Throws unless `dtype` is one of `allowed`. */
export function requireDType(op: string, dtype: DType, allowed: readonly DType[]): void {
  if (!allowed.includes(dtype)) {
    throw new DTypeError(`Cannot compute ${op} of ${dtype}: it takes ${allowed.join(", ")}`);
  }
}
