/**
 * Ops that rearrange elements without computing: views, and the functions made of them.
 *
 * @module
 */
import { ShapeError } from "../core/errors.ts";
import { reshapeLayout } from "../core/layout.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxes, sameShape, type Shape, show, size, validateShape } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { sumTo } from "./reduce.ts";

export * from "./join.ts";
export * from "./slice.ts";
export * from "./repeat.ts";

/** Attributes of {@linkcode reshapeOp} and {@linkcode broadcastToOp}. */
export interface ShapeAttrs {
  readonly shape: Shape;
}

/** `reshape` as data: the gradient takes the input's shape again. */
export const reshapeOp: Op<1, ShapeAttrs> = {
  name: "reshape",
  alias: true,
  fusion: { kind: "view", view: ({ shape: from }, map, { shape }) => reshapeLayout({ shape: from, ...map }, shape) },
  infer([x], { shape }) {
    validateShape(`reshape ${show(x.shape)} to`, shape);
    if (size(x.shape) !== size(shape)) {
      throw new ShapeError(
        `Cannot reshape ${show(x.shape)} to ${show(shape)}: ${size(x.shape)} elements do not fill ${
          size(shape)
        } places`,
      );
    }
    return { shape, dtype: x.dtype };
  },
  vjp: ({ inputs: [x], grad }) => [reshape(grad, x.shape)],
};

/**
 * The same elements, in the same order, in another shape; nothing is copied.
 *
 * @param shape The new shape; one size may be -1 and is worked out.
 * @throws {ShapeError} If the number of elements differs.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.reshape(tn.tensor([1, 2, 3, 4]), [2, -1]).array(), [[1, 2], [3, 4]]);
 * ```
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return bind(reshapeOp, [x], { shape: resolveShape(x.shape, shape) });
}

/** `shape` with its -1, if any, worked out. */
function resolveShape(from: Shape, shape: Shape): Shape {
  const unknown = shape.indexOf(-1);
  if (unknown < 0) return [...shape];
  if (shape.lastIndexOf(-1) !== unknown) {
    throw new ShapeError(`Cannot reshape ${show(from)} to ${show(shape)}: only one size may be -1`);
  }
  const known = size(shape.filter((_, axis) => axis !== unknown));
  const count = size(from);
  if (known === 0 ? count !== 0 : count % known !== 0) {
    throw new ShapeError(
      `Cannot reshape ${show(from)} to ${show(shape)}: ${count} elements are not a multiple of ${known}`,
    );
  }
  return shape.map((n, axis) => axis === unknown ? (known === 0 ? 0 : count / known) : n);
}

/** The same tensor as a new object, so that disposing one leaves the other alone. */
export function alias(x: Tensor): Tensor {
  return bind(reshapeOp, [x], { shape: x.shape });
}

/** Attributes of {@linkcode transposeOp}: output axis `i` is input axis `axes[i]`. */
export interface TransposeAttrs {
  readonly axes: readonly number[];
}

/** `transpose` as data: the gradient is transposed back. */
export const transposeOp: Op<1, TransposeAttrs> = {
  name: "transpose",
  fusion: {
    kind: "view",
    view: (_, { strides, offset }, { axes }) => ({ strides: axes.map((a) => strides[a]), offset }),
  },
  infer([x], { axes }) {
    const rank = x.shape.length;
    if (axes.length !== rank || new Set(axes).size !== rank || axes.some((a) => !(a >= 0 && a < rank))) {
      throw new ShapeError(
        `Cannot transpose ${show(x.shape)} by ${show(axes)}: every axis from 0 to ${rank - 1} must appear once`,
      );
    }
    return { shape: axes.map((a) => x.shape[a]), dtype: x.dtype };
  },
  vjp: ({ grad, attrs: { axes } }) => [transpose(grad, axes.map((_, i) => axes.indexOf(i)))],
};

/**
 * The axes in another order.
 *
 * @param axes For each output axis the input axis it shows; negative ones count from the end. All axes reversed by default.
 * @throws {ShapeError} If `axes` is not a permutation.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.transpose(tn.tensor([[1, 2], [3, 4]])).array(), [[1, 3], [2, 4]]);
 * ```
 */
export function transpose(x: Tensor, axes?: readonly number[]): Tensor {
  const order = axes ? axes.map((a) => a < 0 ? a + x.rank : a) : x.shape.map((_, i) => x.rank - 1 - i);
  const moved = order.filter((a) => x.shape[a] !== 1);
  if (moved.every((a, i) => i === 0 || a > moved[i - 1])) {
    return bind(reshapeOp, [x], { shape: transposeOp.infer([x], { axes: order }).shape });
  }
  return bind(transposeOp, [x], { axes: order });
}

/** `broadcastTo` as data: the gradient sums over what was repeated. */
export const broadcastToOp: Op<1, ShapeAttrs> = {
  name: "broadcastTo",
  fusion: {
    kind: "view",
    view: ({ shape: from }, { strides, offset }, { shape }) => ({
      strides: shape.map((_, axis) => {
        const own = axis - (shape.length - from.length);
        return own < 0 || from[own] === 1 ? 0 : strides[own];
      }),
      offset,
    }),
  },
  infer([x], { shape }) {
    validateShape(`broadcast ${show(x.shape)} to`, shape);
    const lead = shape.length - x.shape.length;
    if (lead < 0 || x.shape.some((n, axis) => n !== 1 && n !== shape[axis + lead])) {
      throw new ShapeError(
        `Cannot broadcast ${show(x.shape)} to ${show(shape)}: only axes of size 1 and missing leading axes repeat`,
      );
    }
    return { shape, dtype: x.dtype };
  },
  vjp: ({ inputs: [x], grad }) => [sumTo(grad, x.shape)],
};

/**
 * The elements repeated to fill `shape`, by NumPy's rules: axes of size 1 and missing leading axes repeat.
 *
 * @throws {ShapeError} If the shapes do not fit.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.broadcastTo(tn.tensor([1, 2]), [2, 2]).array(), [[1, 2], [1, 2]]);
 * ```
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? alias(x) : bind(broadcastToOp, [x], { shape: [...shape] });
}

/**
 * New axes of size 1.
 *
 * @param axis Where they stand in the result; negative ones count from its end.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(tn.expandDims(tn.zeros([2, 3]), [0, -1]).shape, [1, 2, 3, 1]);
 * ```
 */
export function expandDims(x: Tensor, axis: number | readonly number[]): Tensor {
  const rank = x.rank + (typeof axis === "number" ? 1 : axis.length);
  const axes = normalizeAxes("expand", axis, rank);
  let next = 0;
  return reshape(x, Array.from({ length: rank }, (_, i) => axes.includes(i) ? 1 : x.shape[next++]));
}

/**
 * The tensor without axes of size 1.
 *
 * @param axis Which to drop; all of size 1 by default.
 * @throws {ShapeError} If a named axis has another size.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(tn.squeeze(tn.zeros([1, 2, 1]), 0).shape, [2, 1]);
 * ```
 */
export function squeeze(x: Tensor, axis?: number | readonly number[]): Tensor {
  const axes = axis === undefined
    ? x.shape.flatMap((n, i) => n === 1 ? [i] : [])
    : normalizeAxes("squeeze", axis, x.rank);
  const wide = axes.find((a) => x.shape[a] !== 1);
  if (wide !== undefined) {
    throw new ShapeError(`Cannot squeeze axis ${wide} of ${show(x.shape)}: its size is ${x.shape[wide]}, not 1`);
  }
  return reshape(x, x.shape.filter((_, i) => !axes.includes(i)));
}
