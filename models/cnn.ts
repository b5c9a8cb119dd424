/**
 * A plain convolutional classifier, all in this file: blocks of convolution, norm, activation and pool, then dense
 * layers.
 *
 * ```text
 * images ─> [ conv ─> norm ─> activation ─> pool ─> dropout ] × blocks ─> flatten ─> [ linear ─> activation ] ─> linear
 * ```
 * In shape comments: B batch, C channels, H height, W width, D features, K classes.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  avgPool,
  conv,
  crossEntropy,
  dropout,
  gelu,
  type Key,
  linear,
  maxPool,
  normal,
  relu,
  reshape,
  silu,
  split,
  tanh,
  zeros,
} from "../ops/mod.ts";
import {
  type BatchNormParams,
  type BatchStatistics,
  initBatchNorm,
  initStatistics,
  trackBatchNorm,
} from "./batch_norm.ts";

export type { BatchNormParams, BatchStatistics };

/** What follows a sum of products. */
export type Activation = "relu" | "gelu" | "silu" | "tanh";

const ACTIVATIONS: Readonly<Record<Activation, (x: Tensor) => Tensor>> = { relu, gelu, silu, tanh };

/** A pool: windows that do not overlap. */
export interface PoolConfig {
  /** What is taken of each window: its largest value or its mean. */
  readonly kind: "max" | "average";
  /** Side of the window. */
  readonly size: number;
}

const POOLS: Readonly<Record<PoolConfig["kind"], (x: Tensor, size: number) => Tensor>> = {
  max: maxPool,
  average: avgPool,
};

/** A block. */
export interface BlockConfig {
  /** Channels that leave the block. */
  readonly channels: number;
  /** Side of the filters; 3 by default. */
  readonly kernel?: number;
  /** Distance between two places of the filters; 1 by default. */
  readonly stride?: number;
  /** Zeros around the image; by default as many as keep its size at stride 1 (of an odd kernel). */
  readonly padding?: number;
  /** Batch normalization, or none (the default; the convolution then has a bias). */
  readonly norm?: "batch" | "none";
  /** `relu` by default. */
  readonly activation?: Activation;
  /** None by default. */
  readonly pool?: PoolConfig;
  /** Part of the values that leave the block which is dropped in training; 0 by default. */
  readonly dropout?: number;
}

/** A dense layer between the last block and the logits. */
export interface DenseConfig {
  /** Its width. */
  readonly features: number;
  /** `relu` by default. */
  readonly activation?: Activation;
  /** Part of the features that is dropped in training; 0 by default. */
  readonly dropout?: number;
}

/** Sizes and choices of a model. */
export interface CnnConfig {
  /** Of an image. */
  readonly input: { readonly channels: number; readonly height: number; readonly width: number };
  /** In the order in which they are applied. */
  readonly blocks: readonly BlockConfig[];
  /** In the order in which they are applied; none by default. */
  readonly dense?: readonly DenseConfig[];
  /** Number of classes, K. */
  readonly classes: number;
}

/** A block's parameters; kh and kw are the filter's sides. */
export interface BlockParams {
  /** Weight `[out, in, kh, kw]`; bias `[out]`, where no norm follows. */
  readonly conv: { readonly weight: Tensor; readonly bias?: Tensor };
  /** Where the block has one. */
  readonly norm?: BatchNormParams;
}

/** A linear layer. */
export interface LinearParams {
  /** `[in, out]` */
  readonly weight: Tensor;
  /** `[out]` */
  readonly bias: Tensor;
}

/** Parameters, as plain data: what is learned by gradients. */
export interface CnnParams {
  /** In the order in which they are applied. */
  readonly blocks: readonly BlockParams[];
  /** In the order in which they are applied; the last one makes the logits. */
  readonly dense: readonly LinearParams[];
}

/** Running averages of the blocks that have a batch norm, in order: what is learned by looking. */
export type CnnState = readonly BatchStatistics[];

/** Everything there is to a trained model. */
export interface Cnn {
  /** Learned by gradients. */
  readonly params: CnnParams;
  /** Learned by looking. */
  readonly state: CnnState;
}

/** What {@linkcode loss} takes. */
export interface CnnBatch {
  /** `[B, C, H, W]` f32 */
  readonly images: Tensor;
  /** `[B]` i32, each in `[0, K)`. */
  readonly labels: Tensor;
  /** Running averages so far. */
  readonly state: CnnState;
  /** For dropout; without it nothing is dropped. */
  readonly key?: Key;
}

/**
 * Networks for MNIST.
 *
 * - `mnist` is quick to train: three blocks with batch norms, each half the size of the one before.
 * - `pytorch-mnist` is that of PyTorch's examples (https://github.com/pytorch/examples/tree/main/mnist).
 */
export const presets: Readonly<Record<"mnist" | "pytorch-mnist", CnnConfig>> = {
  "mnist": {
    input: { channels: 1, height: 28, width: 28 },
    blocks: [
      { channels: 16, norm: "batch", pool: { kind: "max", size: 2 } }, // 28 x 28 -> 14 x 14
      { channels: 32, norm: "batch", pool: { kind: "max", size: 2 } }, // -> 7 x 7
      { channels: 64, norm: "batch", pool: { kind: "max", size: 2 } }, // -> 3 x 3
    ],
    dense: [{ features: 128, dropout: 0.25 }],
    classes: 10,
  },
  "pytorch-mnist": {
    input: { channels: 1, height: 28, width: 28 },
    blocks: [
      { channels: 32, padding: 0 }, // 28 x 28 -> 26 x 26
      { channels: 64, padding: 0, pool: { kind: "max", size: 2 }, dropout: 0.25 }, // -> 24 x 24 -> 12 x 12
    ],
    dense: [{ features: 128, dropout: 0.5 }],
    classes: 10,
  },
};

/**
 * Number of parameters; running averages do not count.
 *
 * @example
 * ```ts
 * import { parameterCount, presets } from "@tenon/ml/models/cnn";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parameterCount(presets["pytorch-mnist"]), 1_199_882);
 * ```
 */
export function parameterCount(config: CnnConfig): number {
  const blocks = config.blocks.map(({ channels, kernel = 3, norm }, i) =>
    channels * (channelsInto(config, i) * kernel ** 2 + (norm === "batch" ? 2 : 1))
  );
  const widths = denseWidths(config);
  const dense = widths.slice(1).map((to, i) => (widths[i] + 1) * to);
  return [...blocks, ...dense].reduce((sum, count) => sum + count, 0);
}

/** Channels of what block `i` gets. */
function channelsInto({ input, blocks }: CnnConfig, i: number): number {
  return i === 0 ? input.channels : blocks[i - 1].channels;
}

/** What of the block's choices is not written out. */
function slidingOf({ kernel = 3, stride = 1, padding = Math.floor(kernel / 2) }: BlockConfig) {
  return { kernel, stride, padding };
}

/** Features between the layers: after the last block, after each dense layer, logits. */
function denseWidths(config: CnnConfig): readonly number[] {
  const { input, blocks, dense = [], classes } = config;
  const leave = (side: number, block: BlockConfig): number => {
    const { kernel, stride, padding } = slidingOf(block);
    const places = Math.floor((side + 2 * padding - kernel) / stride) + 1;
    return Math.floor(places / (block.pool?.size ?? 1));
  };
  const [height, width] = [input.height, input.width].map((side) => blocks.reduce(leave, side));
  if (!(height > 0 && width > 0)) {
    throw new ArgumentError(
      `Cannot make a CNN of ${blocks.length} blocks for images ${show([input.height, input.width])}: ` +
        `the last block leaves ${show([height, width])}`,
    );
  }
  const channels = channelsInto(config, blocks.length);
  return [channels * height * width, ...dense.map(({ features }) => features), classes];
}

/**
 * A fresh model, drawn from `key`: weights from a normal distribution of variance 2 / inputs (He et al. 2015,
 * arXiv:1502.01852), the last layer's half of that; biases zero.
 *
 * @throws {ArgumentError} If an image is too small for the blocks, or a dropout is not in [0, 1).
 * @example
 * ```ts
 * import { key, tensor, use, valueAndGrad, zeros } from "@tenon/ml";
 * import * as cnn from "@tenon/ml/models/cnn";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: cnn.CnnConfig = {
 *   input: { channels: 1, height: 8, width: 8 },
 *   blocks: [{ channels: 4, norm: "batch", pool: { kind: "max", size: 2 } }],
 *   classes: 3,
 * };
 * const { params, state } = cnn.init(key(0), config);
 * const images = zeros([2, 1, 8, 8]), labels = tensor([0, 2], { dtype: "i32" });
 * assertEquals(cnn.apply({ params, state }, images, config).shape, [2, 3]);
 *
 * const [[loss, next], grads] = valueAndGrad(cnn.loss, { hasAux: true })(params, { images, labels, state }, config);
 * assertEquals(loss.shape, []);
 * assertEquals(next[0].mean.shape, [4]); // running averages after this batch
 * assertEquals(grads.blocks[0].conv.weight.shape, [4, 1, 3, 3]);
 * ```
 */
export function init(key: Key, config: CnnConfig): Cnn {
  const { blocks, dense = [] } = config, widths = denseWidths(config);
  for (const { dropout: rate = 0 } of [...blocks, ...dense]) {
    if (!(rate >= 0 && rate < 1)) {
      throw new ArgumentError(`Cannot make a CNN with dropout ${rate}: it must be in [0, 1)`);
    }
  }
  return scope(() => {
    const keys = split(key, blocks.length + widths.length - 1);
    const denseKeys = keys.slice(blocks.length);
    const params: CnnParams = {
      blocks: blocks.map((block, i) => initBlock(keys[i], channelsInto(config, i), block)),
      dense: denseKeys.map((key, i) => initLinear(key, widths[i], widths[i + 1], i + 1 === denseKeys.length ? 1 : 2)),
    };
    const normalized = blocks.filter(({ norm }) => norm === "batch");
    return { params, state: normalized.map(({ channels }) => initStatistics(channels)) };
  });
}

function initBlock(key: Key, from: number, { channels, kernel = 3, norm = "none" }: BlockConfig): BlockParams {
  const weight = normal(key, [channels, from, kernel, kernel], { std: Math.sqrt(2 / (from * kernel ** 2)) });
  return norm === "batch"
    ? { conv: { weight }, norm: initBatchNorm(channels) }
    : { conv: { weight, bias: zeros([channels]) } };
}

function initLinear(key: Key, from: number, to: number, gain: number): LinearParams {
  return { weight: normal(key, [from, to], { std: Math.sqrt(gain / from) }), bias: zeros([to]) };
}

/**
 * Logits of a trained model: images `[B, C, H, W]` -> `[B, K]`.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function apply(model: Cnn, images: Tensor, config: CnnConfig): Tensor {
  return scope(() => readOut(model.params, features(model, images, config)));
}

/** What the last layer of a trained model looks at: images `[B, C, H, W]` -> `[B, D]`. */
export function features({ params, state }: Cnn, images: Tensor, config: CnnConfig): Tensor {
  return scope(() => encode(params, images, config, { state, training: false })[0]);
}

/**
 * Logits in training, images `[B, C, H, W]` -> `[B, K]`, and the running averages that replace the model's: batch norms
 * look at the batch, and with a `key`, dropout is on.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function applyTraining(
  { params, state }: Cnn,
  images: Tensor,
  config: CnnConfig,
  key?: Key,
): [Tensor, CnnState] {
  return scope(() => {
    const [x, next] = encode(params, images, config, { state, training: true, key });
    return [readOut(params, x), next];
  });
}

/** Mean cross-entropy in training, in nats, and the next running averages: differentiate it with `hasAux`. */
export function loss(
  params: CnnParams,
  { images, labels, state, key }: CnnBatch,
  config: CnnConfig,
): readonly [loss: Tensor, state: CnnState] {
  const [logits, next] = applyTraining({ params, state }, images, config, key);
  return [crossEntropy(logits, labels), next];
}

/** How a model is run. */
interface Run {
  readonly state: CnnState;
  readonly training: boolean;
  readonly key?: Key;
}

/** Everything but the last layer: images `[B, C, H, W]` -> `[B, D]`. */
function encode(
  params: CnnParams,
  images: Tensor,
  config: CnnConfig,
  { state, training, key }: Run,
): [features: Tensor, state: CnnState] {
  const { input: { channels, height, width }, blocks, dense = [] } = config;
  if (images.rank !== 4 || show(images.shape.slice(1)) !== show([channels, height, width])) {
    throw new ShapeError(
      `Cannot apply a CNN to images ${show(images.shape)}: it takes [batch,${channels},${height},${width}]`,
    );
  }
  const keys = key ? split(key, blocks.length + dense.length) : [];
  const next: BatchStatistics[] = [];
  let x = images; // [B, C, H, W]
  for (const [i, block] of blocks.entries()) {
    const [y, running] = applyBlock(params.blocks[i], x, block, { running: state[next.length], training });
    x = drop(y, block.dropout, keys[i]);
    if (running) next.push(running);
  }
  x = reshape(x, [x.shape[0], -1]); // [B, D]
  for (const [i, layer] of dense.entries()) {
    x = ACTIVATIONS[layer.activation ?? "relu"](linear(x, params.dense[i])); // [B, features]
    x = drop(x, layer.dropout, keys[blocks.length + i]);
  }
  return [x, next];
}

/** `[B, in, H, W]` -> `[B, channels, ...]`, and the next running averages where there is a norm. */
function applyBlock(
  { conv: { weight, bias }, norm }: BlockParams,
  x: Tensor,
  config: BlockConfig,
  averages: { readonly running: BatchStatistics; readonly training: boolean },
): [y: Tensor, running?: BatchStatistics] {
  const { stride, padding } = slidingOf(config), { activation = "relu", pool } = config;
  const z = conv(x, weight, { stride, padding, bias }); // [B, channels, ...]
  const [normalized, running] = norm ? trackBatchNorm(z, norm, averages) : [z];
  const y = ACTIVATIONS[activation](normalized);
  return [pool ? POOLS[pool.kind](y, pool.size) : y, running]; // [B, channels, ... / pool]
}

/** Features `[B, D]` -> logits `[B, K]`. */
function readOut({ dense }: CnnParams, x: Tensor): Tensor {
  return linear(x, dense[dense.length - 1]);
}

function drop(x: Tensor, rate = 0, key: Key | undefined): Tensor {
  return key && rate > 0 ? dropout(x, key, { rate }) : x;
}
