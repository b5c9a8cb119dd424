/**
 * When two lists of numbers are the same, and how to say that they are not.
 *
 * @module
 */
import type { Tolerance } from "./cases/case.ts";

/** Root mean square of the finite numbers. */
export function rootMeanSquare(values: ArrayLike<number>): number {
  let sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    sum += values[i] * values[i];
    count++;
  }
  return count === 0 ? 0 : Math.sqrt(sum / count);
}

/** What is wrong with `actual`, in words; null if nothing is. NaN equals NaN, an infinity only itself. */
export function difference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { relative, floor = rootMeanSquare(expected) }: Tolerance,
): string | null {
  if (actual.length !== expected.length) return `${actual.length} elements, expected ${expected.length}`;
  let worst = -1, excess = 1, wrong = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i], e = expected[i];
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const ratio = Math.abs(a - e) / (relative * Math.max(Math.abs(e), floor));
    if (ratio <= 1) continue;
    wrong++;
    if (worst < 0 || ratio > excess) [worst, excess] = [i, Number.isNaN(ratio) ? Infinity : ratio];
  }
  if (worst < 0) return null;
  return `element ${worst} is ${actual[worst]}, expected ${expected[worst]} (${wrong} of ${expected.length} are off)`;
}
