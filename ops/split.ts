/**
 * Taking apart: a tensor into pieces, a random key into keys.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { normalizeAxis, show } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { splitKey } from "./random.ts";
import { slice } from "./slice.ts";
import type { Key } from "./threefry.ts";

/** Along which axis to split. */
export interface SplitOptions {
  /** Negative ones count from the end; 0 by default. */
  readonly axis?: number;
}

/** The sizes of the pieces of an axis of `n`. */
function pieceSizes(x: Tensor, sections: number | readonly number[], axis: number): readonly number[] {
  const n = x.shape[axis];
  if (typeof sections !== "number") {
    const total = sections.reduce((sum, size) => sum + size, 0);
    if (sections.some((size) => !Number.isInteger(size) || size < 0) || total !== n) {
      throw new ShapeError(
        `Cannot split axis ${axis} of ${show(x.shape)} into sizes ${show(sections)}: they must add up to ${n}`,
      );
    }
    return sections;
  }
  if (!Number.isInteger(sections) || sections < 1 || n % sections !== 0) {
    throw new ShapeError(
      `Cannot split axis ${axis} of ${show(x.shape)} into ${sections} pieces: ${n} is not a multiple of ${sections}`,
    );
  }
  return new Array<number>(sections).fill(n / sections);
}

/**
 * A tensor in pieces along an axis.
 *
 * @param sections How many pieces of equal size, or the size of each.
 * @throws {ShapeError} If the axis is out of range, or the pieces do not add up to it.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const [a, b] = tn.split(tn.tensor([1, 2, 3]), [1, 2]);
 * assertEquals(await a.array(), [1]);
 * assertEquals(await b.array(), [2, 3]);
 * ```
 */
export function split(x: Tensor, sections: number | readonly number[], options?: SplitOptions): Tensor[];
/**
 * New random keys from one, which is not to be used again.
 *
 * @param n How many; 2 by default.
 * @throws {ArgumentError} If `n` is not a whole number of at least 0.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const [weights, biases] = tn.split(tn.key(0));
 * console.log(weights, biases);
 * ```
 */
export function split(key: Key, n?: number): Key[];
export function split(
  source: Tensor | Key,
  sections: number | readonly number[] = 2,
  { axis = 0 }: SplitOptions = {},
): Tensor[] | Key[] {
  if (!(source instanceof Tensor)) {
    if (typeof sections !== "number") throw new ArgumentError("Cannot split a key into sizes: give their number");
    return splitKey(source, sections);
  }
  const at = normalizeAxis("split", axis, source.rank);
  let start = 0;
  return pieceSizes(source, sections, at).map((size) => {
    start += size;
    return slice(source, start - size, start, { axis: at });
  });
}
