/**
 * The gradient of a convolution's input, which is also the transposed convolution.
 *
 * Element h of the input meets tap u at output place y where `h + top - u dilation = y stride`. With a stride of s, the
 * elements h = a, a + s, a + 2s, ... meet the same taps, u0, u0 + step, ...; for each of these *phases* the gradient is an
 * ordinary convolution of dy with those taps, spread backwards:
 *
 * ```text
 *  y = p + (a + top - u0 dilation) / s - t (step dilation / s)          h = a + p s,  u = u0 + t step
 * ```
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { ConvInputGradAttrs } from "../../ops/conv.ts";
import { directConv, type Sizes, sizesOf, THIN } from "./direct.ts";
import { withSeparateEpilogue } from "./epilogue.ts";
import { imageProduct } from "./image_product.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { lowerCopy, lowerRegion } from "./region.ts";
import { contiguous, type Result, winogradConv } from "./winograd_conv.ts";
import { windowMatrix, type Windows } from "./windows.ts";

/** One phase along one axis. */
interface Phase {
  /** The first element, and how many. */
  readonly first: number;
  readonly places: number;
  /** The first tap, how many, and the distance between them. */
  readonly tap: number;
  readonly taps: number;
  readonly step: number;
  /** The output place that the first element meets with the first tap, and how far back each further tap is. */
  readonly start: number;
  readonly spread: number;
}

const gcd = (a: number, b: number): number => b === 0 ? a : gcd(b, a % b);

/** The phases of one axis; one without taps gets no gradient. */
function phasesOf(length: number, kernel: number, stride: number, dilation: number, before: number): Phase[] {
  const step = stride / gcd(dilation, stride);
  return Array.from({ length: Math.min(stride, length) }, (_, first) => {
    let tap = 0;
    while (tap < Math.min(step, kernel) && (first + before - tap * dilation) % stride !== 0) tap++;
    const taps = tap < step ? Math.max(0, Math.ceil((kernel - tap) / step)) : 0;
    return {
      first,
      places: Math.ceil((length - first) / stride),
      tap,
      taps,
      step,
      start: (first + before - tap * dilation) / stride,
      spread: step * dilation / stride,
    };
  });
}

type Phases = readonly [Phase, Phase];

/** The gradient of one phase by Winograd's algorithm: a convolution of dy, taps backwards, channels for filters. */
function winogradPhase(call: OpCall, sizes: Sizes, [y, x]: Phases, to: Result): Call[] | null {
  const { inputs: [dy, w] } = call;
  const { channels, filters, output, kernel } = sizes;
  const [area, rowLength] = [size(kernel), kernel[1]];
  const last = (y.tap + (y.taps - 1) * y.step) * rowLength + x.tap + (x.taps - 1) * x.step;
  const windows: Windows = {
    places: [y.places, x.places],
    kernel: [y.taps, x.taps],
    step: [1, 1],
    spread: [y.spread, x.spread],
    start: [y.start - (y.taps - 1) * y.spread, x.start - (x.taps - 1) * x.spread],
  };
  return winogradConv(call, {
    sizes: { ...sizes, channels: filters, filters: channels, input: output },
    windows,
    filters: {
      ref: { ...w.ref, offset: w.ref.offset + 4 * last },
      filterStride: area,
      channelStride: channels * area,
      tapStride: [-y.step * rowLength, -x.step],
    },
    x: dy.ref,
    y: to,
  });
}

/** `dx`. */
export function lowerConvInputGrad(call: OpCall, attrs: ConvInputGradAttrs): Call[] {
  const { inputs: [dy, w], outputs: [dx] } = call;
  if (size(dx.shape) === 0) return [];
  const sizes = sizesOf(dx.shape, w.shape, dy.shape, attrs.groups);
  const { stride, dilation, padding } = attrs;
  const [rows, columns] = [0, 1].map((axis) =>
    phasesOf(sizes.input[axis], sizes.kernel[axis], stride[axis], dilation[axis], padding[axis][0])
  );
  const all = rows.flatMap((y) => columns.map((x): Phases => [y, x]));
  const winograd = all.length === 1 && winogradPhase(call, sizes, all[0], contiguous(dx.ref, sizes.input));
  if (winograd) return winograd;
  return withSeparateEpilogue(call, (plain) => {
    const result = plain.outputs[0].ref;
    if (all.length === 1) return phase(plain, sizes, all[0], result);
    return all.flatMap((phases) => {
      const winograd = winogradPhase(plain, sizes, phases, strided(sizes, phases, attrs, result));
      if (winograd) return winograd;
      const part = plain.temporary(
        4 * sizes.batch * sizes.groups * sizes.channels * phases[0].places * phases[1].places,
      );
      return [...phase(plain, sizes, phases, part), ...place(plain, sizes, phases, attrs, part, result)];
    });
  });
}

/** The gradient of the elements of one phase, contiguous. */
function phase(call: OpCall, sizes: Sizes, phases: Phases, to: Ref): Call[] {
  const [y, x] = phases;
  const { batch, groups, channels, filters } = sizes;
  const kernel = [y.taps, x.taps] as const, places = [y.places, x.places] as const;
  const depth = filters * size(kernel);
  const shape = [batch, groups * channels, ...places];
  if (depth === 0) return fill(call, shape, to);
  const target: OpCall = { ...call, outputs: [{ shape, dtype: "f32", ref: to }] };
  const weights = call.temporary(4 * groups * channels * depth);
  const around = phases.map(({ taps, spread, start }) => (taps - 1) * spread - start);
  if (channels < THIN && around.every((n) => n >= 0)) {
    const swapped = { ...sizes, channels: filters, filters: channels, kernel, input: sizes.output, output: places };
    return [
      ...exchangeFilters(call, sizes, phases, weights, true),
      ...directConv(target, call.inputs[0].ref, weights, swapped, {
        stride: [1, 1],
        dilation: [y.spread, x.spread],
        padding: [[around[0], 0], [around[1], 0]],
      }),
    ];
  }
  return phaseProduct(target, sizes, phases, weights);
}

/** The gradient of one phase as a product of its filters, put into `weights`, with the windows of dy. */
function phaseProduct(call: OpCall, sizes: Sizes, phases: Phases, weights: Ref): Call[] {
  const [y, x] = phases;
  const { batch, groups, channels, filters } = sizes;
  const kernel = [y.taps, x.taps] as const, places = [y.places, x.places] as const;
  const depth = filters * size(kernel);
  const [height, width] = sizes.output;
  const image = { ref: call.inputs[0].ref, planes: batch * groups * filters, height, width };
  const windows: Windows = {
    places,
    kernel,
    step: [1, 1],
    spread: [-y.spread, -x.spread],
    start: [y.start, x.start],
  };
  const { calls, plane, ...b } = windowMatrix(image, filters, windows, "places", call.temporary);
  return [
    ...calls,
    ...exchangeFilters(call, sizes, phases, weights, false),
    ...imageProduct(call, {
      rows: channels,
      columns: size(places),
      depth,
      batch: [batch, groups],
      aBatch: [0, 4 * channels * depth],
      bBatch: [4 * groups * filters * plane, 4 * filters * plane],
      a: weights,
      aOrder: "rows",
      aStride: 4 * depth,
      ...b,
      c: call.outputs[0].ref,
    }),
  ];
}

/** A phase's taps of the filters `[group, filter, channel, u, v]` as `[group, channel, filter, t, s]`, or backwards. */
function exchangeFilters(call: OpCall, sizes: Sizes, [y, x]: Phases, to: Ref, backwards: boolean): Call[] {
  const { groups, filters, channels, kernel } = sizes;
  const area = size(kernel), sign = backwards ? -1 : 1;
  const [firstY, firstX] = [y, x].map(({ tap, taps, step }) => tap + (backwards ? (taps - 1) * step : 0));
  const shape = [groups, channels, filters, y.taps, x.taps];
  const strides = [filters * channels * area, area, channels * area, sign * y.step * kernel[1], sign * x.step];
  const { ref } = call.inputs[1], first = { ...ref, offset: ref.offset + 4 * (firstY * kernel[1] + firstX) };
  return lowerCopy(call, { shape, from: { ref: first, strides }, to: { ref: to, strides: stridesOf(shape) } });
}

/** Where a phase's elements belong. */
function strided({ input: [height, width] }: Sizes, [y, x]: Phases, { stride }: ConvInputGradAttrs, to: Ref): Result {
  const ref = { ...to, offset: to.offset + 4 * (y.first * width + x.first) };
  return { ref, plane: height * width, row: stride[0] * width, column: stride[1] };
}

/** Puts a phase's elements where they belong. */
function place(call: OpCall, sizes: Sizes, phases: Phases, attrs: ConvInputGradAttrs, from: Ref, to: Ref): Call[] {
  const { ref, plane, row, column } = strided(sizes, phases, attrs, to);
  const shape = [sizes.batch * sizes.groups * sizes.channels, ...phases.map(({ places }) => places)];
  const target = { ref, strides: [plane, row, column] };
  return lowerCopy(call, { shape, from: { ref: from, strides: stridesOf(shape) }, to: target });
}

/** Zeros. */
function fill({ name, temporary }: OpCall, shape: readonly number[], to: Ref): Call[] {
  const region: Region = {
    outer: shape,
    inner: [],
    body: [{ kind: "const", value: 0, dtype: "f32" }],
    stores: [{ value: 0, output: 0, strides: stridesOf(shape), offset: 0 }],
  };
  return lowerRegion({ name, region, inputs: [], outputs: [to], outputTypes: ["f32"] }, temporary);
}
