/**
 * How well scores tell two classes apart, whatever the threshold.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import { type Numbers, read } from "./classification.ts";

/** What a classifier does when it calls all scores of at least `threshold` positive. */
export interface RocPoint {
  /** Part of the negatives that it calls positive. */
  readonly falsePositiveRate: number;
  /** Part of the positives that it finds. */
  readonly truePositiveRate: number;
  /** Infinity for the first point, where nothing is called positive. */
  readonly threshold: number;
}

/** Counts at falling thresholds, equal scores together. */
interface Counts {
  readonly falsePositives: number;
  readonly truePositives: number;
  readonly threshold: number;
}

function countFalling(scores: Numbers, labels: Numbers): Counts[] {
  const values = read(scores), classes = read(labels);
  if (values.length !== classes.length) {
    throw new ArgumentError(`Cannot rank ${values.length} scores with ${classes.length} labels: there must be as many`);
  }
  const order = Array.from(values, (score, i) => {
    if (Number.isNaN(score)) throw new ArgumentError(`Cannot rank scores: that of example ${i} is NaN`);
    if (classes[i] !== 0 && classes[i] !== 1) {
      throw new ArgumentError(`Cannot rank the label ${classes[i]}: it must be 0 or 1`);
    }
    return i;
  }).sort((i, j) => values[j] - values[i]);
  const counts: Counts[] = [{ falsePositives: 0, truePositives: 0, threshold: Infinity }];
  let falsePositives = 0, truePositives = 0;
  order.forEach((example, place) => {
    if (classes[example] === 1) truePositives++;
    else falsePositives++;
    const threshold = values[example], next = order[place + 1];
    if (next === undefined || values[next] !== threshold) counts.push({ falsePositives, truePositives, threshold });
  });
  if (falsePositives === 0 || truePositives === 0) {
    throw new ArgumentError(`Cannot rank ${order.length} scores: it takes examples of both classes`);
  }
  return counts;
}

/**
 * The receiver operating characteristic: what a classifier finds, and what it takes for it, at all thresholds. Points
 * on a straight line between two others are left out.
 *
 * @param scores How likely each example is to be of class 1; any scale, `[N]`.
 * @param labels 0 or 1, `[N]`.
 * @throws {ArgumentError} If the lengths differ, a label is neither 0 nor 1, or all are the same.
 * @see Fawcett 2006, "An introduction to ROC analysis", algorithm 2
 * @example
 * ```ts
 * import { rocCurve } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(rocCurve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), [
 *   { falsePositiveRate: 0, truePositiveRate: 0, threshold: Infinity },
 *   { falsePositiveRate: 0, truePositiveRate: 0.5, threshold: 0.8 },
 *   { falsePositiveRate: 0.5, truePositiveRate: 0.5, threshold: 0.4 },
 *   { falsePositiveRate: 0.5, truePositiveRate: 1, threshold: 0.35 },
 *   { falsePositiveRate: 1, truePositiveRate: 1, threshold: 0.1 },
 * ]);
 * ```
 */
export function rocCurve(scores: Numbers, labels: Numbers): RocPoint[] {
  const counts = countFalling(scores, labels);
  const { falsePositives: negatives, truePositives: positives } = counts.at(-1)!;
  const corners: Counts[] = [];
  for (const point of counts) {
    while (corners.length > 1 && areInLine(corners.at(-2)!, corners.at(-1)!, point)) corners.pop();
    corners.push(point);
  }
  return corners.map(({ falsePositives, truePositives, threshold }) => ({
    falsePositiveRate: falsePositives / negatives,
    truePositiveRate: truePositives / positives,
    threshold,
  }));
}

function areInLine(a: Counts, b: Counts, c: Counts): boolean {
  const cross = (b.falsePositives - a.falsePositives) * (c.truePositives - b.truePositives) -
    (b.truePositives - a.truePositives) * (c.falsePositives - b.falsePositives);
  return cross === 0;
}

/**
 * Area under the ROC curve: how likely a positive scores higher than a negative, where equal scores count half.
 *
 * @param scores How likely each example is to be of class 1; any scale, `[N]`.
 * @param labels 0 or 1, `[N]`.
 * @throws {ArgumentError} If the lengths differ, a label is neither 0 nor 1, or all are the same.
 * @example
 * ```ts
 * import { auc } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 0.75);
 * ```
 */
export function auc(scores: Numbers, labels: Numbers): number {
  const counts = countFalling(scores, labels);
  const { falsePositives: negatives, truePositives: positives } = counts.at(-1)!;
  let area = 0; // of trapezoids, in counts
  for (let i = 1; i < counts.length; i++) {
    const height = (counts[i - 1].truePositives + counts[i].truePositives) / 2;
    area += (counts[i].falsePositives - counts[i - 1].falsePositives) * height;
  }
  return area / negatives / positives;
}
