/**
 * Reading and writing at places given as data. Out of range, reading gives NaN or 0 and writing does nothing.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { isFloat } from "../../core/dtype.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { IndexAttrs } from "../../ops/index.ts";
import { type Buffer, elements, places } from "./memory.ts";

/** The place that an index names: negative ones count from the end. */
const placeOf = (index: number, n: number): number => index < 0 ? index + n : index;
const inRange = (place: number, n: number): boolean => place >= 0 && place < n;

/** `x` and the output as `[outer, axis, inner]`: slice `j` of the output is slice `indices[j]` of `x`. */
const gather: Kernel<Buffer, IndexAttrs> = ({ inputs: [x, indices], outputs: [y], attrs: { axis } }) => {
  const from = elements(x), at = elements(indices), to = elements(y);
  const outside = isFloat(x.dtype) ? NaN : 0;
  const n = x.shape[axis], inner = size(x.shape.slice(axis + 1)), outer = size(x.shape.slice(0, axis));
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < at.length; j++) {
      const place = placeOf(at[j], n);
      const target = (o * at.length + j) * inner, source = (o * n + place) * inner;
      for (let i = 0; i < inner; i++) to[target + i] = inRange(place, n) ? from[source + i] : outside;
    }
  }
};

/** `y[indices[j]] += updates[j]` for every slice `j`, in order. */
const indexAdd: Kernel<Buffer, IndexAttrs> = ({ inputs: [x, indices, updates], outputs: [y], attrs: { axis } }) => {
  const from = elements(updates), at = elements(indices), to = elements(y);
  const n = x.shape[axis], inner = size(x.shape.slice(axis + 1)), outer = size(x.shape.slice(0, axis));
  const total = Float64Array.from(elements(x));
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < at.length; j++) {
      const place = placeOf(at[j], n);
      if (!inRange(place, n)) continue;
      const target = (o * n + place) * inner, source = (o * at.length + j) * inner;
      for (let i = 0; i < inner; i++) total[target + i] += from[source + i];
    }
  }
  to.set(total);
};

const gatherElements: Kernel<Buffer, IndexAttrs> = ({ inputs: [x, indices], outputs: [y], attrs: { axis } }) => {
  const from = elements(x), at = elements(indices), to = elements(y);
  const outside = isFloat(x.dtype) ? NaN : 0;
  const strides = stridesOf(x.shape), n = x.shape[axis];
  const base = places(y.shape, strides.with(axis, 0));
  for (let i = 0; i < to.length; i++) {
    const place = placeOf(at[i], n);
    to[i] = inRange(place, n) ? from[base[i] + place * strides[axis]] : outside;
  }
};

const scatterAdd: Kernel<Buffer, IndexAttrs> = ({ inputs: [x, indices, updates], outputs: [y], attrs: { axis } }) => {
  const from = elements(updates), at = elements(indices), to = elements(y);
  const strides = stridesOf(x.shape), n = x.shape[axis];
  const base = places(updates.shape, strides.with(axis, 0));
  const total = Float64Array.from(elements(x));
  for (let i = 0; i < from.length; i++) {
    const place = placeOf(at[i], n);
    if (inRange(place, n)) total[base[i] + place * strides[axis]] += from[i];
  }
  to.set(total);
};

/** Kernels that index. */
export const index: KernelTable<Buffer> = { gather, gatherElements, scatterAdd, indexAdd };
