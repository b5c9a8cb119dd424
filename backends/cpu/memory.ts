/**
 * How kernels see memory: typed arrays over a buffer, and the places that strided walks visit.
 *
 * @module
 */
import type { View } from "../../core/backend.ts";
import { viewBuffer } from "../../core/dtype.ts";
import { mergeAxes } from "../../core/layout.ts";
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

/** Strided views of one shape, visited side by side: rows one after the other, along which view `k` takes `steps[k]`. */
export interface Walk {
  /** Elements in a row. */
  readonly length: number;
  /** For each view, the distance between neighbours in a row. */
  readonly steps: readonly number[];
  /** For each view, where every row begins. */
  readonly starts: readonly Int32Array[];
}

/** How to walk through views of `shape` in row-major order, in rows as long as the strides of all of them allow. */
export function walk(shape: Shape, ...views: readonly (readonly number[])[]): Walk {
  const merged = mergeAxes(shape, views);
  const outer = merged.shape.slice(0, -1);
  return {
    length: merged.shape.at(-1) ?? 1,
    steps: merged.strides.map((strides) => strides.at(-1) ?? 0),
    starts: merged.strides.map((strides) => places(outer, strides.slice(0, -1))),
  };
}
