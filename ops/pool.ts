/**
 * Pooling and upsampling, over one or two spatial axes.
 *
 * Primitives: {@linkcode maxPoolOp} with {@linkcode maxPoolIndicesOp} for its gradient, and {@linkcode sumPoolOp} with
 * its adjoint {@linkcode sumPoolGradOp}; the average is a sum divided by counts.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { show, size, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota, zerosLike } from "./create.ts";
import { abs, add, cast, clamp, div, floor, mul, sub } from "./elementwise.ts";
import { max, min } from "./extremum.ts";
import { gather, scatterAdd } from "./index.ts";
import { matmul } from "./matmul.ts";
import { mean } from "./reduce.ts";
import { broadcastTo, expandDims, reshape, squeeze } from "./shape.ts";
import {
  extent,
  type Pair,
  type PerAxis,
  perAxis,
  places,
  resolveSliding,
  type Sliding,
  type SlidingOptions,
  spatial,
  spatialAxes,
} from "./window.ts";

/** Attributes of the pools. */
export interface PoolAttrs extends Sliding {
  readonly size: Pair;
}

/** Attributes of {@linkcode sumPoolGradOp}. */
export interface SumPoolGradAttrs extends PoolAttrs {
  readonly inputSize: Pair;
}

function pooled(x: Spec, attrs: PoolAttrs): Spec {
  requireDType("a pool", x.dtype, FLOATS);
  if (x.shape.length !== 4) throw new ShapeError(`Cannot pool ${show(x.shape)}: it needs 4 axes`);
  attrs.padding.forEach(([before], axis) => {
    const window = extent(attrs.size[axis], attrs.dilation[axis]);
    if (before >= window) {
      throw new ArgumentError(`Cannot pool with padding ${before}: a window of ${window} would miss the input`);
    }
  });
  const [batch, channels] = x.shape;
  return { shape: [batch, channels, ...places("pool", spatial(x.shape), attrs.size, attrs)], dtype: x.dtype };
}

/** Largest value of each window; padding never wins. */
export const maxPoolOp: Op<1, PoolAttrs> = {
  name: "maxPool",
  infer: ([x], attrs) => pooled(x, attrs),
  // the gradient flows to the first maximum of each window: dx[b, c, index(window)] += dy[b, c, window]
  vjp({ inputs: [x], grad, attrs }) {
    const [batch, channels] = x.shape;
    const planes = (t: Tensor) => reshape(t, [batch * channels, size(spatial(t.shape))]);
    const indices = bind(maxPoolIndicesOp, [x], attrs);
    return [reshape(scatterAdd(zerosLike(planes(x)), planes(indices), planes(grad), { axis: 1 }), x.shape)];
  },
};

/** Where in its plane, counted in rows, the first maximum of each window lies. */
export const maxPoolIndicesOp: Op<1, PoolAttrs> = {
  name: "maxPoolIndices",
  constant: true,
  infer: ([x], attrs) => ({ shape: pooled(x, attrs).shape, dtype: "i32" }),
};

/** Sum of each window; padding counts as zeros. */
export const sumPoolOp: Op<1, PoolAttrs> = {
  name: "sumPool",
  infer: ([x], attrs) => pooled(x, attrs),
  vjp: ({ inputs: [x], grad, attrs }) => [bind(sumPoolGradOp, [grad], { ...attrs, inputSize: spatial(x.shape) })],
};

/** The adjoint of {@linkcode sumPoolOp}: every element gets the sum over the windows that hold it. */
export const sumPoolGradOp: Op<1, SumPoolGradAttrs> = {
  name: "sumPoolGrad",
  infer: ([dy], { inputSize }) => ({ shape: [dy.shape[0], dy.shape[1], ...inputSize], dtype: dy.dtype }),
  vjp({ grad, attrs: { inputSize: _, ...attrs } }) {
    return [bind(sumPoolOp, [grad], attrs)];
  },
};

/** How to take the maximum of windows. */
export interface MaxPoolOptions extends SlidingOptions {
  /** Round the number of windows up; a window still starts inside the input or the padding before it. */
  readonly ceilMode?: boolean;
}

/** How to average windows. */
export interface AvgPoolOptions extends Omit<MaxPoolOptions, "dilation"> {
  /** Padding counts as elements that are zero; true by default. */
  readonly countIncludePad?: boolean;
}

/** Padding after the end that rounds the number of windows up (PyTorch's rule). */
function ceilPadding(input: number, window: number, [before, after]: Pair, stride: number): Pair {
  const padded = input + before + after;
  let count = Math.ceil((padded - window) / stride) + 1;
  if ((count - 1) * stride >= input + before) count--;
  return [before, Math.max(after, (count - 1) * stride + window - input - before)];
}

/** Options as attributes; `padding` is what the user asked for, without what `ceilMode` adds. */
function resolvePool(
  x: Tensor,
  window: PerAxis,
  options: MaxPoolOptions,
): { readonly attrs: PoolAttrs; readonly padding: Sliding["padding"]; readonly axes: number } {
  const axes = spatialAxes("pool", x), input = spatial(x.shape);
  const sizes = perAxis("pool", "size", window, axes, 1);
  const { stride = window, padding = 0, dilation = 1, ceilMode = false } = options;
  const sliding = resolveSliding("pool", input, sizes, axes, { stride, padding, dilation });
  const raised = (axis: 0 | 1) =>
    ceilPadding(input[axis], extent(sizes[axis], sliding.dilation[axis]), sliding.padding[axis], sliding.stride[axis]);
  const attrs = { ...sliding, size: sizes, ...(ceilMode ? { padding: [raised(0), raised(1)] as const } : {}) };
  return { attrs, padding: sliding.padding, axes };
}

/** Applies a pool to `[B, C, L]` or `[B, C, H, W]`. */
function slide(op: Op<1, PoolAttrs>, x: Tensor, attrs: PoolAttrs, axes: number): Tensor {
  return axes === 1 ? squeeze(bind(op, [expandDims(x, 2)], attrs), 2) : bind(op, [x], attrs);
}

/**
 * Largest value of each window.
 *
 * @param x `[B, C, L]` or `[B, C, H, W]`, f32 or f16.
 * @param size Size of the window, one number for all spatial axes or one per axis.
 * @returns `[B, C, ...]`, each spatial size `floor((n + padding - dilation·(size-1) - 1) / stride) + 1`.
 * @throws {ShapeError} If the window is larger than the padded input.
 * @throws {ArgumentError} If the padding is so large that a window would miss the input.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[1, 3, 2, 0, 5]]]); // [1, 1, 5]
 * assertEquals(await tn.maxPool(x, 2).array(), [[[3, 2]]]);
 * assertEquals(await tn.maxPool(x, 2, { ceilMode: true }).array(), [[[3, 2, 5]]]);
 * ```
 */
export function maxPool(x: Tensor, size: PerAxis, options: MaxPoolOptions = {}): Tensor {
  const { attrs, axes } = resolvePool(x, size, options);
  return slide(maxPoolOp, x, attrs, axes);
}

/** How many elements each window averages: along one axis, as `[places]`. */
function counts(x: Tensor, attrs: PoolAttrs, axis: 0 | 1, after: number, includePad: boolean): Tensor {
  const [before] = attrs.padding[axis], { [axis]: stride } = attrs.stride, { [axis]: window } = attrs.size;
  const input = spatial(x.shape), total = places("pool", input, attrs.size, attrs)[axis];
  const start = sub(mul(iota([total], 0, "f32", x.backend), stride), before);
  const stop = min(add(start, window), input[axis] + (includePad ? after : 0));
  return sub(stop, includePad ? start : max(start, 0));
}

/**
 * Mean of each window.
 *
 * @param x `[B, C, L]` or `[B, C, H, W]`, f32 or f16.
 * @param size Size of the window, one number for all spatial axes or one per axis.
 * @returns `[B, C, ...]`, each spatial size `floor((n + padding - size) / stride) + 1`.
 * @throws {ShapeError} If the window is larger than the padded input.
 * @throws {ArgumentError} If the padding is so large that a window would miss the input.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[2, 4, 6, 8]]]); // [1, 1, 4]
 * assertEquals(await tn.avgPool(x, 2).array(), [[[3, 7]]]);
 * assertEquals(await tn.avgPool(x, 2, { padding: 1, countIncludePad: false }).array(), [[[2, 5, 8]]]);
 * ```
 */
export function avgPool(x: Tensor, size: PerAxis, options: AvgPoolOptions = {}): Tensor {
  const { countIncludePad = true } = options;
  const { attrs, padding, axes } = resolvePool(x, size, options);
  const total = slide(sumPoolOp, x, attrs, axes);
  const full = attrs.padding.every(([before, after], axis) =>
    after === padding[axis][1] && (countIncludePad || before + after === 0)
  );
  if (full) return mul(total, 1 / (attrs.size[0] * attrs.size[1]));
  const along = (axis: 0 | 1) => counts(x, attrs, axis, padding[axis][1], countIncludePad);
  const divisor = axes === 1 ? along(1) : mul(expandDims(along(0), 1), along(1)); // [oh, 1] · [ow]
  return div(total, cast(divisor, x.dtype));
}

/**
 * Mean over all spatial axes, which stay with size 1: `[B, C, H, W] -> [B, C, 1, 1]`.
 *
 * @param x `[B, C, L]` or `[B, C, H, W]`, f32 or f16.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[[1, 2], [3, 6]]]]); // [1, 1, 2, 2]
 * assertEquals(await tn.globalAvgPool(x).array(), [[[[3]]]]);
 * ```
 */
export function globalAvgPool(x: Tensor): Tensor {
  return mean(x, { axis: spatialAxes("pool", x) === 1 ? 2 : [2, 3], keepDims: true });
}

/** How to upsample. */
export interface UpsampleOptions {
  /** Outputs per input along each spatial axis; need not be whole. */
  readonly scale: PerAxis;
  /** Copy the nearest element (default), or interpolate linearly between pixel centres (corners are not aligned). */
  readonly mode?: "nearest" | "bilinear";
}

/** `[outputs, n]`: row i holds the weights of the inputs along `axis` around the centre of output i. */
function linearWeights(x: Tensor, axis: number, scale: number): Tensor {
  const n = x.shape[axis], outputs = Math.floor(n * scale);
  const ratio = outputs === n ? 1 : scale; // an axis that keeps its size is copied, as in PyTorch
  const centre = sub(div(add(iota([outputs, 1], 0, "f32", x.backend), 0.5), ratio), 0.5);
  const distance = abs(sub(clamp(centre, { min: 0, max: n - 1 }), iota([1, n], 1, "f32", x.backend)));
  return cast(max(sub(1, distance), 0), x.dtype);
}

/** Copies of the nearest elements along one axis, for any scale. */
function nearest(x: Tensor, axis: number, scale: number): Tensor {
  const n = x.shape[axis];
  const source = cast(floor(div(iota([Math.floor(n * scale)], 0, "f32", x.backend), scale)), "i32");
  return gather(x, min(source, n - 1), { axis });
}

/**
 * A larger (or smaller) image: each spatial size becomes `floor(n · scale)`, as `torch.nn.functional.interpolate`.
 *
 * @param x `[B, C, L]` or `[B, C, H, W]`, f32 or f16.
 * @throws {ArgumentError} If a scale is not positive.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[0, 4]]]); // [1, 1, 2]
 * assertEquals(await tn.upsample(x, { scale: 2 }).array(), [[[0, 0, 4, 4]]]);
 * assertEquals(await tn.upsample(x, { scale: 2, mode: "bilinear" }).array(), [[[0, 1, 3, 4]]]);
 * ```
 */
export function upsample(x: Tensor, { scale, mode = "nearest" }: UpsampleOptions): Tensor {
  const axes = spatialAxes("upsample", x);
  const scales = typeof scale === "number" ? new Array<number>(axes).fill(scale) : scale;
  if (scales.length !== axes || scales.some((s) => !(s > 0 && s < Infinity))) {
    throw new ArgumentError(`Cannot upsample ${show(x.shape)} by ${show(scales)}: it takes ${axes} positive numbers`);
  }
  if (mode !== "nearest" && mode !== "bilinear") {
    throw new ArgumentError(`Cannot upsample in mode "${mode}": it must be "nearest" or "bilinear"`);
  }
  if (mode === "bilinear") {
    const weights = scales.map((s, axis) => linearWeights(x, 2 + axis, s));
    const wide = matmul(x, weights[axes - 1], { transposeB: true }); // [B, C, H, W'] or [B, C, L']
    return axes === 1 ? wide : matmul(weights[0], wide); // [B, C, H', W']
  }
  if (!scales.every(Number.isInteger)) return scales.reduce((y, s, axis) => nearest(y, 2 + axis, s), x);
  const [batch, channels, ...sizes] = x.shape;
  const apart = [batch, channels, ...sizes.flatMap((n) => [n, 1])]; // [B, C, H, 1, W, 1]
  const copies = broadcastTo(reshape(x, apart), [batch, channels, ...sizes.flatMap((n, axis) => [n, scales[axis]])]);
  return reshape(copies, [batch, channels, ...sizes.map((n, axis) => n * scales[axis])]);
}
