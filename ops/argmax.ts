/**
 * Where the largest or smallest element is.
 *
 * @module
 */
import { NUMBERS, requireDType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxis, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { reshape } from "./shape.ts";

/** Attributes of {@linkcode argmaxOp} and {@linkcode argminOp}; the axis stays as size 1. */
export interface ArgAttrs {
  readonly axis: number;
}

function argOp(name: "argmax" | "argmin"): Op<1, ArgAttrs> {
  return {
    name,
    constant: true,
    infer([x], { axis }) {
      requireDType(name, x.dtype, NUMBERS);
      if (x.shape[axis] === 0) {
        throw new ShapeError(`Cannot compute ${name} of ${show(x.shape)}: axis ${axis} is empty`);
      }
      return { shape: x.shape.with(axis, 1), dtype: "i32" };
    },
  };
}

/** `argmax` as data; constant to gradients. */
export const argmaxOp: Op<1, ArgAttrs> = argOp("argmax");

/** `argmin` as data; constant to gradients. */
export const argminOp: Op<1, ArgAttrs> = argOp("argmin");

/** Where to look for the extreme element. */
export interface ArgOptions {
  /** One axis, negative ones count from the end; by default the tensor is taken as flat. */
  readonly axis?: number;
  /** Keep the axis as size 1; false by default. */
  readonly keepDims?: boolean;
}

function argReduce(op: Op<1, ArgAttrs>, x: Tensor, { axis, keepDims = false }: ArgOptions): Tensor {
  if (axis === undefined) {
    using flat = reshape(x, [x.size]);
    using index = bind(op, [flat], { axis: 0 });
    return reshape(index, keepDims ? x.shape.map(() => 1) : []);
  }
  const at = normalizeAxis(`compute ${op.name}`, axis, x.rank);
  if (keepDims) return bind(op, [x], { axis: at });
  using index = bind(op, [x], { axis: at });
  return reshape(index, x.shape.toSpliced(at, 1));
}

/**
 * Index of the largest element along an axis: the first of equal ones; NaN counts as largest.
 *
 * @param x f32, f16, i32 or u32.
 * @returns i32, without the axis unless `keepDims`.
 * @throws {ShapeError} If the axis is out of range or empty.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.argmax(tn.tensor([[1, 9], [7, 2]]), { axis: 1 }).array(), [1, 0]);
 * ```
 */
export function argmax(x: Tensor, options: ArgOptions = {}): Tensor {
  return argReduce(argmaxOp, x, options);
}

/**
 * Index of the smallest element along an axis: the first of equal ones; NaN counts as smallest.
 *
 * @param x f32, f16, i32 or u32.
 * @returns i32, without the axis unless `keepDims`.
 * @throws {ShapeError} If the axis is out of range or empty.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.argmin(tn.tensor([[1, 9], [7, 2]]), { axis: 1 }).array(), [0, 1]);
 * ```
 */
export function argmin(x: Tensor, options: ArgOptions = {}): Tensor {
  return argReduce(argminOp, x, options);
}
