/**
 * Reading and writing at places that are themselves data.
 *
 * No backend can throw from inside a kernel, so indices out of range are defined instead: reading there gives NaN (0 for
 * whole numbers and bool), writing there does nothing. Negative indices count from the end, as in NumPy.
 *
 * @module
 */
import { type DType, INTEGERS, NUMBERS } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis, sameShape, show, size, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota, zerosLike } from "./create.ts";
import { and, cast, equal, greaterEqual, less, where } from "./elementwise.ts";
import { expandDims, reshape } from "./shape.ts";

/** Attributes of every indexing op. */
export interface IndexAttrs {
  readonly axis: number;
}

/** Throws unless the tensor can hold indices. */
export function requireIndices(action: string, { dtype }: Spec): void {
  if (dtype !== "i32") throw new DTypeError(`Cannot ${action} with indices of ${dtype}: they must be i32`);
}

/** Indices as kernels take them. */
function asIndices(action: string, indices: Tensor): Tensor {
  if (!INTEGERS.includes(indices.dtype)) requireIndices(action, indices);
  return cast(indices, "i32");
}

/** `grads` with 0 where the index was out of range and nothing was written. */
function dropOutside(grads: Tensor, indices: Tensor, n: number): Tensor {
  return where(and(greaterEqual(indices, -n), less(indices, n)), grads, 0);
}

/** `gather` as data: an element's gradient is the sum over all places that read it. */
export const gatherOp: Op<2, IndexAttrs> = {
  name: "gather",
  infer([x, indices], { axis }) {
    requireIndices("gather", indices);
    return { shape: x.shape.toSpliced(axis, 1, ...indices.shape), dtype: x.dtype };
  },
  vjp({ inputs: [x, indices], grad: dy, attrs: { axis } }) {
    const count = size(indices.shape);
    const updates = reshape(dy, x.shape.with(axis, count));
    return [bind(indexAddOp, [zerosLike(x), reshape(indices, [count]), updates], { axis }), null];
  },
};

/** The axis that indices run along. */
export interface IndexOptions {
  /** Negative ones count from the end; 0 by default. */
  readonly axis?: number;
}

/**
 * Slices of `x` picked by index: `x`'s shape with the axis replaced by the shape of `indices` (`numpy.take`).
 *
 * @param indices i32 or u32, of any shape. Negative ones count from the end; out of range they read NaN (0 for whole numbers).
 * @returns The dtype of `x`.
 * @throws {ShapeError} If the axis is out of range.
 * @throws {DTypeError} If the indices are not whole numbers.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const table = tn.tensor([[1, 2], [3, 4], [5, 6]]);
 * assertEquals(await tn.gather(table, tn.tensor([2, 0], { dtype: "i32" })).array(), [[5, 6], [1, 2]]);
 * ```
 */
export function gather(x: Tensor, indices: Tensor, { axis = 0 }: IndexOptions = {}): Tensor {
  const at = normalizeAxis("gather", axis, x.rank);
  using places = asIndices("gather", indices);
  return bind(gatherOp, [x, places], { axis: at });
}

/** Throws unless both shapes agree in every axis but one. */
function requireAlongside(action: string, x: Spec, other: Spec, axis: number): void {
  const fits = x.shape.length === other.shape.length && sameShape(x.shape.with(axis, 0), other.shape.with(axis, 0));
  if (!fits) {
    throw new ShapeError(
      `Cannot ${action} ${show(other.shape)} along axis ${axis} of ${show(x.shape)}: the other axes differ`,
    );
  }
}

/** `gatherElements` as data: an element's gradient is the sum over all places that read it. */
export const gatherElementsOp: Op<2, IndexAttrs> = {
  name: "gatherElements",
  infer([x, indices], { axis }) {
    requireIndices("gather", indices);
    requireAlongside("gather elements at", x, indices, axis);
    return { shape: indices.shape, dtype: x.dtype };
  },
  vjp: ({ inputs: [x, indices], grad: dy, attrs }) => [bind(scatterAddOp, [zerosLike(x), indices, dy], attrs), null],
};

/**
 * One element per index: `y[i][j] = x[indices[i][j]][j]` along axis 0 (`numpy.take_along_axis`, `torch.gather`).
 *
 * @param indices i32 or u32, shaped like `x` except along the axis. Out of range they read NaN (0 for whole numbers).
 * @returns The dtype of `x`, the shape of `indices`.
 * @throws {ShapeError} If the axis is out of range or the other axes differ.
 * @throws {DTypeError} If the indices are not whole numbers.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[1, 2], [3, 4]]);
 * const label = tn.tensor([[1], [0]], { dtype: "i32" });
 * assertEquals(await tn.gatherElements(x, label, { axis: 1 }).array(), [[2], [3]]);
 * ```
 */
export function gatherElements(x: Tensor, indices: Tensor, { axis = 0 }: IndexOptions = {}): Tensor {
  const at = normalizeAxis("gather", axis, x.rank);
  using places = asIndices("gather", indices);
  return bind(gatherElementsOp, [x, places], { axis: at });
}

/** `scatterAdd` as data: `dx = dy`, and each update's gradient is read back from where it was added. */
export const scatterAddOp: Op<3, IndexAttrs> = {
  name: "scatterAdd",
  infer([x, indices, updates], { axis }) {
    requireIndices("scatter", indices);
    requireNumbers(x, updates);
    requireAlongside("scatter at", x, indices, axis);
    if (!sameShape(indices.shape, updates.shape)) {
      throw new ShapeError(
        `Cannot scatter updates ${show(updates.shape)} at indices ${show(indices.shape)}: their shapes differ`,
      );
    }
    return { shape: x.shape, dtype: x.dtype };
  },
  vjp({ inputs: [x, indices], grad: dy, attrs, wanted }) {
    if (!wanted[2]) return [dy, null, null];
    const read = bind(gatherElementsOp, [dy, indices], attrs);
    return [dy, null, dropOutside(read, indices, x.shape[attrs.axis])];
  },
};

function requireNumbers(x: Spec, updates: Spec): void {
  requireSameDType("add", x, updates);
  if (!NUMBERS.includes(x.dtype)) throw new DTypeError(`Cannot scatter into ${x.dtype}: it cannot be added`);
}

/**
 * `x` plus one update per index: `y[indices[i][j]][j] += updates[i][j]` along axis 0 (`torch.scatter_add`).
 *
 * @param indices i32 or u32, shaped like `x` except along the axis. Updates with an index out of range are dropped.
 * @param updates Shape of `indices`, dtype of `x`.
 * @returns Shape and dtype of `x`.
 * @throws {ShapeError} If the axis is out of range or shapes do not fit.
 * @throws {DTypeError} If the indices are not whole numbers, or `updates` has another dtype than `x`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const at = tn.tensor([2, 0, 2], { dtype: "i32" });
 * assertEquals(await tn.scatterAdd(tn.zeros([3]), at, tn.tensor([1, 2, 3])).array(), [2, 0, 4]);
 * ```
 */
export function scatterAdd(x: Tensor, indices: Tensor, updates: Tensor, { axis = 0 }: IndexOptions = {}): Tensor {
  const at = normalizeAxis("scatter", axis, x.rank);
  using places = asIndices("scatter", indices);
  return bind(scatterAddOp, [x, places, updates], { axis: at });
}

/** `indexAdd` as data: `dx = dy`, and each slice's gradient is read back from where it was added. */
export const indexAddOp: Op<3, IndexAttrs> = {
  name: "indexAdd",
  infer([x, indices, updates], { axis }) {
    requireIndices("add", indices);
    requireNumbers(x, updates);
    requireAlongside("add", x, updates, axis);
    if (indices.shape.length !== 1 || indices.shape[0] !== updates.shape[axis]) {
      throw new ShapeError(
        `Cannot add ${show(updates.shape)} along axis ${axis} at indices ${show(indices.shape)}: ` +
          `one axis of ${updates.shape[axis]} indices is needed`,
      );
    }
    return { shape: x.shape, dtype: x.dtype };
  },
  vjp({ inputs: [x, indices], grad: dy, attrs: { axis }, wanted }) {
    if (!wanted[2]) return [dy, null, null];
    const column = reshape(indices, x.shape.map((_, i) => i === axis ? indices.size : 1));
    return [dy, null, dropOutside(bind(gatherOp, [dy, indices], { axis }), column, x.shape[axis])];
  },
};

/**
 * `x` plus slices at indices: `y[indices[i]] += updates[i]` along axis 0 (`torch.index_add`); the adjoint of `gather`.
 *
 * @param indices i32 or u32, one axis. Slices with an index out of range are dropped.
 * @param updates Shaped like `x`, with as many slices along the axis as there are indices.
 * @returns Shape and dtype of `x`.
 * @throws {ShapeError} If the axis is out of range or shapes do not fit.
 * @throws {DTypeError} If the indices are not whole numbers, or `updates` has another dtype than `x`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const at = tn.tensor([1, 1], { dtype: "i32" });
 * assertEquals(await tn.indexAdd(tn.zeros([2, 2]), at, tn.ones([2, 2])).array(), [[0, 0], [2, 2]]);
 * ```
 */
export function indexAdd(x: Tensor, indices: Tensor, updates: Tensor, { axis = 0 }: IndexOptions = {}): Tensor {
  const at = normalizeAxis("add", axis, x.rank);
  using places = asIndices("add", indices);
  return bind(indexAddOp, [x, places, updates], { axis: at });
}

/** How to write indices as vectors. */
export interface OneHotOptions {
  /** Element type; `f32` by default. */
  readonly dtype?: DType;
  /** Where the new axis stands in the result; the last by default. */
  readonly axis?: number;
}

/**
 * Indices as vectors with a single 1: a new axis of size `depth`. Indices out of range give zeros alone.
 *
 * @param indices i32 or u32, of any shape.
 * @throws {DTypeError} If the indices are not whole numbers.
 * @throws {ArgumentError} If `depth` is not a whole number of at least 0.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.oneHot(tn.tensor([2, 0], { dtype: "i32" }), 3).array(), [[0, 0, 1], [1, 0, 0]]);
 * ```
 */
export function oneHot(indices: Tensor, depth: number, { dtype = "f32", axis = -1 }: OneHotOptions = {}): Tensor {
  if (!Number.isInteger(depth) || depth < 0) {
    throw new ArgumentError(`Cannot make one-hot vectors of ${depth} elements: it must be a whole number`);
  }
  const at = normalizeAxis("insert one-hot vectors", axis, indices.rank + 1);
  return scope(() => {
    const column = expandDims(asIndices("make one-hot vectors", indices), at);
    const classes = iota(column.shape.map((_, i) => i === at ? depth : 1), at, "i32", indices.backend);
    return cast(equal(column, classes), dtype);
  });
}
