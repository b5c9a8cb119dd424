/**
 * Normalization: values shifted and scaled to mean 0 and variance 1, then by learned parameters.
 *
 * The four norms are one composite; they differ in the axes they look along:
 *
 * ```text
 *            view of x             axes        scale and shift as
 * layerNorm  [..., C]              [-1]        [C]
 * rmsNorm    [..., C]              [-1]        [C]            (no mean is taken away)
 * batchNorm  [B, C, H, W]          [0, 2, 3]   [C, 1, 1]
 * groupNorm  [B, G, C/G, H, W]     [2, 3, 4]   [G, C/G, 1, 1]
 * ```
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { normalizeAxis, type Shape, show, size, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, mul, rsqrt, square, sub } from "./elementwise.ts";
import { mean, sumTo, variance } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** Attributes of the norms; the inputs are x, then scale and shift where there are any. */
export interface NormAttrs {
  /** The shape in which `axes` are meant; holds as many elements as x. */
  readonly view: Shape;
  readonly axes: readonly number[];
  /** Shape in which scale and shift broadcast against the view. */
  readonly affine: Shape;
  readonly eps: number;
  readonly scale: boolean;
  readonly shift: boolean;
}

/** Inputs by name. */
function named<T>(inputs: readonly T[], { scale, shift }: { readonly scale: boolean; readonly shift: boolean }): {
  readonly scale: T | null;
  readonly shift: T | null;
} {
  const rest = inputs.slice(inputs.length - Number(scale) - Number(shift));
  return { scale: scale ? rest[0] : null, shift: shift ? rest[rest.length - 1] : null };
}

function inferNorm(inputs: readonly Spec[], attrs: Pick<NormAttrs, "affine" | "scale" | "shift">): Spec {
  const [x] = inputs, channels = size(attrs.affine);
  requireDType("a norm", x.dtype, FLOATS);
  for (const [name, spec] of Object.entries(named(inputs, attrs))) {
    if (!spec) continue;
    requireSameDType("normalize", x, spec);
    if (spec.shape.length !== 1 || spec.shape[0] !== channels) {
      throw new ShapeError(
        `Cannot normalize ${show(x.shape)} with a ${name} of shape ${show(spec.shape)}: it must be [${channels}]`,
      );
    }
  }
  return { shape: x.shape, dtype: x.dtype };
}

/** `n = (x - mean) · r` with `r = 1 / √(variance + eps)`; without centring, the mean counts as 0. */
function standardize(x: Tensor, { axes, eps }: NormAttrs, centred: boolean): { n: Tensor; r: Tensor } {
  const along = { axis: axes, keepDims: true };
  const centre = centred ? sub(x, mean(x, along)) : x;
  const r = rsqrt(add(mean(square(centre), along), eps));
  return { n: mul(centre, r), r };
}

function normOp(name: string, centred: boolean): Op<number, NormAttrs> {
  return {
    name,
    infer: inferNorm,
    body(inputs, attrs) {
      const { scale, shift } = named(inputs, attrs), [x] = inputs;
      let { n: y } = standardize(reshape(x, attrs.view), attrs, centred);
      if (scale) y = mul(y, reshape(scale, attrs.affine));
      if (shift) y = add(y, reshape(shift, attrs.affine));
      return reshape(y, x.shape);
    },
    // with dn = dy · scale:  dx = r · (dn - mean(dn) - n · mean(dn · n)),  dscale = Σ dy · n,  dshift = Σ dy
    vjp({ inputs, grad, attrs, wanted }) {
      const { scale, shift } = named(inputs, attrs), [x] = inputs;
      const along = { axis: attrs.axes, keepDims: true };
      const dy = reshape(grad, attrs.view);
      const { n, r } = standardize(reshape(x, attrs.view), attrs, centred);
      const dn = scale ? mul(dy, reshape(scale, attrs.affine)) : dy;
      const across = () => sub(centred ? sub(dn, mean(dn, along)) : dn, mul(n, mean(mul(dn, n), along)));
      const toParameter = (t: Tensor) => reshape(sumTo(t, attrs.affine), [size(attrs.affine)]);
      const rules = [
        () => reshape(mul(r, across()), x.shape),
        ...(scale ? [() => toParameter(mul(dy, n))] : []),
        ...(shift ? [() => toParameter(dy)] : []),
      ];
      return rules.map((rule, i) => wanted[i] ? rule() : null);
    },
  };
}

/** See {@linkcode layerNorm}. */
export const layerNormOp: Op<number, NormAttrs> = normOp("layerNorm", true);
/** See {@linkcode rmsNorm}. */
export const rmsNormOp: Op<number, NormAttrs> = normOp("rmsNorm", false);
/** See {@linkcode batchNorm}. */
export const batchNormOp: Op<number, NormAttrs> = normOp("batchNorm", true);
/** See {@linkcode groupNorm}. */
export const groupNormOp: Op<number, NormAttrs> = normOp("groupNorm", true);

/** {@linkcode batchNorm} with given statistics: the inputs are x, mean, variance, then scale and shift. */
export const batchNormInferenceOp: Op<number, Omit<NormAttrs, "view" | "axes">> = {
  name: "batchNormInference",
  infer(inputs, attrs) {
    const [x, ...statistics] = inputs;
    inferNorm([x, ...statistics.slice(0, 2)], { affine: attrs.affine, scale: true, shift: true });
    return inferNorm(inputs, attrs);
  },
  body(inputs, { affine, eps, ...parameters }) {
    const [x, mean, variance] = inputs, { scale, shift } = named(inputs, parameters);
    let y = mul(sub(x, reshape(mean, affine)), rsqrt(add(reshape(variance, affine), eps)));
    if (scale) y = mul(y, reshape(scale, affine));
    return shift ? add(y, reshape(shift, affine)) : y;
  },
};

/** Learned parameters, one per channel. */
export interface NormParams {
  /** Multiplies each channel, `[C]`. */
  readonly scale?: Tensor;
  /** Is added to each channel, `[C]`. */
  readonly shift?: Tensor;
}

function bindNorm(
  op: Op<number, NormAttrs>,
  x: Tensor,
  { scale, shift }: NormParams,
  attrs: Omit<NormAttrs, "scale" | "shift">,
): Tensor {
  const inputs = [x, ...(scale ? [scale] : []), ...(shift ? [shift] : [])];
  return bind(op, inputs, { ...attrs, scale: !!scale, shift: !!shift });
}

function overLastAxis(x: Tensor, eps: number): Omit<NormAttrs, "scale" | "shift"> {
  const axis = normalizeAxis("normalize", -1, x.rank);
  return { view: x.shape, axes: [axis], affine: [x.shape[axis]], eps };
}

/**
 * Layer normalization over the last axis: `(x - mean) / √(variance + eps) · scale + shift`
 * (Ba et al. 2016, arXiv:1607.06450).
 *
 * @param x `[..., C]`, f32 or f16.
 * @param params `scale` and `shift`, `[C]` each.
 * @throws {ShapeError} If a parameter has another shape.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[1, 3], [10, 20]]);
 * const y = await tn.layerNorm(x, { scale: tn.tensor([2, 2]) }).data();
 * assertEquals([...y].map(Math.round), [-2, 2, -2, 2]);
 * ```
 */
export function layerNorm(x: Tensor, params: NormParams = {}, { eps = 1e-5 }: { readonly eps?: number } = {}): Tensor {
  return bindNorm(layerNormOp, x, params, overLastAxis(x, eps));
}

/**
 * Root mean square normalization over the last axis: `x / √(mean(x²) + eps) · scale`
 * (Zhang and Sennrich 2019, arXiv:1910.07467).
 *
 * @param x `[..., C]`, f32 or f16.
 * @param params `scale`, `[C]`.
 * @throws {ShapeError} If the scale has another shape.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const y = await tn.rmsNorm(tn.tensor([3, 3, 3, 3])).data();
 * assertEquals([...y].map(Math.round), [1, 1, 1, 1]);
 * ```
 */
export function rmsNorm(
  x: Tensor,
  params: Pick<NormParams, "scale"> = {},
  { eps = 1e-6 }: { readonly eps?: number } = {},
): Tensor {
  return bindNorm(rmsNormOp, x, { scale: params.scale }, overLastAxis(x, eps));
}

/** Mean and variance of every channel, `[C]` each. */
export interface BatchStatistics {
  /** `[C]`. */
  readonly mean: Tensor;
  /** Divided by the number of elements, not by one less. */
  readonly variance: Tensor;
}

/** How to normalize a batch. */
export interface BatchNormOptions {
  /** Added to the variance; 1e-5 by default. */
  readonly eps?: number;
  /** Axis of the channels; 1 by default. */
  readonly axis?: number;
  /** Statistics to use in place of the batch's own, as at inference. */
  readonly statistics?: BatchStatistics;
}

/**
 * Batch normalization: every channel over the batch and all other axes (Ioffe and Szegedy 2015, arXiv:1502.03167).
 *
 * Running averages are the caller's: update them with {@linkcode batchStatistics}, and pass them as `statistics` at
 * inference.
 *
 * @param x `[B, C, ...]`, f32 or f16.
 * @param params `scale` and `shift`, `[C]` each.
 * @throws {ShapeError} If a parameter or a statistic has another shape.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[1, 10], [3, 30]]); // [B, C]
 * assertEquals([...await tn.batchNorm(x).data()].map(Math.round), [-1, -1, 1, 1]);
 * const statistics = { mean: tn.zeros([2]), variance: tn.ones([2]) };
 * assertEquals([...await tn.batchNorm(x, {}, { statistics }).data()].map(Math.round), [1, 10, 3, 30]);
 * ```
 */
export function batchNorm(x: Tensor, params: NormParams = {}, options: BatchNormOptions = {}): Tensor {
  const { eps = 1e-5, statistics } = options;
  const axis = normalizeAxis("normalize a batch", options.axis ?? 1, x.rank);
  const affine = [x.shape[axis], ...new Array<number>(x.rank - axis - 1).fill(1)];
  if (!statistics) {
    const axes = [...x.shape.keys()].filter((a) => a !== axis);
    return bindNorm(batchNormOp, x, params, { view: x.shape, axes, affine, eps });
  }
  const { scale, shift } = params;
  const inputs = [x, statistics.mean, statistics.variance, ...(scale ? [scale] : []), ...(shift ? [shift] : [])];
  return bind(batchNormInferenceOp, inputs, { affine, eps, scale: !!scale, shift: !!shift });
}

/**
 * Mean and variance of every channel of a batch, for running averages.
 *
 * @param x `[B, C, ...]`, f32 or f16.
 * @param options `axis` is that of the channels, 1 by default.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const { mean, variance } = tn.batchStatistics(tn.tensor([[1, 10], [3, 30]]));
 * assertEquals(await mean.array(), [2, 20]);
 * assertEquals(await variance.array(), [1, 100]);
 * ```
 */
export function batchStatistics(x: Tensor, { axis = 1 }: { readonly axis?: number } = {}): BatchStatistics {
  const channel = normalizeAxis("take the statistics of a batch", axis, x.rank);
  const axes = [...x.shape.keys()].filter((a) => a !== channel);
  return { mean: mean(x, { axis: axes }), variance: variance(x, { axis: axes }) };
}

/**
 * Group normalization: every group of channels of every example (Wu and He 2018, arXiv:1803.08494). One group per
 * channel is instance normalization.
 *
 * @param x `[B, C, ...]`, f32 or f16.
 * @param params `scale` and `shift`, `[C]` each.
 * @throws {ArgumentError} If the groups do not divide the channels.
 * @throws {ShapeError} If a parameter has another shape.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[1], [3], [10], [20]]]); // [B, C, L]
 * const y = await tn.groupNorm(x, {}, { groups: 2 }).data();
 * assertEquals([...y].map(Math.round), [-1, 1, -1, 1]);
 * ```
 */
export function groupNorm(
  x: Tensor,
  params: NormParams,
  { groups, eps = 1e-5 }: { readonly groups: number; readonly eps?: number },
): Tensor {
  normalizeAxis("normalize groups", 1, x.rank);
  const [batch, channels, ...rest] = x.shape;
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new ArgumentError(`Cannot normalize ${show(x.shape)} in ${groups} groups: there are ${channels} channels`);
  }
  const affine = [groups, channels / groups, ...rest.map(() => 1)];
  const view = [batch, groups, channels / groups, ...rest];
  return bindNorm(groupNormOp, x, params, { view, axes: [...view.keys()].slice(2), affine, eps });
}
