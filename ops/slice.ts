/**
 * Cutting out a regular part of a tensor: `slice` and `flip`.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxes, normalizeAxis, type Shape, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { pad } from "./join.ts";
import { reshape } from "./shape.ts";

/** Attributes of {@linkcode sliceOp}, one entry per axis: element `i` of an axis is `starts + i·steps` of the input's. */
export interface SliceAttrs {
  readonly starts: readonly number[];
  readonly steps: readonly number[];
  readonly sizes: readonly number[];
}

/** `slice` as data: the gradient goes back to the places it came from, zeros elsewhere. */
export const sliceOp: Op<1, SliceAttrs> = {
  name: "slice",
  fusion: {
    kind: "view",
    view: (_, { strides, offset }, { starts, steps }) => ({
      strides: strides.map((stride, axis) => stride * steps[axis]),
      offset: starts.reduce((sum, start, axis) => sum + start * strides[axis], offset),
    }),
  },
  infer([x], { starts, steps, sizes }) {
    x.shape.forEach((n, axis) => {
      const last = starts[axis] + (sizes[axis] - 1) * steps[axis];
      if (sizes[axis] > 0 && !(starts[axis] >= 0 && starts[axis] < n && last >= 0 && last < n)) {
        throw new ShapeError(`Cannot slice ${show(x.shape)} from ${starts[axis]} to ${last} along axis ${axis}`);
      }
    });
    return { shape: sizes, dtype: x.dtype };
  },
  vjp: ({ inputs: [x], grad, attrs }) => [unslice(grad, x.shape, attrs)],
};

/** The adjoint of a slice: `dy` spread out to its places in zeros of `shape`. */
function unslice(dy: Tensor, shape: Shape, { starts, steps, sizes }: SliceAttrs): Tensor {
  const backwards = steps.flatMap((step, axis) => step < 0 ? [axis] : []);
  const forwards = backwards.length > 0 ? flip(dy, backwards) : dy;
  const gaps = steps.map((step, axis) => sizes[axis] > 1 ? Math.abs(step) : 1);
  const spread = dilate(forwards, gaps); // sizes (sizes - 1)·gaps + 1
  const widths = shape.map((n, axis): [number, number] => {
    if (sizes[axis] === 0) return [0, n];
    const low = steps[axis] < 0 ? starts[axis] + (sizes[axis] - 1) * steps[axis] : starts[axis];
    return [low, n - low - spread.shape[axis]];
  });
  return pad(spread, widths);
}

/** Zeros between neighbours, so that they lie `gaps` apart. */
function dilate(x: Tensor, gaps: readonly number[]): Tensor {
  if (gaps.every((gap) => gap === 1)) return x;
  const apart = reshape(x, x.shape.flatMap((n) => [n, 1])); // [n, 1, ...]
  const spaced = pad(apart, gaps.flatMap((gap): [number, number][] => [[0, 0], [0, gap - 1]])); // [n, gap, ...]
  const merged = reshape(spaced, x.shape.map((n, axis) => n * gaps[axis])); // [n·gap, ...]
  return slice(merged, x.shape.map(() => 0), x.shape.map((n, axis) => Math.max(0, (n - 1) * gaps[axis] + 1)));
}

/** How to step through a slice. */
export interface SliceOptions {
  /** Distance between neighbours, 1 by default; negative runs backwards. One per axis where `start` is an array. */
  readonly step?: number | readonly number[];
  /** The axis that numbers act on, 0 by default. */
  readonly axis?: number;
}

/** An axis' bound; null is the axis' own end. */
export type Bound = number | null;

/** Start, step and size along an axis of `n`, by Python's rules for `start:stop:step`. */
function resolveRange(n: number, start: Bound, stop: Bound, step: number): [start: number, step: number, size: number] {
  if (!Number.isInteger(step) || step === 0) {
    throw new ArgumentError(`Cannot slice in steps of ${step}: a step must be a whole number other than 0`);
  }
  const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
  const bound = (value: Bound, fallback: number) => {
    if (value === null) return fallback;
    if (!Number.isInteger(value)) throw new ArgumentError(`Cannot slice at ${value}: a bound must be a whole number`);
    return Math.min(high, Math.max(low, value < 0 ? value + n : value));
  };
  const first = bound(start, step > 0 ? low : high);
  const end = bound(stop, step > 0 ? high : low);
  const size = Math.max(0, Math.ceil((end - first) / step));
  return [size === 0 ? 0 : first, step, size];
}

/**
 * Every `step`-th element from `start` up to, not including, `stop`, by Python's rules.
 *
 * Numbers act on one axis; arrays hold one entry per leading axis, `null` for an axis' own end. Negative bounds count
 * from the end; bounds beyond an end are moved there.
 *
 * @param start First element, or `null` for the first in the direction of the step.
 * @param stop End; to the end of the axis by default.
 * @throws {ArgumentError} If a step is 0, or a bound is not a whole number.
 * @throws {ShapeError} If there are more entries than axes.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const x = tn.tensor([[1, 2, 3], [4, 5, 6]]);
 * assertEquals(await tn.slice(x, 1).array(), [[4, 5, 6]]);
 * assertEquals(await tn.slice(x, -2, null, { axis: 1 }).array(), [[2, 3], [5, 6]]);
 * assertEquals(await tn.slice(x, [null, 0], [null, 1]).array(), [[1], [4]]);
 * ```
 */
export function slice(
  x: Tensor,
  start: Bound | readonly Bound[],
  stop: Bound | readonly Bound[] = null,
  options: SliceOptions = {},
): Tensor {
  const [starts, stops, steps] = boundsOf(x, start, stop, options);
  const ranges = x.shape.map((n, axis) => resolveRange(n, starts[axis] ?? null, stops[axis] ?? null, steps[axis] ?? 1));
  return bind(sliceOp, [x], {
    starts: ranges.map(([start]) => start),
    steps: ranges.map(([, step]) => step),
    sizes: ranges.map(([, , size]) => size),
  });
}

/** Numbers or arrays as one entry per axis; what is missing means the whole axis. */
function boundsOf(
  x: Tensor,
  start: Bound | readonly Bound[],
  stop: Bound | readonly Bound[],
  { step = 1, axis }: SliceOptions,
): [starts: readonly Bound[], stops: readonly Bound[], steps: readonly number[]] {
  const perAxis = (value: unknown): value is readonly Bound[] => Array.isArray(value);
  if (perAxis(start)) {
    if (axis !== undefined || (stop !== null && !perAxis(stop))) {
      throw new ArgumentError("Cannot slice: with an array of starts, stop must be an array and axis is not used");
    }
    const steps = typeof step === "number" ? start.map(() => step) : step;
    const longest = Math.max(start.length, stop?.length ?? 0, steps.length);
    if (longest > x.rank) {
      throw new ShapeError(`Cannot slice ${show(x.shape)} along ${longest} axes: the tensor has ${x.rank}`);
    }
    return [start, stop ?? [], steps];
  }
  if (perAxis(stop) || typeof step !== "number") {
    throw new ArgumentError("Cannot slice: with a number as start, stop and step must be numbers");
  }
  const at = normalizeAxis("slice", axis ?? 0, x.rank);
  const place = <T>(value: T, rest: T): T[] => x.shape.map((_, i) => i === at ? value : rest);
  return [place(start, null), place(stop, null), place(step, 1)];
}

/**
 * The elements in reverse order along some axes.
 *
 * @param axis Which axes; all by default.
 * @throws {ShapeError} If an axis is out of range or appears twice.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.flip(tn.tensor([1, 2, 3])).array(), [3, 2, 1]);
 * ```
 */
export function flip(x: Tensor, axis?: number | readonly number[]): Tensor {
  const axes = normalizeAxes("flip", axis, x.rank);
  return slice(x, x.shape.map(() => null), null, { step: x.shape.map((_, i) => axes.includes(i) ? -1 : 1) });
}
