/**
 * Convolution and its gradients as products whose packing reads the image.
 *
 * ```text
 *  y  [O, P]   =  w  [O, K]    x  windows of the image [K, P]           K = (channel, u, v), P = (row, column) of y
 *  dx [I, HW]  =  w' [I, K']   x  windows of dy        [K', HW]         K' = (filter, u, v)
 *  dw [O, K]   =  dy [O, P]    x  windows of the image, transposed [P, K], summed over the batch
 * ```
 *
 * No window is ever written to memory as a whole: only the block that is being multiplied is. With very few rows
 * (depthwise convolutions, images of one channel) a product would pack more than it multiplies: then every output is a
 * reduction over its window (`direct.ts`).
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { ConvAttrs, ConvFilterGradAttrs, ConvInputGradAttrs } from "../../ops/conv.ts";
import type { Sliding } from "../../ops/window.ts";
import { directConv, directFilterGrad, type Sizes, sizesOf } from "./direct.ts";
import { epilogueOf, storeOnly, withSeparateEpilogue } from "./epilogue.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./lowering.ts";
import { callProduct, type Epilogue, fillsTiles, type Product } from "./product.ts";
import { lowerRegion } from "./region.ts";
import { imagePacking, type Windows } from "./windows.ts";

/** What forward and filter gradient read: windows of the input, one for every output place. */
function inputWindows({ input, output, kernel }: Sizes, { stride, padding, dilation }: ConvAttrs): Windows {
  return {
    image: input,
    places: output,
    kernel,
    step: stride,
    spread: dilation,
    start: [-padding[0][0], -padding[1][0]],
    divide: [1, 1],
  };
}

/** The calls of one product, with the step's epilogue where it has one. */
function product(call: OpCall, parts: Omit<Product, "name" | "epilogue">): Call[] {
  const rows = size(parts.batch) * parts.rows;
  const run = (plain: OpCall, c: Ref, epilogue: Epilogue | null) => {
    const store = epilogue ?? (fillsTiles(parts.columns) ? null : storeOnly(plain, rows, parts.columns));
    return [callProduct({ ...parts, name: call.name, c, epilogue: store })];
  };
  const epilogue = epilogueOf(call, rows, parts.columns);
  if (epilogue !== "separate") return run(call, parts.c, epilogue);
  return withSeparateEpilogue(call, (plain) => run(plain, plain.outputs[0].ref, null));
}

/** Products with fewer rows than this are reductions over windows. */
const THIN = 4;

/** `y = w * x`. */
export function lowerConv(call: OpCall, attrs: ConvAttrs): Call[] {
  const { inputs: [x, w], outputs: [y] } = call;
  const sizes = sizesOf(x.shape, w.shape, y.shape, attrs.groups);
  const { batch, groups, channels, filters } = sizes;
  const depth = channels * size(sizes.kernel), plane = size(sizes.input);
  if (size(y.shape) === 0) return [];
  if (filters < THIN) return directConv(call, x.ref, w.ref, sizes, attrs);
  return product(call, {
    rows: filters,
    columns: size(sizes.output),
    depth,
    batch: [batch, groups],
    aBatch: [0, 4 * filters * depth],
    bBatch: [4 * groups * channels * plane, 4 * channels * plane],
    a: w.ref,
    aOrder: "rows",
    aStride: 4 * depth,
    b: x.ref,
    ...imagePacking(inputWindows(sizes, attrs), "places"),
    c: y.ref,
  });
}

/**
 * `dx`: element (h, w) meets filter element (u, v) at output place (h + top - u dilation) / stride, if that is whole and
 * exists. So it is a convolution of dy with the filters' axes exchanged, spread backwards, at every `1 / stride`.
 */
export function lowerConvInputGrad(call: OpCall, attrs: ConvInputGradAttrs): Call[] {
  const { inputs: [dy, w], outputs: [dx] } = call;
  const sizes = sizesOf(dx.shape, w.shape, dy.shape, attrs.groups);
  const { batch, groups, channels, filters } = sizes;
  if (size(dx.shape) === 0) return [];
  const depth = filters * size(sizes.kernel), plane = size(sizes.output);
  const exchanged = call.temporary(4 * size(w.shape));
  const { stride, padding, dilation } = attrs;
  const around = sizes.kernel.map((taps, axis) => (taps - 1) * dilation[axis] - padding[axis][0]);
  if (channels < THIN && stride[0] === 1 && stride[1] === 1 && around.every((n) => n >= 0)) {
    const swapped = { ...sizes, channels: filters, filters: channels, input: sizes.output, output: sizes.input };
    const sliding: Sliding = { stride, dilation, padding: [[around[0], 0], [around[1], 0]] };
    return [
      ...exchangeFilters(call, sizes, w.ref, exchanged, true),
      ...directConv(call, dy.ref, exchanged, swapped, sliding),
    ];
  }
  const windows: Windows = {
    image: sizes.output,
    places: sizes.input,
    kernel: sizes.kernel,
    step: [1, 1],
    spread: [-dilation[0], -dilation[1]],
    start: [padding[0][0], padding[1][0]],
    divide: stride,
  };
  return [
    ...exchangeFilters(call, sizes, w.ref, exchanged),
    ...product(call, {
      rows: channels,
      columns: size(sizes.input),
      depth,
      batch: [batch, groups],
      aBatch: [0, 4 * channels * depth],
      bBatch: [4 * groups * filters * plane, 4 * filters * plane],
      a: exchanged,
      aOrder: "rows",
      aStride: 4 * depth,
      b: dy.ref,
      ...imagePacking(windows, "places"),
      c: dx.ref,
    }),
  ];
}

/** Filters `[group, filter, channel, u v]` as `[group, channel, filter, u v]`, their taps in reverse order if need be. */
function exchangeFilters(call: OpCall, sizes: Sizes, from: Ref, to: Ref, reverse = false): Call[] {
  const { groups, filters, channels } = sizes, taps = size(sizes.kernel);
  const group = filters * channels * taps;
  const region: Region = {
    outer: [groups, channels, filters, taps],
    inner: [],
    body: [{
      kind: "load",
      input: 0,
      strides: [group, taps, channels * taps, reverse ? -1 : 1],
      offset: reverse ? taps - 1 : 0,
      dtype: "f32",
    }],
    stores: [{ value: 0, output: 0, strides: [group, filters * taps, taps, 1], offset: 0 }],
  };
  const bound = { name: `${call.name} filters`, region, inputs: [from], outputs: [to], outputTypes: ["f32" as const] };
  return lowerRegion(bound, call.temporary);
}

/** `dw`, summed over the batch. */
export function lowerConvFilterGrad(call: OpCall, attrs: ConvFilterGradAttrs): Call[] {
  const { inputs: [x, dy], outputs: [dw] } = call;
  const sizes = sizesOf(x.shape, dw.shape, dy.shape, attrs.groups);
  const { batch, groups, channels, filters } = sizes;
  if (size(dw.shape) === 0) return [];
  const outputs = size(sizes.output), plane = size(sizes.input);
  if (filters < THIN) return directFilterGrad(call, x.ref, dy.ref, sizes, attrs);
  return product(call, {
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
    b: x.ref,
    ...imagePacking(inputWindows(sizes, attrs), "taps"),
    c: dw.ref,
  });
}
