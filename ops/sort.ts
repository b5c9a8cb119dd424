/**
 * Sorting along an axis.
 *
 * @module
 */
import { NUMBERS, requireDType } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { gatherElements } from "./index.ts";
import { slice } from "./shape.ts";

/** Attributes of {@linkcode argsortOp}. */
export interface SortAttrs {
  readonly axis: number;
  readonly descending: boolean;
}

/** `argsort` as data; constant to gradients. */
export const argsortOp: Op<1, SortAttrs> = {
  name: "argsort",
  constant: true,
  infer([x]) {
    requireDType("argsort", x.dtype, NUMBERS);
    return { shape: x.shape, dtype: "i32" };
  },
};

/** How to sort. */
export interface SortOptions {
  /** Along which axis; negative ones count from the end; the last by default. */
  readonly axis?: number;
  /** Largest first; false by default. */
  readonly descending?: boolean;
}

/**
 * The indices that would sort along an axis. Equal elements keep their order; NaN comes last either way.
 *
 * @param x f32, f16, i32 or u32.
 * @returns i32, the shape of `x`.
 * @throws {ShapeError} If the axis is out of range.
 * @throws {DTypeError} If `x` is bool.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.argsort(tn.tensor([3, 1, 2])).array(), [1, 2, 0]);
 * ```
 */
export function argsort(x: Tensor, { axis = -1, descending = false }: SortOptions = {}): Tensor {
  return bind(argsortOp, [x], { axis: normalizeAxis("sort", axis, x.rank), descending });
}

/**
 * The elements in order along an axis; NaN comes last either way.
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
 * assertEquals(await tn.sort(tn.tensor([3, 1, 2]), { descending: true }).array(), [3, 2, 1]);
 * ```
 */
export function sort(x: Tensor, options: SortOptions = {}): Tensor {
  using order = argsort(x, options);
  return gatherElements(x, order, { axis: options.axis ?? -1 });
}

/** Which elements to find. */
export interface TopKOptions {
  /** Along which axis; negative ones count from the end; the last by default. */
  readonly axis?: number;
  /** The largest (default) or the smallest elements. */
  readonly largest?: boolean;
}

/**
 * The `k` largest elements along an axis, in order, and their indices; of equal elements the first are taken.
 *
 * @param x f32, f16, i32 or u32.
 * @returns Values of `x`'s dtype and i32 indices, both with `k` elements along the axis.
 * @throws {ShapeError} If the axis is out of range.
 * @throws {ArgumentError} If the axis holds fewer than `k` elements.
 * @throws {DTypeError} If `x` is bool.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const [values, indices] = tn.topK(tn.tensor([3, 1, 9, 2]), 2);
 * assertEquals(await values.array(), [9, 3]);
 * assertEquals(await indices.array(), [2, 0]);
 * ```
 */
export function topK(
  x: Tensor,
  k: number,
  { axis = -1, largest = true }: TopKOptions = {},
): [values: Tensor, indices: Tensor] {
  const at = normalizeAxis("find the top", axis, x.rank);
  if (!Number.isInteger(k) || k < 0 || k > x.shape[at]) {
    throw new ArgumentError(
      `Cannot find the top ${k} along axis ${at} of ${show(x.shape)}: it holds ${x.shape[at]} elements`,
    );
  }
  return scope(() => {
    const indices = slice(argsort(x, { axis: at, descending: largest }), 0, k, { axis: at });
    return [gatherElements(x, indices, { axis: at }), indices];
  });
}
