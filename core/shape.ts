/**
 * Arithmetic on shapes: sizes, strides, axes and broadcasting.
 *
 * @module
 */
import { ShapeError } from "./errors.ts";
import type { DType } from "./dtype.ts";

/** Sizes of a tensor's axes, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Shape and dtype, without data: what shape rules reason about. */
export interface Spec {
  /** Sizes of the axes, outermost first. */
  readonly shape: Shape;
  /** Type of the elements. */
  readonly dtype: DType;
}

/** Number of elements in a shape. */
export function size(shape: Shape): number {
  let product = 1;
  for (const n of shape) product *= n;
  return product;
}

/** A shape as error messages write it: `[2,3]`. */
export function show(shape: Shape): string {
  return `[${shape.join(",")}]`;
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** Distance in elements between neighbours along each axis of a contiguous tensor. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** Throws unless every size is a whole number of at least 0. */
export function validateShape(action: string, shape: Shape): void {
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new ShapeError(`Cannot ${action} ${show(shape)}: every size must be a whole number of at least 0`);
    }
  }
}

/** An axis counted from the front; negative axes count from the end. */
export function normalizeAxis(action: string, axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank) {
    throw new ShapeError(`Cannot ${action} along axis ${axis}: the tensor has ${rank} axes`);
  }
  return normal;
}

/** One axis, several, or all of them when `axis` is omitted; sorted, without repeats. */
export function normalizeAxes(action: string, axis: number | readonly number[] | undefined, rank: number): number[] {
  if (axis === undefined) return Array.from({ length: rank }, (_, i) => i);
  const axes = (typeof axis === "number" ? [axis] : axis).map((a) => normalizeAxis(action, a, rank));
  if (new Set(axes).size !== axes.length) {
    throw new ShapeError(`Cannot ${action} along axes ${show(axes)}: an axis appears twice`);
  }
  return axes.sort((a, b) => a - b);
}

/** The shape that NumPy's rules broadcast all of `shapes` to. */
export function broadcastShapes(action: string, ...shapes: Shape[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const axis = rank - shape.length + i;
      if (shape[i] === 1 || shape[i] === result[axis]) continue;
      if (result[axis] !== 1) {
        throw new ShapeError(
          `Cannot ${action} ${shapes.map(show).join(" and ")}: sizes ${result[axis]} and ${shape[i]} do not broadcast`,
        );
      }
      result[axis] = shape[i];
    }
  }
  return result;
}

/** Strides that read a contiguous tensor of `shape` as if it were broadcast to `target`. */
export function broadcastStrides(shape: Shape, target: Shape): number[] {
  const own = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, axis) => axis < lead || shape[axis - lead] === 1 ? 0 : own[axis - lead]);
}

/** `shape` with `axes` dropped, or kept as size 1. */
export function reduceShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  if (keepDims) return shape.map((n, axis) => axes.includes(axis) ? 1 : n);
  return shape.filter((_, axis) => !axes.includes(axis));
}
