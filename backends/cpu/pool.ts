/**
 * Pooling: maxima and sums of windows.
 *
 * @module
 */
import type { Kernel, KernelTable, View } from "../../core/backend.ts";
import { type Shape, size } from "../../core/shape.ts";
import type { PoolAttrs, SumPoolGradAttrs } from "../../ops/pool.ts";
import { type Buffer, elements } from "./memory.ts";

/** Visits every window's elements in order: `place` counts windows, `element` the input's elements, padding left out. */
function eachElement(
  [batch, channels, height, width]: Shape,
  [, , rows, columns]: Shape,
  { size: [windowHeight, windowWidth], stride, padding: [[top], [left]], dilation }: PoolAttrs,
  visit: (place: number, element: number) => void,
): void {
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let p = 0; p < rows; p++) {
      for (let q = 0; q < columns; q++) {
        for (let u = 0; u < windowHeight; u++) {
          for (let v = 0; v < windowWidth; v++) {
            const row = p * stride[0] + u * dilation[0] - top, column = q * stride[1] + v * dilation[1] - left;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            visit((plane * rows + p) * columns + q, (plane * height + row) * width + column);
          }
        }
      }
    }
  }
}

/** Which element each window's first maximum is, -1 where a window holds none; a NaN wins. */
function winners(x: View<Buffer>, y: View<Buffer>, attrs: PoolAttrs): Int32Array {
  const xs = elements(x), best = new Int32Array(size(y.shape)).fill(-1);
  eachElement(x.shape, y.shape, attrs, (place, element) => {
    if (best[place] < 0 || xs[element] > xs[best[place]] || Number.isNaN(xs[element])) best[place] = element;
  });
  return best;
}

const maxPool: Kernel<Buffer, PoolAttrs> = ({ inputs: [x], outputs: [y], attrs }) => {
  const xs = elements(x), to = elements(y);
  winners(x, y, attrs).forEach((element, place) => to[place] = element < 0 ? -Infinity : xs[element]);
};

const maxPoolIndices: Kernel<Buffer, PoolAttrs> = ({ inputs: [x], outputs: [y], attrs }) => {
  const to = elements(y), plane = x.shape[2] * x.shape[3];
  winners(x, y, attrs).forEach((element, place) => to[place] = element < 0 ? -1 : element % plane);
};

const sumPool: Kernel<Buffer, PoolAttrs> = ({ inputs: [x], outputs: [y], attrs }) => {
  const xs = elements(x), sums = new Float64Array(size(y.shape));
  eachElement(x.shape, y.shape, attrs, (place, element) => sums[place] += xs[element]);
  elements(y).set(sums);
};

const sumPoolGrad: Kernel<Buffer, SumPoolGradAttrs> = ({ inputs: [dy], outputs: [dx], attrs }) => {
  const dys = elements(dy), sums = new Float64Array(size(dx.shape));
  eachElement(dx.shape, dy.shape, attrs, (place, element) => sums[element] += dys[place]);
  elements(dx).set(sums);
};

/** Kernels of pools. */
export const pool: KernelTable<Buffer> = { maxPool, maxPoolIndices, sumPool, sumPoolGrad };
