/**
 * Right and wrong classes.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";

/** Numbers in row-major order; a tensor is read at once. */
export type Numbers = ArrayLike<number> | Tensor;

/** The numbers themselves. */
export function read(numbers: Numbers): ArrayLike<number> {
  return numbers instanceof Tensor ? numbers.dataSync() : numbers;
}

/** Scores of each class for each example, and the right classes. */
interface Scored {
  readonly scores: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  /** How many classes there are. */
  readonly classes: number;
}

function readScores(given: Numbers, right: Numbers): Scored {
  const scores = read(given), labels = read(right), classes = scores.length / labels.length;
  if (labels.length === 0) throw new ArgumentError("Cannot measure predictions: there are no labels");
  if (!Number.isInteger(classes) || classes === 0) {
    throw new ArgumentError(
      `Cannot measure ${scores.length} predictions with ${labels.length} labels: there must be one for each, or as many`,
    );
  }
  return { scores, labels, classes };
}

function requireClass(value: number, what: string, classes = Infinity): number {
  if (!(Number.isInteger(value) && value >= 0 && value < classes)) {
    const known = classes === Infinity ? "a class is a whole number of at least 0" : `there are ${classes} classes`;
    throw new ArgumentError(`Cannot count ${what} ${value}: ${known}`);
  }
  return value;
}

/** Where a label's score comes among those of its example: 0 is the highest; of equal ones, the first is higher. */
function rank({ scores, classes }: Scored, example: number, label: number): number {
  const start = example * classes, own = scores[start + label];
  let higher = 0;
  for (let c = 0; c < classes; c++) {
    const score = scores[start + c];
    if (Number.isNaN(score)) throw new ArgumentError(`Cannot rank scores: example ${example} has NaN for class ${c}`);
    if (score > own || (score === own && c < label)) higher++;
  }
  return higher;
}

/** The class with the highest score; the first of equal ones. */
function best({ scores, classes }: Scored, example: number): number {
  const start = example * classes;
  let best = 0;
  for (let c = 0; c < classes; c++) {
    if (Number.isNaN(scores[start + c])) {
      throw new ArgumentError(`Cannot rank scores: example ${example} has NaN for class ${c}`);
    }
    if (scores[start + c] > scores[start + best]) best = c;
  }
  return best;
}

/** Predicted and right classes by example; one number for each example is a class, several are scores. */
function pairs(predictions: Numbers, right: Numbers): (readonly [predicted: number, label: number])[] {
  const scored = readScores(predictions, right), { labels, classes } = scored;
  return Array.from(labels, (label, i) => {
    const predicted = classes === 1 ? requireClass(scored.scores[i], "the prediction") : best(scored, i);
    return [predicted, requireClass(label, "the label", classes === 1 ? undefined : classes)];
  });
}

/**
 * Part of the examples whose class is right.
 *
 * @param predictions Classes `[N]`, or scores `[N, C]`, of which the highest wins.
 * @param labels The right classes, `[N]`.
 * @throws {ArgumentError} If the numbers of predictions and labels do not fit, or one is no class.
 * @example
 * ```ts
 * import { accuracy } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(accuracy([2, 0, 1, 1], [2, 0, 1, 0]), 0.75);
 * assertEquals(accuracy([[0.1, 0.9], [0.8, 0.2]].flat(), [1, 1]), 0.5);
 * ```
 */
export function accuracy(predictions: Numbers, labels: Numbers): number {
  const all = pairs(predictions, labels);
  return all.filter(([predicted, label]) => predicted === label).length / all.length;
}

/**
 * Part of the examples whose label is among the `k` classes with the highest scores.
 *
 * @param scores `[N, C]`
 * @param labels The right classes, `[N]`.
 * @throws {ArgumentError} If the numbers of scores and labels do not fit, or a label is no class.
 * @example
 * ```ts
 * import { topK } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(topK([[5, 3, 1], [1, 5, 3]].flat(), [1, 0], { k: 2 }), 0.5);
 * ```
 */
export function topK(scores: Numbers, labels: Numbers, { k }: { readonly k: number }): number {
  const scored = readScores(scores, labels), { classes } = scored;
  const right = Array.from(scored.labels).filter((label, i) =>
    rank(scored, i, requireClass(label, "the label", classes)) < k
  );
  return right.length / scored.labels.length;
}

/**
 * How often each class (row) was taken for each other one (column).
 *
 * @param predictions Classes `[N]`, or scores `[N, C]`, of which the highest wins.
 * @param labels The right classes, `[N]`.
 * @param options `classes` is how many rows and columns there are; by default, as many as there are scores, or one more
 * than the highest class.
 * @throws {ArgumentError} If the numbers of predictions and labels do not fit, or one is no class.
 * @example
 * ```ts
 * import { confusionMatrix } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(confusionMatrix([0, 1, 1, 1], [0, 0, 1, 1]), [[1, 1], [0, 2]]);
 * ```
 */
export function confusionMatrix(
  predictions: Numbers,
  labels: Numbers,
  options: { readonly classes?: number } = {},
): number[][] {
  const all = pairs(predictions, labels), scored = read(predictions).length / all.length;
  const highest = all.reduce((highest, pair) => Math.max(highest, ...pair), 0);
  const classes = options.classes ?? (scored > 1 ? scored : highest + 1);
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (const [predicted, label] of all) {
    matrix[requireClass(label, "the label", classes)][requireClass(predicted, "the prediction", classes)]++;
  }
  return matrix;
}

/** How well one class is found. What would be divided by 0 is 0. */
export interface PrecisionRecall {
  /** Part of those taken for the class that belong to it. */
  readonly precision: number;
  /** Part of those that belong to the class that were found. */
  readonly recall: number;
  /** The harmonic mean of both. */
  readonly f1: number;
  /** How many belong to the class. */
  readonly support: number;
}

function ofClass(matrix: readonly (readonly number[])[], which: number): PrecisionRecall {
  const right = matrix[which]?.[which] ?? 0;
  const support = matrix[which]?.reduce((sum, n) => sum + n, 0) ?? 0;
  const taken = matrix.reduce((sum, row) => sum + (row[which] ?? 0), 0);
  const part = (n: number, of: number) => of === 0 ? 0 : n / of;
  return {
    precision: part(right, taken),
    recall: part(right, support),
    f1: part(2 * right, taken + support),
    support,
  };
}

/**
 * How well one class is found among all others.
 *
 * @param predictions Classes `[N]`, or scores `[N, C]`, of which the highest wins.
 * @param labels The right classes, `[N]`.
 * @param options `positive` is the class; 1 by default.
 * @throws {ArgumentError} If the numbers of predictions and labels do not fit, or one is no class.
 * @example
 * ```ts
 * import { precisionRecall } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const { precision, recall } = precisionRecall([1, 1, 0, 0, 0], [1, 0, 1, 1, 0]);
 * assertEquals([precision, recall], [1 / 2, 1 / 3]);
 * ```
 */
export function precisionRecall(
  predictions: Numbers,
  labels: Numbers,
  { positive = 1 }: { readonly positive?: number } = {},
): PrecisionRecall {
  return ofClass(confusionMatrix(predictions, labels), positive);
}

/** Means over the classes, each counting alike, however many examples it has. */
export interface MacroPrecisionRecall {
  /** The mean precision. */
  readonly precision: number;
  /** The mean recall. */
  readonly recall: number;
  /** The mean of the classes' F1. */
  readonly f1: number;
  /** Each class for itself. */
  readonly classes: readonly PrecisionRecall[];
}

/**
 * How well classes are found, on the mean of those that occur among labels or predictions.
 *
 * @param predictions Classes `[N]`, or scores `[N, C]`, of which the highest wins.
 * @param labels The right classes, `[N]`.
 * @throws {ArgumentError} If the numbers of predictions and labels do not fit, or one is no class.
 * @example
 * ```ts
 * import { macroPrecisionRecall } from "@tenon/ml/train/metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const { recall, classes } = macroPrecisionRecall([0, 0, 1, 2], [0, 1, 1, 2]);
 * assertEquals([recall, classes[1].recall], [(1 + 1 / 2 + 1) / 3, 1 / 2]);
 * ```
 */
export function macroPrecisionRecall(predictions: Numbers, labels: Numbers): MacroPrecisionRecall {
  const matrix = confusionMatrix(predictions, labels);
  const classes = matrix.map((_, i) => ofClass(matrix, i));
  const occurring = classes.filter(({ support }, i) => support > 0 || matrix.some((row) => row[i] > 0));
  const mean = (name: keyof PrecisionRecall) => occurring.reduce((sum, one) => sum + one[name], 0) / occurring.length;
  return { precision: mean("precision"), recall: mean("recall"), f1: mean("f1"), classes };
}
