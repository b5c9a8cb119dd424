/**
 * Part of a tensor replaced, at a place that is itself data.
 *
 * @module
 */
import { ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis, sameShape, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota, zerosLike } from "./create.ts";
import { add, and, cast, clamp, greaterEqual, less, sub, where } from "./elementwise.ts";
import { gather, type IndexAttrs, type IndexOptions, requireIndices } from "./index.ts";
import { reshape } from "./shape.ts";

/** Where a slice begins, counted from the front. */
function fromFront(start: Tensor, n: number): Tensor {
  return where(less(start, 0), add(start, n), start);
}

/**
 * `(x, update, start) -> y`. A backend's kernel may write into the memory of `x` where nobody needs `x` afterwards: it
 * then touches nothing but the slice.
 */
export const updateSliceOp: Op<3, IndexAttrs> = {
  name: "updateSlice",
  inPlace: 0,
  infer([x, update, start], { axis }) {
    requireIndices("update a slice", start);
    requireSameDType("update", x, update);
    if (start.shape.length > 0) {
      throw new ShapeError(`Cannot update a slice that starts at ${show(start.shape)}: it must be one number`);
    }
    if (!sameShape(x.shape.with(axis, 0), update.shape.with(axis, 0)) || update.shape[axis] > x.shape[axis]) {
      throw new ShapeError(
        `Cannot update ${show(x.shape)} along axis ${axis} by ${show(update.shape)}: it does not fit`,
      );
    }
    return { shape: x.shape, dtype: x.dtype };
  },
  body([x, update, start], { axis }) {
    const n = x.shape[axis], count = update.shape[axis];
    const place = sub(iota([n], 0, "i32", x.backend), fromFront(start, n)); // [n], in the update
    const inside = and(greaterEqual(place, 0), less(place, count));
    const spread = gather(update, clamp(place, { min: 0, max: Math.max(0, count - 1) }), { axis }); // shape of x
    return where(reshape(inside, x.shape.map((_, i) => i === axis ? n : 1)), spread, x);
  },
  // what was replaced counts no more, and the update is read back from where it was written
  vjp({ inputs: [x, update, start], grad: dy, attrs: { axis }, wanted }) {
    const n = x.shape[axis], count = update.shape[axis];
    const dx = wanted[0] ? bind(updateSliceOp, [dy, zerosLike(update), start], { axis }) : null;
    if (!wanted[1]) return [dx, null, null];
    const place = add(fromFront(start, n), iota([count], 0, "i32", x.backend)); // [count], in x
    const inside = and(greaterEqual(place, 0), less(place, n));
    const read = gather(dy, place, { axis });
    return [dx, where(reshape(inside, x.shape.map((_, i) => i === axis ? count : 1)), read, 0), null];
  },
};

/**
 * `x` with the slice that begins at `start` replaced by `update`: `y[start + i] = update[i]` along axis 0
 * (`jax.lax.dynamic_update_slice`). The start may change from call to call of a compiled function; where `x` is donated,
 * nothing but the slice is written.
 *
 * @param update Shaped like `x` except along the axis, where it may be shorter; same dtype.
 * @param start i32 or u32, no axes. Negative ones count from the end; what falls outside `x` is dropped.
 * @returns Shape and dtype of `x`.
 * @throws {ShapeError} If the axis is out of range or the update does not fit.
 * @throws {DTypeError} If the start is not a whole number, or `update` has another dtype than `x`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const start = tn.tensor(1, { dtype: "i32" });
 * assertEquals(await tn.updateSlice(tn.zeros([5]), tn.tensor([7, 8]), start).array(), [0, 7, 8, 0, 0]);
 * ```
 */
export function updateSlice(x: Tensor, update: Tensor, start: Tensor, { axis = 0 }: IndexOptions = {}): Tensor {
  const at = normalizeAxis("update", axis, x.rank);
  return scope(() =>
    bind(updateSliceOp, [x, update, start.dtype === "u32" ? cast(start, "i32") : start], { axis: at })
  );
}
