/**
 * Rotary positions (Su et al. 2021, "RoFormer", arXiv:2104.09864).
 *
 * @module
 */
import { FLOATS, INTEGERS, requireDType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { broadcastShapes, sameShape, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota } from "./create.ts";
import { add, cast, cos, exp, mul, neg, sin, sub } from "./elementwise.ts";
import { concat, stack } from "./join.ts";
import { expandDims, reshape, slice, squeeze } from "./shape.ts";

/** Attributes of {@linkcode rotaryOp}. */
export interface RotaryAttrs {
  /** Channels 2i and 2i+1 turn by `base^(-2i/D)` a position. */
  readonly base: number;
  /** Which channels turn together. */
  readonly pairs: "halves" | "neighbours";
}

/** The first and the second channel of every pair: `[..., D]` -> 2 x `[..., D/2]`. */
function takePairs(x: Tensor, pairs: RotaryAttrs["pairs"]): [Tensor, Tensor] {
  const half = x.shape[x.rank - 1] / 2;
  if (pairs === "halves") return [slice(x, 0, half, { axis: -1 }), slice(x, half, null, { axis: -1 })];
  const apart = reshape(x, [...x.shape.slice(0, -1), half, 2]);
  return [squeeze(slice(apart, 0, 1, { axis: -1 }), -1), squeeze(slice(apart, 1, 2, { axis: -1 }), -1)];
}

/** `rotary` as data: the inputs are x and the positions. */
export const rotaryOp: Op<2, RotaryAttrs> = {
  name: "rotary",
  infer([x, positions]) {
    requireDType("rotary", x.dtype, FLOATS);
    requireDType("rotary positions", positions.dtype, INTEGERS);
    const rows = x.shape.slice(0, -1), D = x.shape.at(-1);
    if (D === undefined || D % 2 !== 0) {
      throw new ShapeError(`Cannot turn pairs of channels of ${show(x.shape)}: the last axis must be even`);
    }
    if (!sameShape(broadcastShapes("turn rows by positions", rows, positions.shape), rows)) {
      throw new ShapeError(
        `Cannot turn rows ${show(rows)} by positions ${show(positions.shape)}: they do not broadcast`,
      );
    }
    return { shape: x.shape, dtype: x.dtype };
  },
  // as complex numbers: y = x · e^(i·position·speed)
  body([x, positions], { base, pairs }) {
    const D = x.shape[x.rank - 1];
    const speed = exp(mul(iota([D / 2], 0, "f32", x.backend), -2 * Math.log(base) / D)); // [D/2]
    const angle = mul(expandDims(cast(positions, "f32"), -1), speed); // [..., D/2]
    const c = cast(cos(angle), x.dtype), s = cast(sin(angle), x.dtype);
    const [a, b] = takePairs(x, pairs);
    const turned = [sub(mul(a, c), mul(b, s)), add(mul(b, c), mul(a, s))];
    return pairs === "halves" ? concat(turned, -1) : reshape(stack(turned, -1), x.shape);
  },
  // the transpose of a rotation turns back
  vjp: ({ inputs: [, positions], grad, attrs }) => [bind(rotaryOp, [grad, neg(cast(positions, "i32"))], attrs), null],
};

/** How channels turn. */
export interface RotaryOptions {
  /** Pair i turns by `base^(-2i/D)` radians a position; 10,000 by default. */
  readonly base?: number;
  /**
   * Which channels are a pair: i and i + D/2 (`halves`, the default, as in GPT-NeoX and Hugging Face's Llama), or 2i and
   * 2i + 1 (`neighbours`, as in the paper and Meta's Llama).
   */
  readonly pairs?: "halves" | "neighbours";
}

/**
 * Turns pairs of channels by angles that grow with the position, so that the product of two rows depends on how far
 * apart they stand (rotary position embedding).
 *
 * @param x `[..., D]`, D even; f32 or f16.
 * @param positions i32 or u32; broadcasts to the rows `[...]` of x.
 * @returns Shape and dtype of `x`.
 * @throws {ShapeError} If D is odd or the positions do not fit.
 * @throws {DTypeError} If the positions are not whole numbers.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const at = (position: number) => tn.rotary(tn.tensor([1, 2, 3, 4]), tn.tensor(position, { dtype: "i32" }));
 * const near = await tn.dot(at(3), at(5)).item(), far = await tn.dot(at(103), at(105)).item();
 * assertAlmostEquals(near, far, 1e-3);
 * ```
 */
export function rotary(x: Tensor, positions: Tensor, { base = 1e4, pairs = "halves" }: RotaryOptions = {}): Tensor {
  return bind(rotaryOp, [x, positions], { base, pairs });
}
