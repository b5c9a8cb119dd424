/**
 * Affine layouts: which element of a contiguous root a strided view reads at each place.
 *
 * @module
 */
import { type Shape, size, stridesOf } from "./shape.ts";

/** Element (i, j, ...) of a view of shape `shape` lies at `offset + i * strides[0] + j * strides[1] + ...`. */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The layout of a contiguous tensor. */
export function contiguous(shape: Shape): Layout {
  return { shape, strides: stridesOf(shape), offset: 0 };
}

/** Whether a layout reads its root from front to back; strides of axes of size 1 do not matter. */
export function isContiguous({ shape, strides, offset }: Layout): boolean {
  const expected = stridesOf(shape);
  return offset === 0 && (size(shape) === 0 || shape.every((n, axis) => n === 1 || strides[axis] === expected[axis]));
}

/** The layout over `target` that a view broadcast to it has. */
export function broadcastLayout({ shape, strides, offset }: Layout, target: Shape): Layout {
  const lead = target.length - shape.length;
  return {
    shape: target,
    strides: target.map((_, axis) => axis < lead || shape[axis - lead] === 1 ? 0 : strides[axis - lead]),
    offset,
  };
}

/**
 * The same elements in the same order under another shape, or null where no strides say it.
 *
 * Axes of both shapes are matched in groups of equal product; within a group the old axes must be one run.
 */
export function reshapeLayout(layout: Layout, target: Shape): Layout | null {
  const { offset } = layout;
  if (size(layout.shape) === 0) return { shape: target, strides: stridesOf(target), offset };
  const axes = layout.shape.flatMap((n, i) => n === 1 ? [] : [{ n, stride: layout.strides[i] }]);
  const strides = new Array<number>(target.length).fill(0);
  let next = 0;
  for (let start = 0; start < target.length;) {
    if (target[start] === 1) {
      start++;
      continue;
    }
    const run = [axes[next++]];
    let end = start + 1, have = target[start], want = run[0].n;
    while (have !== want) {
      if (have < want) have *= target[end++];
      else {
        run.push(axes[next++]);
        want *= run.at(-1)!.n;
      }
    }
    for (let i = 0; i + 1 < run.length; i++) {
      if (run[i].stride !== run[i + 1].stride * run[i + 1].n) return null;
    }
    let stride = run.at(-1)!.stride;
    for (let axis = end - 1; axis >= start; axis--) {
      if (target[axis] !== 1) strides[axis] = stride;
      stride *= target[axis];
    }
    start = end;
  }
  return { shape: target, strides, offset };
}

/** Merges neighbouring axes that every one of `layouts` walks as one; axes of size 1 vanish. */
export function mergeAxes(
  shape: Shape,
  layouts: readonly (readonly number[])[],
): { shape: number[]; strides: number[][] } {
  const axes: number[] = [];
  const merged: number[][] = layouts.map(() => []);
  shape.forEach((n, axis) => {
    if (n === 1) return;
    const last = axes.length - 1;
    const joins = last >= 0 && layouts.every((strides, i) => merged[i][last] === strides[axis] * n);
    if (joins) {
      axes[last] *= n;
      layouts.forEach((strides, i) => merged[i][last] = strides[axis]);
    } else {
      axes.push(n);
      layouts.forEach((strides, i) => merged[i].push(strides[axis]));
    }
  });
  return { shape: axes, strides: merged };
}
