/**
 * Running totals along an axis.
 *
 * @module
 */
import { NUMBERS, requireDType } from "../core/dtype.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxis } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";

/** Attributes of {@linkcode cumulativeSumOp}. */
export interface CumulativeAttrs {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

/** `cumulativeSum` as data: an element is part of every total after it, so `dx` is the running total of `dy` from the other end. */
export const cumulativeSumOp: Op<1, CumulativeAttrs> = {
  name: "cumulativeSum",
  infer([x]) {
    requireDType("cumulativeSum", x.dtype, NUMBERS);
    return x;
  },
  vjp: ({ grad, attrs }) => [bind(cumulativeSumOp, [grad], { ...attrs, reverse: !attrs.reverse })],
};

/** How to add up. */
export interface CumulativeOptions {
  /** Along which axis; negative ones count from the end; the last by default. */
  readonly axis?: number;
  /** Leave each element out of its own total, so that the first is 0; false by default. */
  readonly exclusive?: boolean;
  /** Add up from the end; false by default. */
  readonly reverse?: boolean;
}

/**
 * The sum of every element and all before it along an axis.
 *
 * @param x f32, f16, i32 or u32.
 * @returns Same dtype, same shape.
 * @throws {ShapeError} If the axis is out of range.
 * @throws {DTypeError} If `x` is bool.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([1, 2, 3]);
 * assertEquals(await tn.cumulativeSum(x).array(), [1, 3, 6]);
 * assertEquals(await tn.cumulativeSum(x, { exclusive: true, reverse: true }).array(), [5, 3, 0]);
 * ```
 */
export function cumulativeSum(
  x: Tensor,
  { axis = -1, exclusive = false, reverse = false }: CumulativeOptions = {},
): Tensor {
  return bind(cumulativeSumOp, [x], { axis: normalizeAxis("accumulate", axis, x.rank), exclusive, reverse });
}
