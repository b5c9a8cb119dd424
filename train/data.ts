/**
 * Data on its way into a training: where it comes from, and one epoch of it as batches of tensors.
 *
 * ```text
 *  IDX, CSV, text, arrays ──> dataset (typed arrays by name) ──> batches ──> { images: Tensor, labels: Tensor }
 * ```
 *
 * @module
 */
export {
  count,
  type Dataset,
  divide,
  type DivideOptions,
  type HostArray,
  hostArray,
  type HostData,
  type NestedNumbers,
  type Range,
  slice,
  take,
} from "./data/dataset.ts";
export {
  type Batch,
  batches,
  type BatchesOptions,
  type BatchSizes,
  type Position,
  stepsPerEpoch,
} from "./data/batches.ts";
export { type Random, random } from "./data/random.ts";
export { randomShift, type RandomShiftOptions, toFloat, type ToFloatOptions } from "./data/images.ts";
export { readBytes, readText, type Source } from "./data/source.ts";
export { readIdx } from "./data/idx.ts";
export { type Categories, categories, type CsvOptions, numbers, parseCsv, readCsv, type Table } from "./data/csv.ts";
export {
  charactersOf,
  streams,
  type StreamsOptions,
  type Vocabulary,
  vocabulary,
  type VocabularyOptions,
  type Windows,
  windows,
  type WindowsOptions,
} from "./data/text.ts";
