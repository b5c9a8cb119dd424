/**
 * Sliding windows: how convolutions and pools read their options, and how many places a window has.
 *
 * Ops and kernels know two spatial axes; a one-dimensional input is lifted to a height of 1.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { type Shape, show, type Spec } from "../core/shape.ts";

/** Something along the height and the width. */
export type Pair = readonly [height: number, width: number];

/** One number for every spatial axis, or one per axis. */
export type PerAxis = number | readonly number[];

/**
 * What surrounds the input: a number (every side), a number per axis (both of its sides), `[before, after]` per axis,
 * `"valid"` (nothing) or `"same"` (as many outputs as inputs, divided by the stride and rounded up).
 */
export type Padding =
  | number
  | readonly number[]
  | readonly (readonly [before: number, after: number])[]
  | "same"
  | "valid";

/** How a window moves over two axes; part of the attributes of convolutions and pools. */
export interface Sliding {
  readonly stride: Pair;
  readonly padding: readonly [height: Pair, width: Pair];
  readonly dilation: Pair;
}

/** What the public functions take. */
export interface SlidingOptions {
  /** Steps between windows; 1 for convolutions, the window's size for pools. */
  readonly stride?: PerAxis;
  /** What surrounds the input; 0 by default. */
  readonly padding?: Padding;
  /** Steps between the elements of one window; 1 by default. */
  readonly dilation?: PerAxis;
}

/** One entry per spatial axis, lifted to two axes by `neutral`. */
export function perAxis(action: string, option: string, value: PerAxis, axes: number, neutral: 0 | 1): Pair {
  const values = typeof value === "number" ? new Array<number>(axes).fill(value) : value;
  if (values.length !== axes) {
    throw new ArgumentError(`Cannot ${action} with ${option} ${show(values)}: there are ${axes} spatial axes`);
  }
  for (const n of values) {
    if (!Number.isInteger(n) || n < neutral) {
      throw new ArgumentError(`Cannot ${action} with ${option} ${n}: it must be a whole number of at least ${neutral}`);
    }
  }
  return axes === 1 ? [neutral, values[0]] : [values[0], values[1]];
}

/** Length of a dilated window. */
export function extent(size: number, dilation: number): number {
  return size === 0 ? 0 : dilation * (size - 1) + 1;
}

/** Padding that makes `ceil(size / stride)` outputs; an odd element goes after. */
function samePadding(size: number, window: number, stride: number): Pair {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + window - size, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

function pairs(action: string, padding: Exclude<Padding, string>, axes: number): readonly [Pair, Pair] {
  const nested = typeof padding === "object" && padding.some((entry) => typeof entry === "object");
  if (!nested) {
    const [h, w] = perAxis(action, "padding", padding as PerAxis, axes, 0);
    return [[h, h], [w, w]];
  }
  const sides = [0, 1].map((side) => {
    const values = padding.map((entry) => typeof entry === "object" ? entry[side] : entry);
    return perAxis(action, "padding", values, axes, 0);
  });
  return [[sides[0][0], sides[1][0]], [sides[0][1], sides[1][1]]];
}

/** Options as attributes: `input` and `size` are `[height, width]`, `axes` says how many of the two the user sees. */
export function resolveSliding(
  action: string,
  input: Pair,
  size: Pair,
  axes: number,
  options: Required<SlidingOptions>,
): Sliding {
  const stride = perAxis(action, "stride", options.stride, axes, 1);
  const dilation = perAxis(action, "dilation", options.dilation, axes, 1);
  const { padding } = options;
  if (padding === "same") {
    const along = (axis: 0 | 1) => samePadding(input[axis], extent(size[axis], dilation[axis]), stride[axis]);
    return { stride, dilation, padding: [along(0), along(1)] };
  }
  if (typeof padding === "string" && padding !== "valid") {
    throw new ArgumentError(`Cannot ${action} with padding "${padding}": it must be numbers, "same" or "valid"`);
  }
  return { stride, dilation, padding: pairs(action, padding === "valid" ? 0 : padding, axes) };
}

/** How many places a window has along the height and the width. */
export function places(action: string, input: Pair, size: Pair, { stride, padding, dilation }: Sliding): Pair {
  const along = (axis: 0 | 1): number => {
    const window = extent(size[axis], dilation[axis]);
    const padded = input[axis] + padding[axis][0] + padding[axis][1];
    if (window === 0 || window > padded) {
      throw new ShapeError(
        `Cannot ${action} ${axis === 0 ? "the height" : "the width"} with a window of ${window}: ` +
          `the padded input has ${padded}`,
      );
    }
    return Math.floor((padded - window) / stride[axis]) + 1;
  };
  return [along(0), along(1)];
}

/** The two spatial sizes of `[B, C, H, W]`, or of `[B, C, L]` lifted by a height of 1. */
export function spatial(shape: Shape): Pair {
  return shape.length === 3 ? [1, shape[2]] : [shape[2], shape[3]];
}

/** Throws unless the input is `[B, C, L]` or `[B, C, H, W]`; returns how many spatial axes it has. */
export function spatialAxes(action: string, { shape }: Spec): number {
  if (shape.length !== 3 && shape.length !== 4) {
    throw new ShapeError(`Cannot ${action} ${show(shape)}: it needs [batch, channels, length] or [.., height, width]`);
  }
  return shape.length - 2;
}
