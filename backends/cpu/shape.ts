/**
 * Views as copies, and tensors put side by side.
 *
 * @module
 */
import type { Kernel, KernelTable, View } from "../../core/backend.ts";
import { broadcastStrides, type Shape, stridesOf } from "../../core/shape.ts";
import type { ConcatAttrs, PadAttrs } from "../../ops/join.ts";
import type { ShapeAttrs, TransposeAttrs } from "../../ops/shape.ts";
import type { SliceAttrs } from "../../ops/slice.ts";
import { type Buffer, type Elements, elements, walk } from "./memory.ts";

/** Elements, and how to step through them along each axis. */
interface Strided {
  readonly array: Elements;
  readonly strides: readonly number[];
  readonly start?: number;
}

/** Copies as many elements as `shape` has from one strided view to another. */
function copy(shape: Shape, { array: to, ...target }: Strided, { array: from, ...source }: Strided): void {
  const { length, steps: [toStep, fromStep], starts } = walk(shape, target.strides, source.strides);
  const [toStarts, fromStarts] = starts;
  for (let row = 0; row < toStarts.length; row++) {
    const toStart = toStarts[row] + (target.start ?? 0), fromStart = fromStarts[row] + (source.start ?? 0);
    for (let j = 0; j < length; j++) to[toStart + j * toStep] = from[fromStart + j * fromStep];
  }
}

/** All elements of a tensor, in order. */
function whole(view: View<Buffer>): Strided {
  return { array: elements(view), strides: stridesOf(view.shape) };
}

const transpose: Kernel<Buffer, TransposeAttrs> = ({ inputs: [x], outputs: [y], attrs: { axes } }) => {
  const strides = stridesOf(x.shape);
  copy(y.shape, whole(y), { array: elements(x), strides: axes.map((axis) => strides[axis]) });
};

const broadcastTo: Kernel<Buffer, ShapeAttrs> = ({ inputs: [x], outputs: [y] }) => {
  copy(y.shape, whole(y), { array: elements(x), strides: broadcastStrides(x.shape, y.shape) });
};

const slice: Kernel<Buffer, SliceAttrs> = ({ inputs: [x], outputs: [y], attrs: { starts, steps } }) => {
  const strides = stridesOf(x.shape);
  const start = starts.reduce((sum, start, axis) => sum + start * strides[axis], 0);
  copy(y.shape, whole(y), { array: elements(x), strides: strides.map((stride, axis) => stride * steps[axis]), start });
};

const pad: Kernel<Buffer, PadAttrs> = ({ inputs: [x], outputs: [y], attrs: { widths, value } }) => {
  const strides = stridesOf(y.shape);
  const start = widths.reduce((sum, [before], axis) => sum + before * strides[axis], 0);
  copy(x.shape, { array: elements(y).fill(value), strides, start }, whole(x));
};

const concat: Kernel<Buffer, ConcatAttrs> = ({ inputs, outputs: [y], attrs: { axis } }) => {
  const { array, strides } = whole(y);
  let start = 0;
  for (const x of inputs) {
    copy(x.shape, { array, strides, start }, whole(x));
    start += x.shape[axis] * strides[axis];
  }
};

/** Kernels that move elements. */
export const shape: KernelTable<Buffer> = { transpose, broadcastTo, slice, pad, concat };
