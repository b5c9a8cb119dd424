/**
 * Convolution and its transpose, over one or two spatial axes.
 *
 * Three primitives are closed under differentiation: with `y = conv(x, w)`, the gradient for `x` is
 * {@linkcode convInputGradOp}, the gradient for `w` is {@linkcode convFilterGradOp}, and the gradients of those two are
 * the other two again. Shapes: `x [B, I, H, W]`, `w [O, I/groups, kh, kw]`, `y [B, O, oh, ow]`.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { show, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add } from "./elementwise.ts";
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

/** Attributes of {@linkcode convOp}. */
export interface ConvAttrs extends Sliding {
  /** Channels fall into this many groups, each convolved on its own. */
  readonly groups: number;
}

/** Attributes of {@linkcode convInputGradOp}: several input sizes give the same output size. */
export interface ConvInputGradAttrs extends ConvAttrs {
  readonly inputSize: Pair;
}

/** Attributes of {@linkcode convFilterGradOp}. */
export interface ConvFilterGradAttrs extends ConvAttrs {
  readonly kernelSize: Pair;
}

function validate(action: string, a: Spec, b: Spec, { groups }: ConvAttrs): void {
  requireDType("a convolution", a.dtype, FLOATS);
  requireSameDType(action, a, b);
  if (a.shape.length !== 4 || b.shape.length !== 4) {
    throw new ShapeError(`Cannot ${action} ${show(a.shape)} and ${show(b.shape)}: both need 4 axes`);
  }
  if (!Number.isInteger(groups) || groups < 1) {
    throw new ArgumentError(`Cannot ${action} in ${groups} groups: it must be a whole number of at least 1`);
  }
}

function requireDivisible(action: string, what: string, channels: number, groups: number): void {
  if (channels % groups !== 0) {
    throw new ShapeError(`Cannot ${action} in ${groups} groups: ${channels} ${what} channels do not divide`);
  }
}

/** `y[b,o,p,q] = Σ x[b, i, p·stride + u·dilation - padding, ...] · w[o,i,u,v]`, a cross-correlation. */
export const convOp: Op<2, ConvAttrs> = {
  name: "conv",
  infer([x, w], attrs) {
    const action = "convolve";
    validate(action, x, w, attrs);
    const [batch, channels] = x.shape, [outputs, perGroup] = w.shape;
    if (channels !== perGroup * attrs.groups) {
      throw new ShapeError(
        `Cannot convolve ${show(x.shape)} with ${show(w.shape)}: the input has ${channels} channels, ` +
          `the filter takes ${perGroup}${attrs.groups === 1 ? "" : ` in each of ${attrs.groups} groups`}`,
      );
    }
    requireDivisible(action, "output", outputs, attrs.groups);
    const size = places(action, spatial(x.shape), spatial(w.shape), attrs);
    return { shape: [batch, outputs, ...size], dtype: x.dtype };
  },
  // y is linear in x and in w; both gradients are primitives
  vjp({ inputs: [x, w], grad, attrs, wanted }) {
    return [
      wanted[0] ? bind(convInputGradOp, [grad, w], { ...attrs, inputSize: spatial(x.shape) }) : null,
      wanted[1] ? bind(convFilterGradOp, [x, grad], { ...attrs, kernelSize: spatial(w.shape) }) : null,
    ];
  },
};

/** The adjoint of {@linkcode convOp} in its input: `(dy, w) -> dx`; also the transposed convolution. */
export const convInputGradOp: Op<2, ConvInputGradAttrs> = {
  name: "convInputGrad",
  infer([dy, w], attrs) {
    const action = "transpose-convolve";
    validate(action, dy, w, attrs);
    const [batch, outputs] = dy.shape, [filters, perGroup] = w.shape;
    if (outputs !== filters) {
      throw new ShapeError(
        `Cannot ${action} ${show(dy.shape)} with ${show(w.shape)}: ` +
          `the input has ${outputs} channels, the filter takes ${filters}`,
      );
    }
    requireDivisible(action, "input", filters, attrs.groups);
    const made = places(action, attrs.inputSize, spatial(w.shape), attrs), given = spatial(dy.shape);
    if (made[0] !== given[0] || made[1] !== given[1]) {
      throw new ShapeError(
        `Cannot ${action} ${show(dy.shape)} to ${show(attrs.inputSize)}: that size convolves to ${show(made)}`,
      );
    }
    return { shape: [batch, perGroup * attrs.groups, ...attrs.inputSize], dtype: dy.dtype };
  },
  // dx is linear in dy, whose adjoint is the convolution, and in w: <g, Cᵀ(w)·dy> = <C(w)·g, dy>
  vjp({ inputs: [dy, w], grad, attrs, wanted }) {
    const { inputSize: _, ...conv } = attrs;
    return [
      wanted[0] ? bind(convOp, [grad, w], conv) : null,
      wanted[1] ? bind(convFilterGradOp, [grad, dy], { ...conv, kernelSize: spatial(w.shape) }) : null,
    ];
  },
};

/** The adjoint of {@linkcode convOp} in its filter: `(x, dy) -> dw`. */
export const convFilterGradOp: Op<2, ConvFilterGradAttrs> = {
  name: "convFilterGrad",
  infer([x, dy], attrs) {
    const action = "take the filter's gradient of";
    validate(action, x, dy, attrs);
    const [batch, channels] = x.shape, [batches, outputs] = dy.shape;
    if (batch !== batches) {
      throw new ShapeError(`Cannot ${action} ${show(x.shape)} and ${show(dy.shape)}: the batches differ`);
    }
    requireDivisible(action, "input", channels, attrs.groups);
    requireDivisible(action, "output", outputs, attrs.groups);
    return { shape: [outputs, channels / attrs.groups, ...attrs.kernelSize], dtype: x.dtype };
  },
  // dw is linear in x and in dy: <g, dw(x, dy)> = <C(g)·x, dy>
  vjp({ inputs: [x, dy], grad, attrs, wanted }) {
    const { kernelSize: _, ...conv } = attrs;
    return [
      wanted[0] ? bind(convInputGradOp, [dy, grad], { ...conv, inputSize: spatial(x.shape) }) : null,
      wanted[1] ? bind(convOp, [x, grad], conv) : null,
    ];
  },
};

/** How to convolve. */
export interface ConvOptions extends SlidingOptions {
  /** Channels fall into this many groups, each convolved on its own; 1 by default. */
  readonly groups?: number;
  /** Added to every output channel, `[O]`. */
  readonly bias?: Tensor;
}

/** How to convolve transposed. */
export interface ConvTransposeOptions extends ConvOptions {
  /** Elements added after the end of each spatial axis, less than the stride; 0 by default. */
  readonly outputPadding?: PerAxis;
}

/** `[B, C, L]` as `[B, C, 1, L]`. */
function lift(x: Tensor): Tensor {
  return x.rank === 3 ? expandDims(x, 2) : x;
}

/** Undoes {@linkcode lift} for an input of `axes` spatial axes, and adds the bias. */
function finish(action: string, y: Tensor, axes: number, bias: Tensor | undefined): Tensor {
  const result = axes === 1 ? squeeze(y, 2) : y;
  if (!bias) return result;
  const channels = y.shape[1];
  if (bias.rank !== 1 || bias.shape[0] !== channels) {
    throw new ShapeError(`Cannot ${action} with a bias of shape ${show(bias.shape)}: it must be [${channels}]`);
  }
  return add(result, reshape(bias, [channels, ...new Array<number>(axes).fill(1)]));
}

function requireSameRank(action: string, x: Tensor, w: Tensor): number {
  const axes = spatialAxes(action, x);
  if (w.rank !== x.rank) {
    throw new ShapeError(`Cannot ${action} ${show(x.shape)} with ${show(w.shape)}: the filter needs ${x.rank} axes`);
  }
  return axes;
}

/**
 * Convolution (cross-correlation, as in PyTorch) over the last axis or the last two.
 *
 * @param x `[B, I, L]` or `[B, I, H, W]`, f32 or f16.
 * @param w `[O, I/groups, k]` or `[O, I/groups, kh, kw]`.
 * @returns `[B, O, ...]`, each spatial size `floor((n + padding - dilation·(k-1) - 1) / stride) + 1`.
 * @throws {ShapeError} If channels and filter do not fit, or the window is larger than the padded input.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[1, 2, 3, 4]]]); // [1, 1, 4]
 * const w = tn.tensor([[[1, 0, -1]]]); // [1, 1, 3]
 * assertEquals(await tn.conv(x, w, { padding: "same" }).array(), [[[-2, -2, -2, 3]]]);
 * ```
 */
export function conv(x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1, bias } = options;
  const axes = requireSameRank("convolve", x, w);
  const sliding = resolveSliding("convolve", spatial(x.shape), spatial(w.shape), axes, { stride, padding, dilation });
  return scope(() => finish("convolve", bind(convOp, [lift(x), lift(w)], { ...sliding, groups }), axes, bias));
}

/**
 * Transposed convolution: the gradient of {@linkcode conv} with respect to its input, used to upsample.
 *
 * @param x `[B, I, L]` or `[B, I, H, W]`, f32 or f16.
 * @param w `[I, O/groups, k]` or `[I, O/groups, kh, kw]`.
 * @returns `[B, O, ...]`, each spatial size `(n-1)·stride - padding + dilation·(k-1) + 1 + outputPadding`; with padding
 * `"same"`, `n·stride`.
 * @throws {ShapeError} If channels and filter do not fit.
 * @throws {ArgumentError} If `outputPadding` is not less than the stride.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[[1, 2]]]); // [1, 1, 2]
 * const w = tn.tensor([[[1, 10]]]); // [1, 1, 2]
 * assertEquals(await tn.convTranspose(x, w, { stride: 2 }).array(), [[[1, 10, 2, 20]]]);
 * ```
 */
export function convTranspose(x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor {
  const action = "transpose-convolve";
  const { stride = 1, padding = 0, dilation = 1, groups = 1, outputPadding = 0, bias } = options;
  const axes = requireSameRank(action, x, w);
  const steps = perAxis(action, "stride", stride, axes, 1);
  const input = spatial(x.shape), window = spatial(w.shape);
  const full: Pair = [input[0] * steps[0], input[1] * steps[1]];
  const sliding = resolveSliding(action, full, window, axes, { stride, padding, dilation });
  const extra = perAxis(action, "outputPadding", outputPadding, axes, 0);
  const along = (axis: 0 | 1): number => {
    if (extra[axis] >= steps[axis]) {
      throw new ArgumentError(
        `Cannot ${action} with outputPadding ${extra[axis]}: it must be less than the stride, ${steps[axis]}`,
      );
    }
    if (padding === "same") return full[axis] + extra[axis];
    const [before, after] = sliding.padding[axis];
    const size = (input[axis] - 1) * steps[axis] - before - after + extent(window[axis], sliding.dilation[axis]) +
      extra[axis];
    if (size < 1) {
      throw new ShapeError(
        `Cannot ${action} ${show(x.shape)} with ${show(w.shape)}: the padding leaves a size of ${size}`,
      );
    }
    return size;
  };
  const attrs = { ...sliding, groups, inputSize: [along(0), along(1)] as const };
  return scope(() => finish(action, bind(convInputGradOp, [lift(x), lift(w)], attrs), axes, bias));
}
