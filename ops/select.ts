/**
 * Elementwise choices and conversions: `where`, `clamp`, `cast`.
 *
 * @module
 */
import { type DType, DTYPES, isFloat, NUMBERS, requireDType } from "../core/dtype.ts";
import { ArgumentError, DTypeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { broadcastShapes } from "../core/shape.ts";
import { Tensor, type TensorLike } from "../core/tensor.ts";
import { and, greaterEqual, lessEqual } from "./elementwise.ts";
import { scalar } from "./create.ts";
import { max, min } from "./extremum.ts";
import { sumTo } from "./reduce.ts";
import { lift } from "./scalar.ts";
import { alias } from "./shape.ts";

/** `where` as data: `da` is `dy` where the condition holds and 0 elsewhere, `db` the other way round. */
export const whereOp: Op<3, null> = {
  name: "where",
  fusion: { kind: "scalar", op: "where" },
  infer([condition, a, b]) {
    requireSameDType("choose between", a, b);
    if (condition.dtype !== "bool") {
      throw new DTypeError(`Cannot choose by a condition of ${condition.dtype}: it must be bool`);
    }
    return { shape: broadcastShapes("choose between", condition.shape, a.shape, b.shape), dtype: a.dtype };
  },
  vjp: ({ inputs: [condition, a, b], grad: dy, wanted: [, first, second] }) => [
    null,
    first ? sumTo(where(condition, dy, 0), a.shape) : null,
    second ? sumTo(where(condition, 0, dy), b.shape) : null,
  ],
};

/**
 * `a` where the condition holds, `b` elsewhere; what is not chosen has no part in the gradient.
 *
 * Shapes broadcast as in NumPy; a number takes the other operand's dtype, two numbers give f32 (two booleans bool).
 *
 * @param condition bool.
 * @returns The dtype of `a` and `b`, of the broadcast shape.
 * @throws {ShapeError} If the shapes do not broadcast.
 * @throws {DTypeError} If the condition is not bool, or `a` and `b` differ in dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([1, -2, 3]);
 * assertEquals(await tn.where(tn.greater(x, 0), x, 0).array(), [1, 0, 3]);
 * ```
 */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  if (a instanceof Tensor && b instanceof Tensor) return bind(whereOp, [condition, a, b], null);
  if (a instanceof Tensor) {
    using lifted = lift("choose between", b, a);
    return bind(whereOp, [condition, a, lifted], null);
  }
  if (b instanceof Tensor) {
    using lifted = lift("choose between", a, b);
    return bind(whereOp, [condition, lifted, b], null);
  }
  const dtype = typeof a === "boolean" && typeof b === "boolean" ? "bool" : "f32";
  using first = scalar(Number(a), dtype, condition.backend);
  using second = lift("choose between", b, first);
  return bind(whereOp, [condition, first, second], null);
}

/** Bounds of {@linkcode clamp}; what is omitted does not bind. */
export interface ClampOptions {
  /** Smallest value let through. */
  readonly min?: number;
  /** Largest value let through. */
  readonly max?: number;
}

/** `clamp` as data: `dx` is `dy` from `min` to `max`, both included, and 0 outside. */
export const clampOp: Op<1, ClampOptions> = {
  name: "clamp",
  infer([x]) {
    requireDType("clamp", x.dtype, NUMBERS);
    return x;
  },
  body([x], bounds) {
    const above = bounds.min === undefined ? x : max(x, bounds.min);
    return bounds.max === undefined ? above : min(above, bounds.max);
  },
  vjp({ inputs: [x], grad: dy, attrs: bounds }) {
    const above = bounds.min === undefined ? null : greaterEqual(x, bounds.min);
    const below = bounds.max === undefined ? null : lessEqual(x, bounds.max);
    const inside = above && below ? and(above, below) : above ?? below;
    return [inside ? where(inside, dy, 0) : dy];
  },
};

/**
 * Every element moved into the range from `min` to `max`; NaN stays NaN.
 *
 * @param x Any dtype but bool, of any shape.
 * @returns Same dtype, same shape.
 * @throws {ArgumentError} If `min` is above `max`.
 * @throws {DTypeError} If `x` is bool.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.clamp(tn.tensor([-1, 0.5, 7]), { min: 0, max: 6 }).array(), [0, 0.5, 6]);
 * ```
 */
export function clamp(x: Tensor, { min, max }: ClampOptions): Tensor {
  if (min !== undefined && max !== undefined && min > max) {
    throw new ArgumentError(`Cannot clamp between ${min} and ${max}: the lower bound is above the upper one`);
  }
  const bounds = { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
  return min === undefined && max === undefined ? alias(x) : bind(clampOp, [x], bounds);
}

/** `cast` as data: `dx` is `dy` cast back, between floats. */
export const castOp: Op<1, { readonly dtype: DType }> = {
  name: "cast",
  fusion: { kind: "scalar", op: "cast" },
  infer([x], { dtype }) {
    if (!DTYPES.includes(dtype)) {
      throw new DTypeError(`Cannot cast ${x.dtype} to "${dtype}": it must be one of ${DTYPES.join(", ")}`);
    }
    return { shape: x.shape, dtype };
  },
  vjp: ({ inputs: [x], grad }) => [isFloat(x.dtype) && isFloat(grad.dtype) ? cast(grad, x.dtype) : null],
};

/**
 * Every element converted to `dtype`.
 *
 * Floats become whole numbers by truncation, saturate at the ends of the range, and NaN becomes 0; i32 and u32 keep their
 * bits; anything but 0 becomes `true`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.cast(tn.tensor([1.7, -1.7, 1e20]), "i32").array(), [1, -1, 2147483647]);
 * ```
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? alias(x) : bind(castOp, [x], { dtype });
}
