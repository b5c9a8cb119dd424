/**
 * Every op, by its public name.
 *
 * @module
 */
export {
  arange,
  type ArangeOptions,
  type CreateOptions,
  eye,
  type EyeOptions,
  full,
  linspace,
  type LinspaceOptions,
  ones,
  onesLike,
  tensor,
  type TensorOptions,
  zeros,
  zerosLike,
} from "./create.ts";

export { abs, add, div, mod, mul, neg, sign, sub } from "./arithmetic.ts";
export { equal, greater, greaterEqual, isFinite, isNaN, less, lessEqual, notEqual } from "./compare.ts";
export { erf, exp, expm1, log, log1p, log2, sigmoid, tanh } from "./exponential.ts";
export { and, not, or, shiftLeft, shiftRight, xor } from "./logic.ts";
export { pow, reciprocal, rsqrt, sqrt, square } from "./powers.ts";
export { ceil, floor, round } from "./rounding.ts";
export { cast, clamp, type ClampOptions, where } from "./select.ts";
export { cos, sin, tan } from "./trigonometry.ts";

export { argmax, argmin, type ArgOptions } from "./argmax.ts";
export { type CumulativeOptions, cumulativeSum } from "./cumulative.ts";
export { max, min } from "./extremum.ts";
export { prod } from "./product.ts";
export { all, any, mean, type ReduceOptions, sum } from "./reduce.ts";
export { logSumExp, norm, type NormOptions, variance, type VarianceOptions } from "./statistics.ts";

export { einsum } from "./einsum.ts";
export { dot, matmul, type MatmulOptions, outer } from "./matmul.ts";

export { concat, pad, type PadOptions, type PadWidths, stack } from "./join.ts";
export { repeat, type RepeatOptions, tile } from "./repeat.ts";
export { broadcastTo, expandDims, reshape, squeeze, transpose } from "./shape.ts";
export { type Bound, flip, slice, type SliceOptions } from "./slice.ts";
export { split, type SplitOptions } from "./split.ts";

export {
  gather,
  gatherElements,
  indexAdd,
  type IndexOptions,
  oneHot,
  type OneHotOptions,
  scatterAdd,
} from "./index.ts";
export { updateSlice } from "./update.ts";
export { argsort, sort, type SortOptions, topK, type TopKOptions } from "./sort.ts";

export { conv, type ConvOptions, convTranspose, type ConvTransposeOptions } from "./conv.ts";
export { avgPool, type AvgPoolOptions, globalAvgPool, maxPool, type MaxPoolOptions } from "./pool.ts";
export { upsample, type UpsampleOptions } from "./upsample.ts";
export { type Padding, type PerAxis, type SlidingOptions } from "./window.ts";

export { elu, gelu, leakyRelu, relu, silu, softplus } from "./activation.ts";
export { attention, type AttentionOptions } from "./attention.ts";
export { dropout, embedding, linear, type LinearParams } from "./linear.ts";
export {
  batchNorm,
  type BatchNormOptions,
  type BatchStatistics,
  batchStatistics,
  groupNorm,
  layerNorm,
  type NormParams,
  rmsNorm,
} from "./norm.ts";
export { gruCell, lstmCell, type LstmState, type RecurrentParams, rnnCell } from "./recurrent.ts";
export { rotary, type RotaryOptions } from "./rotary.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export {
  binaryCrossEntropyWithLogits,
  crossEntropy,
  type CrossEntropyOptions,
  huber,
  klDivergence,
  type KlDivergenceOptions,
  type LossOptions,
  meanSquaredError,
  type Reduction,
} from "./loss.ts";

export { categorical, permutation, randint } from "./choice.ts";
export { bernoulli, key, normal, randomBits, truncatedNormal, uniform } from "./random.ts";
export { type Key } from "./threefry.ts";
