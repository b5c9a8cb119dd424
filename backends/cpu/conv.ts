/**
 * Convolution and its two gradients: the same products `x · w` go to `y`, those of `dy · w` to `dx`, of `x · dy` to `dw`.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { type Shape, size } from "../../core/shape.ts";
import type { ConvAttrs, ConvFilterGradAttrs, ConvInputGradAttrs } from "../../ops/conv.ts";
import { type Buffer, elements } from "./memory.ts";

/**
 * Visits every product of a convolution, a row of outputs at a time: output element `y + j` has the term
 * `x[x + j·stride] · w[w]` for every j below `count`.
 */
function eachRow(
  [batch, channels, height, width]: Shape,
  [filters, perGroup, kernelHeight, kernelWidth]: Shape,
  [, , rows, columns]: Shape,
  { stride, padding: [[top], [left]], dilation, groups }: ConvAttrs,
  visit: (x: number, w: number, y: number, count: number) => void,
): void {
  const filtersPerGroup = filters / groups;
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < filters; o++) {
      const group = Math.floor(o / filtersPerGroup);
      for (let i = 0; i < perGroup; i++) {
        const plane = (b * channels + group * perGroup + i) * height;
        for (let u = 0; u < kernelHeight; u++) {
          for (let v = 0; v < kernelWidth; v++) {
            const column = v * dilation[1] - left; // of x, for the first column of y
            const first = Math.max(0, Math.ceil(-column / stride[1]));
            const last = Math.min(columns - 1, Math.floor((width - 1 - column) / stride[1]));
            if (last < first) continue;
            const w = ((o * perGroup + i) * kernelHeight + u) * kernelWidth + v;
            for (let p = 0; p < rows; p++) {
              const row = p * stride[0] + u * dilation[0] - top;
              if (row < 0 || row >= height) continue;
              const x = (plane + row) * width + column + first * stride[1];
              visit(x, w, ((b * filters + o) * rows + p) * columns + first, last - first + 1);
            }
          }
        }
      }
    }
  }
}

const conv: Kernel<Buffer, ConvAttrs> = ({ inputs: [x, w], outputs: [y], attrs }) => {
  const xs = elements(x), ws = elements(w), step = attrs.stride[1];
  const sums = new Float64Array(size(y.shape));
  eachRow(x.shape, w.shape, y.shape, attrs, (xAt, wAt, yAt, count) => {
    for (let j = 0; j < count; j++) sums[yAt + j] += xs[xAt + j * step] * ws[wAt];
  });
  elements(y).set(sums);
};

const convInputGrad: Kernel<Buffer, ConvInputGradAttrs> = ({ inputs: [dy, w], outputs: [dx], attrs }) => {
  const dys = elements(dy), ws = elements(w), step = attrs.stride[1];
  const sums = new Float64Array(size(dx.shape));
  eachRow(dx.shape, w.shape, dy.shape, attrs, (xAt, wAt, yAt, count) => {
    for (let j = 0; j < count; j++) sums[xAt + j * step] += dys[yAt + j] * ws[wAt];
  });
  elements(dx).set(sums);
};

const convFilterGrad: Kernel<Buffer, ConvFilterGradAttrs> = ({ inputs: [x, dy], outputs: [dw], attrs }) => {
  const xs = elements(x), dys = elements(dy), step = attrs.stride[1];
  const sums = new Float64Array(size(dw.shape));
  eachRow(x.shape, dw.shape, dy.shape, attrs, (xAt, wAt, yAt, count) => {
    for (let j = 0; j < count; j++) sums[wAt] += xs[xAt + j * step] * dys[yAt + j];
  });
  elements(dw).set(sums);
};

/** Kernels of convolutions. */
export const convolution: KernelTable<Buffer> = { conv, convInputGrad, convFilterGrad };
