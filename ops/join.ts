/**
 * Putting tensors together: `concat`, `stack`, and `pad`.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis, sameShape, show, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { alias, broadcastTo, expandDims } from "./shape.ts";
import { slice } from "./slice.ts";

/** Attributes of {@linkcode concatOp}. */
export interface ConcatAttrs {
  readonly axis: number;
}

/** Where each input begins along the axis. */
function concatStarts(inputs: readonly Spec[], axis: number): number[] {
  let start = 0;
  return inputs.map(({ shape }) => (start += shape[axis]) - shape[axis]);
}

/** `concat` as data: each input's gradient is its part of the output's. */
export const concatOp: Op<number, ConcatAttrs> = {
  name: "concat",
  fusion: {
    kind: "assemble",
    fill: () => null,
    starts: (inputs, { axis }) =>
      concatStarts(inputs, axis).map((start) => inputs[0].shape.map((_, i) => i === axis ? start : 0)),
  },
  infer(inputs, { axis }) {
    const [first, ...rest] = inputs;
    for (const other of rest) {
      requireSameDType("concatenate", first, other);
      const fits = other.shape.length === first.shape.length &&
        sameShape(first.shape.with(axis, 0), other.shape.with(axis, 0));
      if (!fits) {
        throw new ShapeError(
          `Cannot concatenate ${show(first.shape)} and ${show(other.shape)} along axis ${axis}: the other axes differ`,
        );
      }
    }
    const total = inputs.reduce((sum, { shape }) => sum + shape[axis], 0);
    return { shape: first.shape.with(axis, total), dtype: first.dtype };
  },
  vjp: ({ inputs, grad, attrs: { axis }, wanted }) =>
    concatStarts(inputs, axis).map((start, i) =>
      wanted[i] ? slice(grad, start, start + inputs[i].shape[axis], { axis }) : null
    ),
};

/**
 * Tensors one after the other along an axis.
 *
 * @param xs At least one, alike in dtype and in every other axis.
 * @param axis Along which; negative ones count from the end.
 * @throws {ShapeError} If the other axes differ.
 * @throws {DTypeError} If dtypes differ.
 * @throws {ArgumentError} If there is none.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.concat([tn.tensor([1]), tn.tensor([2, 3])]).array(), [1, 2, 3]);
 * ```
 */
export function concat(xs: readonly Tensor[], axis = 0): Tensor {
  if (xs.length === 0) throw new ArgumentError("Cannot concatenate no tensors: give at least one");
  const at = normalizeAxis("concatenate", axis, xs[0].rank);
  return xs.length === 1 ? alias(xs[0]) : bind(concatOp, xs, { axis: at });
}

/**
 * Tensors of one shape side by side along a new axis.
 *
 * @param xs At least one, alike in shape and dtype.
 * @param axis Where the new axis stands in the result; negative ones count from its end.
 * @throws {ShapeError} If shapes differ.
 * @throws {DTypeError} If dtypes differ.
 * @throws {ArgumentError} If there is none.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.stack([tn.tensor([1, 2]), tn.tensor([3, 4])], 1).array(), [[1, 3], [2, 4]]);
 * ```
 */
export function stack(xs: readonly Tensor[], axis = 0): Tensor {
  if (xs.length === 0) throw new ArgumentError("Cannot stack no tensors: give at least one");
  for (const { shape } of xs) {
    if (!sameShape(shape, xs[0].shape)) {
      throw new ShapeError(`Cannot stack ${show(xs[0].shape)} and ${show(shape)}: their shapes differ`);
    }
  }
  const at = normalizeAxis("stack", axis, xs[0].rank + 1);
  return scope(() => concat(xs.map((x) => expandDims(x, at)), at));
}

/** Elements before and after, for each axis. */
export type PadWidths = readonly (readonly [before: number, after: number])[];

/** Attributes of {@linkcode padOp}. */
export interface PadAttrs {
  readonly widths: PadWidths;
  readonly value: number;
}

/** Constant `pad` as data: the gradient is the inner part of the output's. */
export const padOp: Op<1, PadAttrs> = {
  name: "pad",
  fusion: {
    kind: "assemble",
    fill: ({ value }) => value,
    starts: (_, { widths }) => [widths.map(([before]) => before)],
  },
  infer: ([x], { widths }) => ({
    shape: x.shape.map((n, axis) => n + widths[axis][0] + widths[axis][1]),
    dtype: x.dtype,
  }),
  vjp: ({ inputs: [x], grad, attrs: { widths } }) => [
    slice(grad, widths.map(([before]) => before), widths.map(([before], axis) => before + x.shape[axis])),
  ],
};

/** What to pad with. */
export interface PadOptions {
  /** A constant (default), the mirror image without the edge itself, or the edge repeated. */
  readonly mode?: "constant" | "reflect" | "edge";
  /** The constant, 0 by default. */
  readonly value?: number;
}

/**
 * More elements around the tensor.
 *
 * @param widths How many before and after, for every axis; a number is used everywhere.
 * @throws {ShapeError} If the widths do not match the axes, are negative, or reach beyond what can be mirrored.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([1, 2, 3]);
 * assertEquals(await tn.pad(x, [[1, 0]]).array(), [0, 1, 2, 3]);
 * assertEquals(await tn.pad(x, 2, { mode: "reflect" }).array(), [3, 2, 1, 2, 3, 2, 1]);
 * ```
 */
export function pad(x: Tensor, widths: number | PadWidths, { mode = "constant", value = 0 }: PadOptions = {}): Tensor {
  const all = typeof widths === "number" ? x.shape.map(() => [widths, widths] as const) : widths;
  requireWidths(x, all);
  if (mode !== "constant" && mode !== "reflect" && mode !== "edge") {
    throw new ArgumentError(`Cannot pad in mode "${mode}": it must be "constant", "reflect" or "edge"`);
  }
  if (all.every(([before, after]) => before === 0 && after === 0)) return alias(x);
  if (mode === "constant") {
    return bind(padOp, [x], { widths: all.map(([before, after]): [number, number] => [before, after]), value });
  }
  const border = mode === "edge" ? edge : mirror;
  return scope(() => all.reduce((y, [before, after], axis) => surround(y, axis, before, after, border), x));
}

function requireWidths(x: Tensor, widths: PadWidths): void {
  if (widths.length !== x.rank) {
    throw new ShapeError(`Cannot pad ${show(x.shape)} by ${widths.length} pairs: the tensor has ${x.rank} axes`);
  }
  widths.forEach(([before, after], axis) => {
    if (!(Number.isInteger(before) && Number.isInteger(after) && before >= 0 && after >= 0)) {
      throw new ShapeError(
        `Cannot pad axis ${axis} of ${
          show(x.shape)
        } by [${before},${after}]: widths must be whole numbers of at least 0`,
      );
    }
  });
}

/** What stands before or after a tensor along an axis. */
type Border = (x: Tensor, axis: number, count: number, side: "before" | "after") => Tensor;

function surround(x: Tensor, axis: number, before: number, after: number, border: Border): Tensor {
  const parts = [
    ...(before > 0 ? [border(x, axis, before, "before")] : []),
    x,
    ...(after > 0 ? [border(x, axis, after, "after")] : []),
  ];
  return parts.length === 1 ? x : concat(parts, axis);
}

const edge: Border = (x, axis, count, side) => {
  if (x.shape[axis] === 0) throw new ShapeError(`Cannot pad axis ${axis} of ${show(x.shape)}: it has no edge`);
  const last = side === "before" ? slice(x, 0, 1, { axis }) : slice(x, -1, null, { axis });
  return broadcastTo(last, x.shape.with(axis, count));
};

const mirror: Border = (x, axis, count, side) => {
  const n = x.shape[axis];
  if (count >= n) {
    throw new ShapeError(`Cannot mirror ${count} elements along axis ${axis} of ${show(x.shape)}: at most ${n - 1}`);
  }
  return side === "before"
    ? slice(x, count, 0, { axis, step: -1 })
    : slice(x, n - 2, n - 2 - count < 0 ? null : n - 2 - count, { axis, step: -1 });
};
