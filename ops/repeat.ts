/**
 * The same elements several times over: `tile` and `repeat`.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { broadcastTo, reshape } from "./shape.ts";

function requireCount(action: string, count: number): void {
  if (!Number.isInteger(count) || count < 0) {
    throw new ArgumentError(`Cannot ${action} ${count} times: it must be a whole number of at least 0`);
  }
}

/**
 * The whole tensor side by side with itself, as `numpy.tile`.
 *
 * @param reps How many times along each axis; if shorter than the shape it counts for the last axes, if longer the
 * tensor gets leading axes.
 * @throws {ArgumentError} If a count is not a whole number of at least 0.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.tile(tn.tensor([1, 2]), [2, 2]).array(), [[1, 2, 1, 2], [1, 2, 1, 2]]);
 * ```
 */
export function tile(x: Tensor, reps: readonly number[]): Tensor {
  for (const count of reps) requireCount("tile", count);
  const rank = Math.max(x.rank, reps.length);
  const counts = [...new Array<number>(rank - reps.length).fill(1), ...reps];
  const sizes = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  return scope(() => {
    const apart = reshape(x, sizes.flatMap((n) => [1, n])); // [1, n, ...]
    const repeated = broadcastTo(apart, sizes.flatMap((n, axis) => [counts[axis], n])); // [count, n, ...]
    return reshape(repeated, sizes.map((n, axis) => n * counts[axis]));
  });
}

/** Along which axis to repeat. */
export interface RepeatOptions {
  /** Negative ones count from the end; 0 by default. */
  readonly axis?: number;
}

/**
 * Every element `count` times in a row, as `numpy.repeat` and `torch.repeat_interleave`.
 *
 * @throws {ArgumentError} If `count` is not a whole number of at least 0.
 * @throws {ShapeError} If the axis is out of range.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.repeat(tn.tensor([1, 2]), 2).array(), [1, 1, 2, 2]);
 * ```
 */
export function repeat(x: Tensor, count: number, { axis = 0 }: RepeatOptions = {}): Tensor {
  requireCount("repeat", count);
  if (x.rank === 0) throw new ShapeError(`Cannot repeat ${show(x.shape)}: a scalar has no axis, use broadcastTo`);
  const at = normalizeAxis("repeat", axis, x.rank);
  return scope(() => {
    const apart = reshape(x, x.shape.toSpliced(at + 1, 0, 1)); // [..., n, 1, ...]
    const repeated = broadcastTo(apart, x.shape.toSpliced(at + 1, 0, count)); // [..., n, count, ...]
    return reshape(repeated, x.shape.with(at, x.shape[at] * count));
  });
}
