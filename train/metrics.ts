/**
 * How good a model is, in numbers: functions on the host, of what a model said and what was right.
 *
 * Sums are taken in 64 bits. A tensor is read at once, which `cpu` and `wasm` can; elsewhere pass `await t.data()`.
 *
 * @module
 */
export {
  accuracy,
  confusionMatrix,
  type MacroPrecisionRecall,
  macroPrecisionRecall,
  type Numbers,
  type PrecisionRecall,
  precisionRecall,
  topK,
} from "./metrics/classification.ts";
export { auc, rocCurve, type RocPoint } from "./metrics/ranking.ts";
export { perplexity } from "./metrics/perplexity.ts";
export { frechetDistance, type Gaussian, gaussianOf } from "./metrics/frechet.ts";
