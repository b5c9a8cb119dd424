/**
 * Losses: composites that end in one number, or in one number per example.
 *
 * @module
 */
import { FLOATS, INTEGERS, requireDType } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { sameShape, show, size, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota } from "./create.ts";
import {
  abs,
  add,
  cast,
  div,
  equal,
  exp,
  lessEqual,
  log,
  log1p,
  mul,
  neg,
  notEqual,
  sigmoid,
  square,
  sub,
  where,
} from "./elementwise.ts";
import { max } from "./extremum.ts";
import { mean, sum } from "./reduce.ts";
import { expandDims, squeeze } from "./shape.ts";
import { softmax } from "./softmax.ts";

/** What becomes of the losses of single elements: their mean, their sum, or themselves. */
export type Reduction = "mean" | "sum" | "none";

/** Option of every loss. */
export interface LossOptions {
  /** `"mean"` by default. */
  readonly reduction?: Reduction;
}

/** Attributes of the losses of two tensors of one shape. */
export interface LossAttrs {
  readonly reduction: Reduction;
}

function requireReduction(reduction: string, allowed: readonly string[] = ["mean", "sum", "none"]): void {
  if (!allowed.includes(reduction)) {
    throw new ArgumentError(`Cannot reduce a loss by "${reduction}": it must be one of ${allowed.join(", ")}`);
  }
}

/** `values`, their sum or their mean. */
function reduced(values: Tensor, reduction: Reduction): Tensor {
  return reduction === "none" ? values : reduction === "sum" ? sum(values) : mean(values);
}

/** A gradient of the reduced loss as one of every element: the adjoint of {@linkcode reduced}. */
function spread(grad: Tensor, reduction: Reduction, shape: readonly number[]): Tensor {
  return reduction === "mean" ? div(grad, size(shape)) : grad;
}

/** An elementwise loss of two float tensors of the same shape; `loss` is given both and the attributes. */
function elementwiseLoss<A extends LossAttrs>(
  name: string,
  action: string,
  loss: (prediction: Tensor, target: Tensor, attrs: A) => Tensor,
  vjp?: Op<2, A>["vjp"],
): Op<2, A> {
  return {
    name,
    infer([prediction, target], { reduction }): Spec {
      requireDType(name, prediction.dtype, FLOATS);
      requireSameDType(action, prediction, target);
      if (!sameShape(prediction.shape, target.shape)) {
        throw new ShapeError(
          `Cannot ${action} ${show(prediction.shape)} and ${show(target.shape)}: the shapes must be equal`,
        );
      }
      return { shape: reduction === "none" ? prediction.shape : [], dtype: prediction.dtype };
    },
    body: ([prediction, target], attrs) => reduced(loss(prediction, target, attrs), attrs.reduction),
    ...(vjp && { vjp }),
  };
}

/** Attributes of {@linkcode crossEntropyOp}. */
export interface CrossEntropyAttrs extends LossAttrs {
  readonly ignoreIndex: number | null;
  readonly labelSmoothing: number;
}

const ROW = { axis: -1, keepDims: true } as const;

/** Labels as a column `[..., 1]`, and where they stand in a row `[..., V]`. */
function compareLabels(logits: Tensor, labels: Tensor): { column: Tensor; hit: Tensor } {
  const column = expandDims(labels, -1), axis = logits.rank - 1;
  const row = logits.shape.map((n, i) => i === axis ? n : 1); // [1, ..., V]
  return { column, hit: equal(iota(row, axis, labels.dtype, logits.backend), column) };
}

/** `-log softmax(logits)[label]` of every row; logits `[..., V]`, labels `[...]`. */
export const crossEntropyOp: Op<2, CrossEntropyAttrs> = {
  name: "crossEntropy",
  infer([logits, labels], { reduction }) {
    requireDType("crossEntropy", logits.dtype, FLOATS);
    requireDType("crossEntropy with labels", labels.dtype, INTEGERS);
    if (logits.shape.length === 0 || !sameShape(logits.shape.slice(0, -1), labels.shape)) {
      throw new ShapeError(
        `Cannot take the cross-entropy of logits ${show(logits.shape)} and labels ${show(labels.shape)}: ` +
          `the labels need the shape ${show(logits.shape.slice(0, -1))}`,
      );
    }
    return { shape: reduction === "none" ? labels.shape : [], dtype: logits.dtype };
  },
  // log Σ eˣ - Σ target · x, where the target is 1 - smoothing at the label plus smoothing / V everywhere
  body([logits, labels], { ignoreIndex, labelSmoothing, reduction }) {
    const { column, hit } = compareLabels(logits, labels);
    const peak = max(logits, ROW);
    const logSum = add(log(sum(exp(sub(logits, peak)), ROW)), peak); // [..., 1]
    const picked = max(where(hit, logits, -Infinity), ROW); // of probability 0 if the label is no class
    const expected = labelSmoothing === 0
      ? picked
      : add(mul(picked, 1 - labelSmoothing), mul(mean(logits, ROW), labelSmoothing));
    const loss = sub(logSum, expected);
    if (ignoreIndex === null) return reduced(squeeze(loss, -1), reduction);
    const counted = notEqual(column, ignoreIndex);
    const kept = squeeze(where(counted, loss, 0), -1);
    return reduction === "mean" ? div(sum(kept), sum(cast(counted, logits.dtype))) : reduced(kept, reduction);
  },
  // dlogits = (softmax - target) · dy, divided by the number of rows that count
  vjp({ inputs: [logits, labels], grad, attrs: { ignoreIndex, labelSmoothing, reduction } }) {
    const { column, hit } = compareLabels(logits, labels);
    const smooth = labelSmoothing / logits.shape[logits.rank - 1];
    const error = sub(softmax(logits), add(mul(cast(hit, logits.dtype), 1 - labelSmoothing), smooth)); // [..., V]
    const dy = reduction === "none" ? expandDims(grad, -1) : grad;
    if (ignoreIndex === null) return [mul(error, spread(dy, reduction, labels.shape)), null];
    const counted = notEqual(column, ignoreIndex);
    const share = reduction === "mean" ? div(dy, sum(cast(counted, logits.dtype))) : dy;
    return [mul(error, where(counted, share, 0)), null];
  },
};

/** Options of {@linkcode crossEntropy}. */
export interface CrossEntropyOptions extends LossOptions {
  /** Rows with this label cost nothing and do not count in the mean; none by default. */
  readonly ignoreIndex?: number;
  /** Share of the target that is spread over all classes; 0 by default. */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of whole-number labels: `-log softmax(logits)[label]`.
 *
 * @param logits `[..., V]`, f32 or f16.
 * @param labels `[...]`, i32 or u32. A label that is no class has probability 0: its loss is infinite.
 * @returns A scalar, or `[...]` with reduction `"none"`. The mean is over the rows that count, NaN if there are none.
 * @throws {ShapeError} If the labels do not have the logits' shape without its last axis.
 * @throws {DTypeError} If the labels are no integers.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const logits = tn.tensor([[0, 0], [Math.log(3), 0]]);
 * const labels = tn.tensor([1, 0], { dtype: "i32" });
 * const loss = tn.crossEntropy(logits, labels, { reduction: "sum" });
 * assertAlmostEquals(await loss.item(), Math.log(2) + Math.log(4 / 3), 1e-6);
 * ```
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { ignoreIndex = null, labelSmoothing = 0, reduction = "mean" } = options;
  requireReduction(reduction);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError(`Cannot smooth labels by ${labelSmoothing}: it must be from 0 to 1`);
  }
  return bind(crossEntropyOp, [logits, labels], { ignoreIndex, labelSmoothing, reduction });
}

/** `max(x, 0) - x·t + log(1 + e^-|x|)`: `-t·log σ(x) - (1-t)·log(1 - σ(x))` without overflow. */
export const binaryCrossEntropyWithLogitsOp: Op<2, LossAttrs> = elementwiseLoss(
  "binaryCrossEntropyWithLogits",
  "take the binary cross-entropy of",
  (x, t) => add(sub(max(x, 0), mul(x, t)), log1p(exp(neg(abs(x))))),
  // dx = (σ(x) - t) · dy,  dt = -x · dy
  ({ inputs: [x, t], grad, attrs: { reduction }, wanted }) => {
    const dy = spread(grad, reduction, x.shape);
    return [wanted[0] ? mul(sub(sigmoid(x), t), dy) : null, wanted[1] ? mul(neg(x), dy) : null];
  },
);

/**
 * Binary cross-entropy of logits: `-t·log σ(x) - (1-t)·log(1 - σ(x))`, without overflow.
 *
 * @param logits Any shape, f32 or f16.
 * @param targets The same shape and dtype, from 0 to 1.
 * @returns A scalar, or the shape of the inputs with reduction `"none"`.
 * @throws {ShapeError} If the shapes differ.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const loss = tn.binaryCrossEntropyWithLogits(tn.tensor([0, 100]), tn.tensor([1, 1]));
 * assertAlmostEquals(await loss.item(), Math.log(2) / 2, 1e-6);
 * ```
 */
export function binaryCrossEntropyWithLogits(logits: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = "mean" } = options;
  requireReduction(reduction);
  return bind(binaryCrossEntropyWithLogitsOp, [logits, targets], { reduction });
}

/** `(prediction - target)²`. */
export const meanSquaredErrorOp: Op<2, LossAttrs> = elementwiseLoss(
  "meanSquaredError",
  "take the squared error of",
  (prediction, target) => square(sub(prediction, target)),
);

/**
 * Mean of squared differences.
 *
 * @param prediction Any shape, f32 or f16.
 * @param target The same shape and dtype.
 * @returns A scalar, or the shape of the inputs with reduction `"none"`.
 * @throws {ShapeError} If the shapes differ.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.meanSquaredError(tn.tensor([1, 2]), tn.tensor([1, 4])).item(), 2);
 * ```
 */
export function meanSquaredError(prediction: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction = "mean" } = options;
  requireReduction(reduction);
  return bind(meanSquaredErrorOp, [prediction, target], { reduction });
}

/** `d²/2` where `|d| <= delta`, else `delta · (|d| - delta/2)`, with `d = prediction - target`. */
export const huberOp: Op<2, LossAttrs & { readonly delta: number }> = elementwiseLoss(
  "huber",
  "take the Huber loss of",
  (prediction, target, { delta }) => {
    const difference = sub(prediction, target), distance = abs(difference);
    return where(lessEqual(distance, delta), mul(square(difference), 0.5), mul(sub(distance, delta / 2), delta));
  },
);

/**
 * Huber loss: squared near 0, linear beyond `delta` (Huber 1964).
 *
 * @param prediction Any shape, f32 or f16.
 * @param target The same shape and dtype.
 * @param options `delta` is 1 by default.
 * @returns A scalar, or the shape of the inputs with reduction `"none"`.
 * @throws {ShapeError} If the shapes differ.
 * @throws {ArgumentError} If `delta` is not positive.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const loss = tn.huber(tn.tensor([1, 10]), tn.tensor([0, 0]), { reduction: "none" });
 * assertEquals(await loss.array(), [0.5, 9.5]);
 * ```
 */
export function huber(
  prediction: Tensor,
  target: Tensor,
  { delta = 1, reduction = "mean" }: LossOptions & { readonly delta?: number } = {},
): Tensor {
  requireReduction(reduction);
  if (!(delta > 0)) throw new ArgumentError(`Cannot take the Huber loss with delta ${delta}: it must be positive`);
  return bind(huberOp, [prediction, target], { delta, reduction });
}

/** `target · (log target - x)`, 0 where the target is 0; with `logTarget` the target is a logarithm too. */
export const klDivergenceOp: Op<2, LossAttrs & { readonly logTarget: boolean }> = elementwiseLoss(
  "klDivergence",
  "take the divergence of",
  (x, target, { logTarget }) => {
    if (logTarget) return mul(exp(target), sub(target, x));
    const none = equal(target, 0);
    return where(none, 0, mul(target, sub(log(where(none, 1, target)), x)));
  },
);

/** Options of {@linkcode klDivergence}. */
export interface KlDivergenceOptions {
  /** `"mean"` (over all elements) by default; `"batchMean"` divides the sum by the size of the first axis. */
  readonly reduction?: Reduction | "batchMean";
  /** The target holds logarithms of probabilities; false by default. */
  readonly logTarget?: boolean;
}

/**
 * Kullback-Leibler divergence, element by element: `target · (log target - logProbabilities)`.
 *
 * @param logProbabilities Logarithms, as {@linkcode logSoftmax} gives them; any shape, f32 or f16.
 * @param target Probabilities (or logarithms, with `logTarget`); the same shape and dtype.
 * @returns A scalar, or the shape of the inputs with reduction `"none"`.
 * @throws {ShapeError} If the shapes differ.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const p = tn.tensor([[0.5, 0.5]]), q = tn.log(tn.tensor([[0.25, 0.75]]));
 * assertAlmostEquals(await tn.klDivergence(q, p, { reduction: "batchMean" }).item(), 0.143841, 1e-5);
 * ```
 */
export function klDivergence(logProbabilities: Tensor, target: Tensor, options: KlDivergenceOptions = {}): Tensor {
  const { reduction = "mean", logTarget = false } = options;
  requireReduction(reduction, ["mean", "sum", "none", "batchMean"]);
  if (reduction !== "batchMean") return bind(klDivergenceOp, [logProbabilities, target], { reduction, logTarget });
  if (logProbabilities.rank === 0) throw new ShapeError('Cannot reduce a scalar by "batchMean": it has no batch');
  using total = bind(klDivergenceOp, [logProbabilities, target], { reduction: "sum", logTarget });
  return div(total, target.shape[0]);
}
