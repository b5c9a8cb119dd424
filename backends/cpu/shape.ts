/**
 * Views as copies, and tensors put side by side.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { broadcastStrides, stridesOf } from "../../core/shape.ts";
import type { ConcatAttrs, PadAttrs } from "../../ops/join.ts";
import type { ShapeAttrs, TransposeAttrs } from "../../ops/shape.ts";
import type { SliceAttrs } from "../../ops/slice.ts";
import { type Buffer, type Elements, elements, places } from "./memory.ts";

function gatherPlaces(to: Elements, from: Elements, table: Int32Array): void {
  for (let i = 0; i < to.length; i++) to[i] = from[table[i]];
}

const transpose: Kernel<Buffer, TransposeAttrs> = ({ inputs: [x], outputs: [y], attrs: { axes } }) => {
  const strides = stridesOf(x.shape);
  gatherPlaces(elements(y), elements(x), places(y.shape, axes.map((axis) => strides[axis])));
};

const broadcastTo: Kernel<Buffer, ShapeAttrs> = ({ inputs: [x], outputs: [y] }) => {
  gatherPlaces(elements(y), elements(x), places(y.shape, broadcastStrides(x.shape, y.shape)));
};

const slice: Kernel<Buffer, SliceAttrs> = ({ inputs: [x], outputs: [y], attrs: { starts, steps } }) => {
  const strides = stridesOf(x.shape);
  const start = starts.reduce((sum, start, axis) => sum + start * strides[axis], 0);
  gatherPlaces(elements(y), elements(x), places(y.shape, strides.map((stride, axis) => stride * steps[axis]), start));
};

const pad: Kernel<Buffer, PadAttrs> = ({ inputs: [x], outputs: [y], attrs: { widths, value } }) => {
  const from = elements(x), to = elements(y).fill(value);
  const strides = stridesOf(y.shape);
  const start = widths.reduce((sum, [before], axis) => sum + before * strides[axis], 0);
  places(x.shape, strides, start).forEach((place, i) => to[place] = from[i]);
};

const concat: Kernel<Buffer, ConcatAttrs> = ({ inputs, outputs: [y], attrs: { axis } }) => {
  const to = elements(y);
  const strides = stridesOf(y.shape);
  let start = 0;
  for (const x of inputs) {
    const from = elements(x);
    places(x.shape, strides, start).forEach((place, i) => to[place] = from[i]);
    start += x.shape[axis] * strides[axis];
  }
};

/** Kernels that move elements. */
export const shape: KernelTable<Buffer> = { transpose, broadcastTo, slice, pad, concat };
