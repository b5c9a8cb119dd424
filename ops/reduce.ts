/**
 * Reductions: many values along some axes become one.
 *
 * The primitives keep every reduced axis as size 1; the public functions drop it unless asked to `keepDims`.
 *
 * @module
 */
import { type DType, FLOATS, NUMBERS, requireDType } from "../core/dtype.ts";
import { bind, type Op, type VjpCall } from "../core/op.ts";
import type { ReduceOp } from "../core/scalar.ts";
import { normalizeAxes, reduceShape, sameShape, type Shape } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { cast, div } from "./elementwise.ts";
import { broadcastTo, reshape } from "./shape.ts";

export * from "./argmax.ts";
export * from "./cumulative.ts";
export * from "./product.ts";
export * from "./statistics.ts";

/** Which axes to reduce. */
export interface ReduceOptions {
  /** One axis or several; negative ones count from the end; all by default. */
  readonly axis?: number | readonly number[];
  /** Keep each reduced axis as size 1; false by default. */
  readonly keepDims?: boolean;
}

/** Attributes of every reduction: sorted axes, which stay as size 1. */
export interface ReduceAttrs {
  readonly axes: readonly number[];
}

/** A primitive reduction; without a rule it is constant to every gradient. */
export function reduceOp(
  name: string,
  kind: ReduceOp,
  dtypes: readonly DType[],
  rule?: (call: VjpCall<1, ReduceAttrs>) => Tensor,
): Op<1, ReduceAttrs> {
  return {
    name,
    fusion: { kind: "reduce", op: kind, axes: ({ axes }) => axes },
    constant: !rule,
    infer([x], { axes }) {
      requireDType(name, x.dtype, dtypes);
      return { shape: reduceShape(x.shape, axes, true), dtype: x.dtype };
    },
    vjp: (call) => [rule ? rule(call) : null],
  };
}

/**
 * Calls `apply`, which keeps reduced axes as size 1, the way the public functions are called: with axes in any form,
 * dropped from the result unless kept. Over no axes at all, an axis of size 1 is put in, so that kernels always have one.
 */
export function reduceAxes(
  x: Tensor,
  { axis, keepDims = false }: ReduceOptions,
  action: string,
  apply: (x: Tensor, axes: readonly number[]) => Tensor,
): Tensor {
  const axes = normalizeAxes(action, axis, x.rank);
  if (axes.length === 0) {
    using column = reshape(x, [...x.shape, 1]);
    using kept = apply(column, [x.rank]);
    return reshape(kept, x.shape);
  }
  if (keepDims) return apply(x, axes);
  using kept = apply(x, axes);
  return reshape(kept, reduceShape(x.shape, axes, false));
}

/** Applies a reduction with no other attributes than its axes. */
export function reduce(op: Op<1, ReduceAttrs>, x: Tensor, options: ReduceOptions, action: string = op.name): Tensor {
  return reduceAxes(x, options, action, (x, axes) => bind(op, [x], { axes }));
}

/** `sum` as data: `y = Σ x`, every `dx` is `dy`. */
export const sumOp: Op<1, ReduceAttrs> = reduceOp(
  "sum",
  "sum",
  NUMBERS,
  ({ inputs: [x], grad: dy }) => broadcastTo(dy, x.shape),
);

/**
 * Sum along axes; 0 for an empty axis.
 *
 * @param x Any dtype; bool is counted as i32.
 * @returns Same dtype (i32 for bool), without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[1, 2], [3, 4]]);
 * assertEquals(await tn.sum(x).item(), 10);
 * assertEquals(await tn.sum(x, { axis: 0 }).array(), [4, 6]);
 * ```
 */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  if (x.dtype !== "bool") return reduce(sumOp, x, options);
  using counts = cast(x, "i32");
  return reduce(sumOp, counts, options);
}

/** The adjoint of broadcasting: `x` summed over what NumPy's rules repeat to get from `shape` to its shape. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.flatMap((n, axis) => axis < lead || (shape[axis - lead] === 1 && n !== 1) ? [axis] : []);
  return reshape(axes.length > 0 ? bind(sumOp, [x], { axes }) : x, shape);
}

/** Number of elements that a reduction combines into one. */
export function reducedSize(shape: Shape, axes: readonly number[]): number {
  return axes.reduce((count, axis) => count * shape[axis], 1);
}

/** `mean` as data: `y = Σ x / n`, every `dx` is `dy / n`. */
export const meanOp: Op<1, ReduceAttrs> = {
  name: "mean",
  infer([x], { axes }) {
    requireDType("mean", x.dtype, FLOATS);
    return { shape: reduceShape(x.shape, axes, true), dtype: x.dtype };
  },
  body: ([x], { axes }) => div(bind(sumOp, [x], { axes }), reducedSize(x.shape, axes)),
  vjp: ({ inputs: [x], grad: dy, attrs: { axes } }) => [broadcastTo(div(dy, reducedSize(x.shape, axes)), x.shape)],
};

/**
 * Arithmetic mean along axes; NaN for an empty axis.
 *
 * @param x f32 or f16.
 * @returns Same dtype, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @throws {DTypeError} If `x` is not a float; cast it first.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.mean(tn.tensor([[1, 2], [3, 4]]), { axis: 1 }).array(), [1.5, 3.5]);
 * ```
 */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduce(meanOp, x, options);
}

/** `any` as data; constant to gradients. */
export const anyOp: Op<1, ReduceAttrs> = reduceOp("any", "any", ["bool"]);

/**
 * Whether any element along the axes is true; false for an empty axis.
 *
 * @param x Any dtype; everything but 0 counts as true.
 * @returns bool, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.any(tn.tensor([[true, false], [false, false]]), { axis: 1 }).array(), [true, false]);
 * ```
 */
export function any(x: Tensor, options: ReduceOptions = {}): Tensor {
  using truths = cast(x, "bool");
  return reduce(anyOp, truths, options);
}

/** `all` as data; constant to gradients. */
export const allOp: Op<1, ReduceAttrs> = reduceOp("all", "all", ["bool"]);

/**
 * Whether every element along the axes is true; true for an empty axis.
 *
 * @param x Any dtype; everything but 0 counts as true.
 * @returns bool, without the reduced axes unless `keepDims`.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.all(tn.tensor([[true, false], [true, true]]), { axis: 1 }).array(), [false, true]);
 * ```
 */
export function all(x: Tensor, options: ReduceOptions = {}): Tensor {
  using truths = cast(x, "bool");
  return reduce(allOp, truths, options);
}
