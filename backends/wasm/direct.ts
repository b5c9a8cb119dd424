/**
 * Convolutions with very few filters a group, as reductions over the windows of a padded image.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { Sliding } from "../../ops/window.ts";
import { withSeparateEpilogue } from "./epilogue.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { type Image, padImage } from "./padding.ts";
import { lowerRegion } from "./region.ts";

/** Products with fewer rows than this are reductions over windows. */
export const THIN = 4;

/** Sizes of a convolution. */
export interface Sizes {
  readonly batch: number;
  readonly groups: number;
  /** Channels and filters of one group. */
  readonly channels: number;
  readonly filters: number;
  readonly input: readonly [number, number];
  readonly output: readonly [number, number];
  readonly kernel: readonly [number, number];
}

/** Sizes from the shapes of x, w and y. */
export function sizesOf(x: readonly number[], w: readonly number[], y: readonly number[], groups: number): Sizes {
  return {
    batch: x[0],
    groups,
    channels: w[1],
    filters: w[0] / groups,
    input: [x[2], x[3]],
    output: [y[2], y[3]],
    kernel: [w[2], w[3]],
  };
}

/** A sum of products: `image` is read through strides, from padded planes, `factor` as it is. */
interface Sum {
  readonly image: Image;
  readonly windows: readonly [number, number];
  readonly taps: readonly [number, number];
  readonly sliding: Sliding;
  readonly factor: Ref;
  /** The loops and their strides, given the padded image's height and width. */
  loops(height: number, width: number): Pick<Region, "outer" | "inner"> & {
    readonly image: readonly number[];
    readonly factor: readonly number[];
  };
}

function lowerSum(call: OpCall, { image, windows, taps, sliding, loops, factor }: Sum): Call[] {
  return withSeparateEpilogue(call, ({ name, outputs: [out], temporary }) => {
    const { ref, height, width, calls } = padImage(image, windows, taps, sliding, 0, temporary);
    const { outer, inner, image: imageStrides, factor: factorStrides } = loops(height, width);
    const body: Region["body"] = [
      { kind: "load", input: 0, strides: imageStrides, offset: 0, dtype: "f32" },
      { kind: "load", input: 1, strides: factorStrides, offset: 0, dtype: "f32" },
      { kind: "scalar", op: "mul", args: [0, 1], dtype: "f32" },
      { kind: "reduce", op: "sum", arg: 2, dtype: "f32" },
    ];
    const stores = [{ value: 3, output: 0, strides: [...stridesOf(outer), ...inner.map(() => 0)], offset: 0 }];
    const bound = { name, inputs: [ref, factor], outputs: [out.ref], outputTypes: ["f32" as const] };
    return [...calls, ...lowerRegion({ ...bound, region: { outer, inner, body, stores } }, temporary)];
  });
}

/** The planes of the input at `ref`. */
export function planesOf(ref: Ref, { batch, groups, channels, input: [height, width] }: Sizes): Image {
  return { ref, planes: batch * groups * channels, height, width };
}

/** The output for filters `[group, filter, channel, u, v]`. */
export function directConv(call: OpCall, x: Ref, w: Ref, sizes: Sizes, sliding: Sliding): Call[] {
  const { batch, groups, channels, filters, output, kernel } = sizes;
  const taps = size(kernel), { stride, dilation } = sliding;
  return lowerSum(call, {
    image: planesOf(x, sizes),
    windows: output,
    taps: kernel,
    sliding,
    factor: w,
    loops(height, width) {
      const plane = height * width, group = channels * plane;
      return {
        outer: [batch, groups, filters, ...output],
        inner: [channels, ...kernel],
        image: [groups * group, group, 0, stride[0] * width, stride[1], plane, dilation[0] * width, dilation[1]],
        factor: [0, filters * channels * taps, channels * taps, 0, 0, taps, kernel[1], 1],
      };
    },
  });
}

/** The gradient of the filters. */
export function directFilterGrad(call: OpCall, x: Ref, dy: Ref, sizes: Sizes, sliding: Sliding): Call[] {
  const { batch, groups, channels, filters, output, kernel } = sizes;
  const { stride, dilation } = sliding, outputs = size(output);
  return lowerSum(call, {
    image: planesOf(x, sizes),
    windows: output,
    taps: kernel,
    sliding,
    factor: dy,
    loops(height, width) {
      const plane = height * width, group = channels * plane;
      return {
        outer: [groups, filters, channels, ...kernel],
        inner: [batch, ...output],
        image: [group, 0, plane, dilation[0] * width, dilation[1], groups * group, stride[0] * width, stride[1]],
        factor: [filters * outputs, outputs, 0, 0, 0, groups * filters * outputs, output[1], 1],
      };
    },
  });
}
