import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import { random } from "../train/data.ts";
import {
  accuracy,
  auc,
  confusionMatrix,
  frechetDistance,
  gaussianOf,
  macroPrecisionRecall,
  perplexity,
  precisionRecall,
  rocCurve,
  topK,
} from "../train/metrics.ts";

await tn.use("cpu");

const SCORES = [[1, 5, 2], [7, 7, 1], [0, 1, 2], [3, 2, 9], [4, 6, 5]];
const LABELS = [1, 1, 0, 2, 0];

Deno.test("scores, classes and tensors are measured alike", () => {
  const classes = [1, 0, 2, 2, 1]; // the first of equal scores
  assertEquals(accuracy(SCORES.flat(), LABELS), 2 / 5);
  assertEquals(accuracy(classes, LABELS), 2 / 5);
  assertEquals(accuracy(tn.tensor(SCORES), tn.tensor(LABELS, { dtype: "i32" })), 2 / 5);
  assertEquals(confusionMatrix(SCORES.flat(), LABELS), confusionMatrix(classes, LABELS));
});

Deno.test("top-k counts how many scores are higher", () => {
  const parts = [1, 2, 3].map((k) => topK(SCORES.flat(), LABELS, { k }));
  assertEquals(parts, [2 / 5, 3 / 5, 1]);
  assertEquals(parts[0], accuracy(SCORES.flat(), LABELS));
});

Deno.test("a confusion matrix has a row for each label", () => {
  assertEquals(confusionMatrix([1, 0, 2, 2, 1], LABELS), [[0, 1, 1], [1, 1, 0], [0, 0, 1]]);
  assertEquals(confusionMatrix([0], [1], { classes: 3 }), [[0, 0, 0], [1, 0, 0], [0, 0, 0]]);
  assertEquals(confusionMatrix([0.1, 0.9, 0, 0], [0]).length, 4);
});

Deno.test("precision, recall and F1, those of scikit-learn's documentation", () => {
  // sklearn.metrics.precision_recall_fscore_support, average="macro": 0.22..., 0.33..., 0.26...
  const { precision, recall, f1, classes } = macroPrecisionRecall([0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2]);
  [[precision, 2 / 9], [recall, 1 / 3], [f1, 4 / 15]].forEach(([x, y]) => assertAlmostEquals(x, y, 1e-15));
  assertEquals(classes.map(({ support }) => support), [2, 2, 2]);
  // sklearn.metrics.f1_score of one class: 2·(2/3·1/2)/(2/3 + 1/2)
  const one = precisionRecall([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 0]);
  assertEquals([one.precision, one.recall, one.support], [2 / 3, 1 / 2, 4]);
  assertAlmostEquals(one.f1, 4 / 7, 1e-15);
  assertEquals(precisionRecall([0, 0], [0, 0]), { precision: 0, recall: 0, f1: 0, support: 0 });
  assertEquals(precisionRecall([0, 0], [0, 1], { positive: 0 }).precision, 1 / 2);
  // a class that never occurs does not count
  assertEquals(macroPrecisionRecall([0, 2], [0, 2]).f1, 1);
});

/** The area under a curve of straight lines. */
function area(points: ReturnType<typeof rocCurve>): number {
  return points.slice(1).reduce((sum, { falsePositiveRate: x, truePositiveRate: y }, i) => {
    const before = points[i];
    return sum + (x - before.falsePositiveRate) * (y + before.truePositiveRate) / 2;
  }, 0);
}

Deno.test("the area under the ROC curve is the part of pairs in the right order", () => {
  const { uniform, integer } = random(11);
  for (const levels of [1, 4, 1000]) {
    const labels = Array.from({ length: 200 }, (_, i) => i < 2 ? i : Number(uniform() < 0.3));
    const scores = labels.map((label) => integer(levels) + label * levels * 0.25);
    let right = 0, pairs = 0;
    labels.forEach((a, i) =>
      labels.forEach((b, j) => {
        if (a !== 1 || b !== 0) return;
        pairs++;
        right += scores[i] > scores[j] ? 1 : scores[i] === scores[j] ? 0.5 : 0;
      })
    );
    assertAlmostEquals(auc(scores, labels), right / pairs, 1e-12);
    assertAlmostEquals(area(rocCurve(scores, labels)), right / pairs, 1e-12);
  }
});

Deno.test("a ROC curve keeps its corners alone", () => {
  const rates = (scores: number[], labels: number[]) =>
    rocCurve(scores, labels).map(({ falsePositiveRate: x, truePositiveRate: y }) => [x, y]);
  assertEquals(rates([6, 5, 4, 3, 2, 1], [1, 1, 1, 0, 0, 0]), [[0, 0], [0, 1], [1, 1]]);
  assertEquals(rates([1, 1, 1, 1], [1, 0, 1, 0]), [[0, 0], [1, 1]]);
  assertEquals(auc([-1, -2], [1, 0]), 1);
});

Deno.test("perplexity is the exponential of the mean", () => {
  assertAlmostEquals(perplexity(tn.tensor([1, 2, 3])), Math.exp(2), 1e-12);
});

/** `[D, D]` with rows of random directions at right angles, by Gram and Schmidt. */
function orthogonal(n: number, { normal }: ReturnType<typeof random>): number[][] {
  const rows: number[][] = [];
  for (let i = 0; i < n; i++) {
    let row = Array.from({ length: n }, normal);
    for (let pass = 0; pass < 2; pass++) {
      for (const other of rows) {
        const along = row.reduce((sum, value, k) => sum + value * other[k], 0);
        row = row.map((value, k) => value - along * other[k]);
      }
    }
    const length = Math.hypot(...row);
    rows.push(row.map((value) => value / length));
  }
  return rows;
}

/** `Qᵀ·diag(values)·Q` */
function turned(q: number[][], values: readonly number[]): Float64Array {
  const n = values.length;
  return Float64Array.from({ length: n * n }, (_, place) => {
    const i = Math.floor(place / n), j = place % n;
    return values.reduce((sum, value, k) => sum + q[k][i] * value * q[k][j], 0);
  });
}

Deno.test("the Fréchet distance of Gaussians with common axes is that of their deviations", () => {
  const numbers = random(5), n = 128, q = orthogonal(n, numbers);
  const a = Array.from({ length: n }, (_, i) => i < 20 ? 0 : 3 * numbers.uniform()); // singular, as few samples make it
  const b = Array.from({ length: n }, () => 2 * numbers.uniform());
  const mean = Float64Array.from({ length: n }, numbers.normal);
  const expected = a.reduce((sum, value, i) => sum + (Math.sqrt(value) - Math.sqrt(b[i])) ** 2, 0);
  const begin = performance.now();
  const first = { mean, covariance: turned(q, a) }, second = { mean, covariance: turned(q, b) };
  assertAlmostEquals(frechetDistance(first, second), expected, 1e-5 * expected);
  assertAlmostEquals(frechetDistance(first, first), 0, 1e-9);
  const moved = { mean: mean.map((value, i) => value + (i < 4 ? 3 : 0)), covariance: second.covariance };
  assertAlmostEquals(frechetDistance(first, moved), expected + 36, 1e-5 * expected);
  const seconds = (performance.now() - begin) / 1000;
  assert(seconds < 10, `three distances of 128 dimensions took ${seconds} s`);
});

Deno.test("the Fréchet distance of Gaussians in the plane has a closed form", () => {
  // the trace of the root of a 2 x 2 matrix M is √(tr M + 2·√det M)
  const [a, b] = [[2, 0.5, 0.5, 1], [1, -0.8, -0.8, 3]].map((covariance) => Float64Array.from(covariance));
  const trace = a[0] * b[0] + a[1] * b[2] + a[2] * b[1] + a[3] * b[3];
  const determinant = (a[0] * a[3] - a[1] * a[2]) * (b[0] * b[3] - b[1] * b[2]);
  const root = Math.sqrt(trace + 2 * Math.sqrt(determinant));
  const mean = Float64Array.of(0, 0);
  const distance = frechetDistance({ mean, covariance: a }, { mean, covariance: b });
  assertAlmostEquals(distance, 2 + 1 + 1 + 3 - 2 * root, 1e-12);
});

Deno.test("features become a Gaussian as numpy.cov has it", () => {
  const { normal } = random(2), features = Array.from({ length: 3000 * 3 }, normal);
  for (let i = 0; i < features.length; i += 3) features[i + 2] = 1000 + 2 * features[i];
  const { mean, covariance } = gaussianOf(tn.tensor(Float32Array.from(features), { shape: [3000, 3] }), {
    dimensions: 3,
  });
  assertAlmostEquals(mean[2], 1000, 0.2);
  assertAlmostEquals(covariance[0], 1, 0.1);
  assertAlmostEquals(covariance[2] / covariance[0], 2, 1e-3);
  assertEquals(covariance[6], covariance[2]);
});

const MISTAKES: Record<string, [call: () => unknown, message: string]> = {
  "lengths that do not fit": [
    () => accuracy([1, 2, 3], [1, 2]),
    "Cannot measure 3 predictions with 2 labels: there must",
  ],
  "no labels": [() => accuracy([], []), "Cannot measure predictions: there are no labels"],
  "probabilities taken for classes": [
    () => accuracy([0.7], [1]),
    "Cannot count the prediction 0.7: a class is a whole",
  ],
  "a label without scores": [() => topK([1, 2], [2], { k: 1 }), "Cannot count the label 2: there are 2 classes"],
  "scores that are NaN": [() => accuracy([1, NaN], [0]), "Cannot rank scores: example 0 has NaN for class 1"],
  "a ROC curve of one class": [
    () => rocCurve([1, 2], [1, 1]),
    "Cannot rank 2 scores: it takes examples of both classes",
  ],
  "a ROC curve of three classes": [() => auc([1, 2], [0, 2]), "Cannot rank the label 2: it must be 0 or 1"],
  "no losses": [() => perplexity([]), "Cannot take the perplexity of no losses"],
  "one row of features": [() => gaussianOf([1, 2], { dimensions: 2 }), "Cannot describe 2 features of 2 dimensions"],
};

for (const [what, [call, message]] of Object.entries(MISTAKES)) {
  Deno.test(`${what} is an error`, () => void assertThrows(call, tn.ArgumentError, message));
}
