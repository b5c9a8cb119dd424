/**
 * Optimizers, the links before them, and learning rate schedules.
 *
 * @module
 */
export {
  chain,
  type DecayMask,
  type Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type Rule,
  type RuleCall,
  ruleOptimizer,
} from "./optimizer.ts";
export {
  adadelta,
  type AdadeltaOptions,
  adam,
  type AdamOptions,
  adamw,
  lion,
  type LionOptions,
  rmsprop,
  type RmspropOptions,
  sgd,
  type SgdOptions,
} from "./optimizers.ts";
export { accumulate, type AccumulateOptions } from "./accumulate.ts";
export { clipByGlobalNorm, globalNorm } from "./clip.ts";
export {
  lossScaled,
  type LossScaleOptions,
  type LossScaleState,
  type ScaledGradOptions,
  scaledValueAndGrad,
} from "./loss_scale.ts";
export { allFinite, castFloats } from "./precision.ts";
export * as schedules from "./schedules.ts";
export type { Schedule } from "./schedules.ts";
