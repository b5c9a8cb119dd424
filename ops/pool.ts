/**
 * Pooling over one or two spatial axes.
 *
 * Primitives: {@linkcode maxPoolOp} with {@linkcode maxPoolIndicesOp} for its gradient, and {@linkcode sumPoolOp} with
 * its adjoint {@linkcode sumPoolGradOp}; the average, a composite, is a sum divided by counts.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { show, size, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota, zerosLike } from "./create.ts";
import { add, cast, div, mul, sub } from "./elementwise.ts";
import { max, min } from "./extremum.ts";
import { scatterAdd } from "./index.ts";
import { mean } from "./reduce.ts";
import { expandDims, reshape, squeeze } from "./shape.ts";
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
function slide<A>(op: Op<1, A>, x: Tensor, attrs: A, axes: number): Tensor {
  if (axes === 2) return bind(op, [x], attrs);
  return scope(() => squeeze(bind(op, [expandDims(x, 2)], attrs), 2));
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

/** Attributes of {@linkcode avgPoolOp}. */
export interface AvgPoolAttrs extends PoolAttrs {
  /** The padding that counts as elements; `padding` may hold more after the end, or as much. */
  readonly counted: Sliding["padding"];
}

/** How many elements each window averages along one axis: `[places]`. */
function counts(x: Tensor, attrs: AvgPoolAttrs, axis: 0 | 1): Tensor {
  const input = spatial(x.shape), [before, after] = attrs.counted[axis];
  const total = places("pool", input, attrs.size, attrs)[axis];
  const step = mul(iota([total], 0, "f32", x.backend), attrs.stride[axis]);
  const start = sub(step, attrs.padding[axis][0]);
  return sub(min(add(start, attrs.size[axis]), input[axis] + after), max(start, -before));
}

/** Mean of each window: its sum divided by the number of its elements that count. */
export const avgPoolOp: Op<1, AvgPoolAttrs> = {
  name: "avgPool",
  infer: ([x], attrs) => pooled(x, attrs),
  body([x], attrs) {
    const { counted, ...pool } = attrs;
    const total = bind(sumPoolOp, [x], pool);
    const full = pool.padding.every((pair, axis) => pair.every((n, side) => n === counted[axis][side]));
    if (full) return mul(total, 1 / (pool.size[0] * pool.size[1]));
    const divisor = mul(expandDims(counts(x, attrs, 0), 1), counts(x, attrs, 1)); // [oh, 1] · [ow]
    return div(total, cast(divisor, x.dtype));
  },
};

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
  const { attrs, padding, axes } = resolvePool(x, size, options);
  const counted = options.countIncludePad ?? true ? padding : [[0, 0], [0, 0]] as const;
  return slide(avgPoolOp, x, { ...attrs, counted }, axes);
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
