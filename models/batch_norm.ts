/**
 * Batch normalization with running averages, without hidden state: the averages go in and come out.
 *
 * ```text
 *                 normalized by                                       running averages
 * training        mean and variance of the batch                      moved towards those of the batch
 * inference       running averages                                    as they are
 * ```
 * As in PyTorch, the running variance is the unbiased one (divided by n - 1), while a batch is normalized by its own
 * biased one.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, batchNorm, type BatchStatistics, batchStatistics, mul, ones, zeros } from "../ops/mod.ts";

export type { BatchStatistics };

/** What is learned of a normalization: C is the number of channels. */
export interface BatchNormParams {
  /** `[C]` */
  readonly scale: Tensor;
  /** `[C]` */
  readonly shift: Tensor;
}

/** Part of the way that running averages go towards the statistics of a batch. */
const MOMENTUM = 0.1;

/** Scale one, shift zero. */
export function initBatchNorm(channels: number): BatchNormParams {
  return { scale: ones([channels]), shift: zeros([channels]) };
}

/** Averages before the first batch: mean zero, variance one. */
export function initStatistics(channels: number): BatchStatistics {
  return { mean: zeros([channels]), variance: ones([channels]) };
}

/**
 * Normalizes `x`, `[B, C, H, W]`, by its batch where `training`, by the running averages otherwise.
 *
 * @returns The normalized values, and the running averages that replace `running`.
 * @throws {ArgumentError} If a channel has a single value in training: nothing could be said of its spread.
 * @see https://arxiv.org/abs/1502.03167
 */
export function trackBatchNorm(
  x: Tensor,
  params: BatchNormParams,
  { running, training }: { readonly running: BatchStatistics; readonly training: boolean },
): [y: Tensor, running: BatchStatistics] {
  if (!training) return [batchNorm(x, params, { statistics: running }), running];
  const count = x.size / x.shape[1]; // values of a channel
  if (count < 2) {
    throw new ArgumentError(`Cannot normalize a batch ${show(x.shape)} in training: a channel needs at least 2 values`);
  }
  return scope(() => {
    const { mean, variance } = batchStatistics(x);
    const towards = (from: Tensor, to: Tensor, by = MOMENTUM) => add(mul(from, 1 - MOMENTUM), mul(to, by));
    return [batchNorm(x, params), {
      mean: towards(running.mean, mean),
      variance: towards(running.variance, variance, MOMENTUM * count / (count - 1)),
    }];
  });
}
