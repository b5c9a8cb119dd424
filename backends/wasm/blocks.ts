/**
 * Sizes of the blocks that loops are cut into.
 *
 * @module
 */

/** Work items that are enough to share. */
export const ENOUGH_ITEMS = 8;

/** The least multiple of `step` that is not below `n`. */
export function roundUp(n: number, step: number): number {
  return Math.ceil(n / step) * step;
}

/** The largest of equal pieces of n that are no longer than `most`, rounded up to `step`; at least one step. */
export function even(n: number, most: number, step: number): number {
  return n === 0 ? step : roundUp(Math.ceil(n / Math.ceil(n / most)), step);
}
