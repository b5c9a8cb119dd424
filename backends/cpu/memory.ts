/**
 * How kernels see memory: typed arrays over a buffer, and tables of the places that a strided walk visits.
 *
 * @module
 */
import type { View } from "../../core/backend.ts";
import { viewBuffer } from "../../core/dtype.ts";
import { type Shape, size } from "../../core/shape.ts";

/** Storage of one tensor. */
export type Buffer = ArrayBuffer;

/** The array that a kernel computes with; `bool` is a 32-bit lane holding 0 or 1. */
export type Elements = ReturnType<typeof viewBuffer>;

const nothing = new ArrayBuffer(0);

/** The elements of a tensor. */
export function elements({ buffer, dtype, shape }: View<Buffer>): Elements {
  return viewBuffer(buffer ?? nothing, dtype, 0, size(shape));
}

/**
 * Where the elements of a strided view lie, in row-major order of its shape.
 *
 * Grown from the innermost axis outwards: an axis of size n repeats the table so far n times, each time one stride on.
 */
export function places(shape: Shape, strides: readonly number[], start = 0): Int32Array {
  const table = new Int32Array(size(shape));
  if (table.length === 0) return table;
  table[0] = start;
  let count = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    for (let i = 1; i < shape[axis]; i++) {
      const step = i * strides[axis];
      for (let j = 0; j < count; j++) table[i * count + j] = table[j] + step;
    }
    count *= shape[axis];
  }
  return table;
}
