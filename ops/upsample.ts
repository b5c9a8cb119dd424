/**
 * Larger images: copies of the nearest elements, or linear interpolation.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota } from "./create.ts";
import { abs, add, cast, clamp, div, floor, sub } from "./elementwise.ts";
import { max, min } from "./extremum.ts";
import { gather } from "./index.ts";
import { matmul } from "./matmul.ts";
import { broadcastTo, reshape } from "./shape.ts";
import { type PerAxis, spatialAxes } from "./window.ts";

/** Attributes of {@linkcode upsampleOp}. */
export interface UpsampleAttrs {
  /** One per spatial axis. */
  readonly scale: readonly number[];
  readonly mode: "nearest" | "bilinear";
}

/** `[outputs, n]`: row i holds the weights of the inputs along `axis` around the centre of output i. */
function linearWeights(x: Tensor, axis: number, scale: number): Tensor {
  const n = x.shape[axis], outputs = Math.floor(n * scale);
  const [output, input] = [0, 1].map((along) => iota([outputs, n], along, "f32", x.backend));
  const ratio = outputs === n ? 1 : scale; // an axis that keeps its size is copied, as in PyTorch
  const centre = clamp(sub(div(add(output, 0.5), ratio), 0.5), { min: 0, max: n - 1 });
  return cast(max(sub(1, abs(sub(centre, input))), 0), x.dtype);
}

/** Interpolation is a product with a matrix of weights along each axis. */
function bilinear(x: Tensor, scale: readonly number[]): Tensor {
  const weights = scale.map((s, axis) => linearWeights(x, 2 + axis, s));
  const wide = matmul(x, weights[scale.length - 1], { transposeB: true }); // [B, C, H, W'] or [B, C, L']
  return scale.length === 1 ? wide : matmul(weights[0], wide); // [B, C, H', W']
}

/** Copies of the nearest elements along one axis, for any scale. */
function nearest(x: Tensor, axis: number, scale: number): Tensor {
  const n = x.shape[axis];
  const source = cast(floor(div(iota([Math.floor(n * scale)], 0, "f32", x.backend), scale)), "i32");
  return gather(x, min(source, n - 1), { axis });
}

/** Every element as often as its whole scale says, side by side. */
function repeated(x: Tensor, scale: readonly number[]): Tensor {
  const [batch, channels, ...sizes] = x.shape;
  const apart = [batch, channels, ...sizes.flatMap((n) => [n, 1])]; // [B, C, H, 1, W, 1]
  const copies = broadcastTo(reshape(x, apart), [batch, channels, ...sizes.flatMap((n, axis) => [n, scale[axis]])]);
  return reshape(copies, [batch, channels, ...sizes.map((n, axis) => n * scale[axis])]);
}

/** See {@linkcode upsample}. */
export const upsampleOp: Op<1, UpsampleAttrs> = {
  name: "upsample",
  infer([x], { scale }) {
    requireDType("upsample", x.dtype, FLOATS);
    return { shape: x.shape.map((n, axis) => axis < 2 ? n : Math.floor(n * scale[axis - 2])), dtype: x.dtype };
  },
  body([x], { scale, mode }) {
    if (mode === "bilinear") return bilinear(x, scale);
    return scale.every(Number.isInteger)
      ? repeated(x, scale)
      : scale.reduce((y, s, axis) => nearest(y, 2 + axis, s), x);
  },
};

/** How to upsample. */
export interface UpsampleOptions {
  /** Outputs per input along each spatial axis; need not be whole. */
  readonly scale: PerAxis;
  /** Copy the nearest element (default), or interpolate linearly between pixel centres (corners are not aligned). */
  readonly mode?: "nearest" | "bilinear";
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
  return bind(upsampleOp, [x], { scale: scales, mode });
}
