/**
 * Convolution and its gradients as products whose packing reads the image.
 *
 * ```text
 *  y  [O, P]   =  w  [O, K]    x  windows of the image [K, P]           K = (channel, u, v), P = (row, column) of y
 *  dx [I, HW]  =  w' [I, K']   x  windows of dy        [K', HW]         K' = (filter, u, v), see conv_input_grad.ts
 *  dw [O, K]   =  dy [O, P]    x  windows of the image, transposed [P, K], summed over the batch
 * ```
 *
 * No window is ever written to memory as a whole: only the block that is being multiplied is. With very few rows
 * (depthwise convolutions, images of one channel) a product would pack more than it multiplies: then every output is a
 * reduction over its window (`direct.ts`).
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import type { ConvAttrs, ConvFilterGradAttrs } from "../../ops/conv.ts";
import { directConv, directFilterGrad, planesOf, type Sizes, sizesOf, THIN } from "./direct.ts";
import { imageProduct } from "./image_product.ts";
import type { Call } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { contiguous, winogradConv } from "./winograd_conv.ts";
import { winogradFilterGrad } from "./winograd_filter_grad.ts";
import { windowMatrix, type Windows } from "./windows.ts";

/** What forward and filter gradient read: windows of the input, one for every output place. */
export function inputWindows({ output, kernel }: Sizes, { stride, padding, dilation }: ConvAttrs): Windows {
  return {
    places: output,
    kernel,
    step: stride,
    spread: dilation,
    start: [-padding[0][0], -padding[1][0]],
  };
}

/** `y = w * x`. */
export function lowerConv(call: OpCall, attrs: ConvAttrs): Call[] {
  const { inputs: [x, w], outputs: [y] } = call;
  const sizes = sizesOf(x.shape, w.shape, y.shape, attrs.groups);
  const { batch, groups, channels, filters } = sizes;
  const depth = channels * size(sizes.kernel);
  if (size(y.shape) === 0) return [];
  if (filters < THIN) return directConv(call, x.ref, w.ref, sizes, attrs);
  const windows = inputWindows(sizes, attrs);
  const { stride } = attrs;
  const winograd = winogradConv(call, {
    sizes,
    windows,
    filters: {
      ref: w.ref,
      filterStride: depth,
      channelStride: size(sizes.kernel),
      tapStride: [stride[0] * sizes.kernel[1], stride[1]],
    },
    x: x.ref,
    y: contiguous(y.ref, windows.places),
  });
  if (winograd) return winograd;
  const { calls, plane, ...b } = windowMatrix(planesOf(x.ref, sizes), channels, windows, "places", call.temporary);
  const product = imageProduct(call, {
    rows: filters,
    columns: size(sizes.output),
    depth,
    batch: [batch, groups],
    aBatch: [0, 4 * filters * depth],
    bBatch: [4 * groups * channels * plane, 4 * channels * plane],
    a: w.ref,
    aOrder: "rows",
    aStride: 4 * depth,
    ...b,
    c: y.ref,
  });
  return [...calls, ...product];
}

/** `dw`, summed over the batch. */
export function lowerConvFilterGrad(call: OpCall, attrs: ConvFilterGradAttrs): Call[] {
  const { inputs: [x, dy], outputs: [dw] } = call;
  const sizes = sizesOf(x.shape, dw.shape, dy.shape, attrs.groups);
  const { batch, groups, channels, filters } = sizes;
  if (size(dw.shape) === 0) return [];
  const outputs = size(sizes.output);
  if (filters < THIN) return directFilterGrad(call, x.ref, dy.ref, sizes, attrs);
  const windows = inputWindows(sizes, attrs);
  const winograd = winogradFilterGrad(call, { sizes, windows, x: x.ref, dy: dy.ref });
  if (winograd) return winograd;
  const { calls, plane, ...b } = windowMatrix(planesOf(x.ref, sizes), channels, windows, "taps", call.temporary);
  const product = imageProduct(call, {
    rows: filters,
    columns: channels * size(sizes.kernel),
    depth: outputs,
    batch: [groups],
    aBatch: [4 * filters * outputs],
    bBatch: [4 * channels * plane],
    repeat: { count: batch, a: 4 * groups * filters * outputs, b: 4 * groups * channels * plane },
    a: dy.ref,
    aOrder: "rows",
    aStride: 4 * outputs,
    ...b,
    c: dw.ref,
  });
  return [...calls, ...product];
}
