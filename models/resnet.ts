/**
 * Residual networks (He et al. 2015, https://arxiv.org/abs/1512.03385), all in this file: ResNet-18, -34, -50 and small
 * ones for small images.
 *
 * ```text
 * images ─> stem ─> [ block ─> block ─> ... ] × stages ─> mean over the image ─> linear ─> logits
 *
 * block:  x ─> conv ─> norm ─> relu ─> conv ─> norm ─> + ─> relu        (basic: 3x3, 3x3; bottleneck: 1x1, 3x3, 1x1)
 *         └─────── itself, or conv 1x1 ─> norm ────────┘
 * ```
 * Every stage but the first halves the image and doubles the channels. Weights, their order and the place of the
 * strides (in a bottleneck's 3x3) are torchvision's. In shape comments: B batch, C channels, H height, W width,
 * K classes.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, conv, crossEntropy, type Key, linear, maxPool, mean, normal, relu, split, uniform } from "../ops/mod.ts";
import {
  type BatchNormParams,
  type BatchStatistics,
  initBatchNorm,
  initStatistics,
  trackBatchNorm,
} from "./batch_norm.ts";

export type { BatchNormParams, BatchStatistics };

/** Sizes and choices of a model. */
export interface ResnetConfig {
  /** Channels of an image; 3 by default. */
  readonly channels?: number;
  /** `imagenet`: 7x7 of stride 2, then a pool of stride 2, for large images. `cifar`: 3x3 for small ones. */
  readonly stem: "imagenet" | "cifar";
  /** `basic`: two 3x3. `bottleneck`: 1x1, 3x3, and a 1x1 to four times the channels. */
  readonly block: "basic" | "bottleneck";
  /** Number of blocks in each stage. */
  readonly stages: readonly number[];
  /** Channels of the first stage (of its 3x3 convolutions); 64 by default. */
  readonly width?: number;
  /** Number of classes, K. */
  readonly classes: number;
}

/** A convolution without a bias, and the batch norm after it. */
export interface UnitParams {
  /** `[out, in, kh, kw]` */
  readonly weight: Tensor;
  /** Of the channels that come out. */
  readonly norm: BatchNormParams;
}

/** A residual block. */
export interface BlockParams {
  /** Two of them, or three in a bottleneck. */
  readonly units: readonly UnitParams[];
  /** 1x1, where what enters has another shape than what leaves. */
  readonly shortcut?: UnitParams;
}

/** Parameters, as plain data: what is learned by gradients. */
export interface ResnetParams {
  /** Sees the image first. */
  readonly stem: UnitParams;
  /** Blocks by stage. */
  readonly stages: readonly (readonly BlockParams[])[];
  /** Makes the logits: weight `[channels, K]`, bias `[K]`. */
  readonly head: { readonly weight: Tensor; readonly bias: Tensor };
}

/** Running averages of a block's norms. */
export interface BlockState {
  /** One for each unit. */
  readonly units: readonly BatchStatistics[];
  /** Where there is one. */
  readonly shortcut?: BatchStatistics;
}

/** Running averages of all norms, in the shape of the parameters: what is learned by looking. */
export interface ResnetState {
  /** Of the stem. */
  readonly stem: BatchStatistics;
  /** Of the blocks by stage. */
  readonly stages: readonly (readonly BlockState[])[];
}

/** Everything there is to a trained model. */
export interface Resnet {
  /** Learned by gradients. */
  readonly params: ResnetParams;
  /** Learned by looking. */
  readonly state: ResnetState;
}

/** What {@linkcode loss} takes. */
export interface ResnetBatch {
  /** `[B, C, H, W]` f32 */
  readonly images: Tensor;
  /** `[B]` i32, each in `[0, K)`. */
  readonly labels: Tensor;
  /** Running averages so far. */
  readonly state: ResnetState;
}

/** The networks of the paper for ImageNet, and its smallest one for CIFAR-10 (with 1x1 shortcuts). */
export const presets: Readonly<Record<"resnet18" | "resnet34" | "resnet50" | "cifar-resnet20", ResnetConfig>> = {
  "resnet18": { stem: "imagenet", block: "basic", stages: [2, 2, 2, 2], classes: 1000 },
  "resnet34": { stem: "imagenet", block: "basic", stages: [3, 4, 6, 3], classes: 1000 },
  "resnet50": { stem: "imagenet", block: "bottleneck", stages: [3, 4, 6, 3], classes: 1000 },
  "cifar-resnet20": { stem: "cifar", block: "basic", stages: [3, 3, 3], width: 16, classes: 10 },
};

/** A convolution by its sizes. */
interface UnitPlan {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride: number;
}

/** A block by the sizes of its convolutions. */
interface BlockPlan {
  readonly units: readonly UnitPlan[];
  readonly shortcut?: UnitPlan;
}

/** All convolutions of a network by their sizes. */
interface Plan {
  readonly stem: UnitPlan;
  readonly stages: readonly (readonly BlockPlan[])[];
  /** Channels that leave the last stage. */
  readonly features: number;
}

function planBlock(block: ResnetConfig["block"], from: number, width: number, stride: number): BlockPlan {
  const units = block === "basic"
    ? [{ from, to: width, kernel: 3, stride }, { from: width, to: width, kernel: 3, stride: 1 }]
    : [
      { from, to: width, kernel: 1, stride: 1 },
      { from: width, to: width, kernel: 3, stride },
      { from: width, to: 4 * width, kernel: 1, stride: 1 },
    ];
  const { to } = units[units.length - 1];
  return stride === 1 && from === to ? { units } : { units, shortcut: { from, to, kernel: 1, stride } };
}

/** What `config` means in convolutions. */
function planOf({ channels = 3, stem, block, stages, width = 64, classes }: ResnetConfig): Plan {
  const counts = [channels, width, classes, ...stages];
  if (stages.length === 0 || !counts.every((count) => Number.isInteger(count) && count > 0)) {
    throw new ArgumentError(
      `Cannot make a residual network of ${channels} channels, width ${width}, stages ${show(stages)} and ${classes} ` +
        `classes: all must be whole numbers above 0`,
    );
  }
  let features = width;
  const planned = stages.map((blocks, stage) =>
    Array.from({ length: blocks }, (_, i) => {
      const plan = planBlock(block, features, width * 2 ** stage, i === 0 && stage > 0 ? 2 : 1);
      features = plan.units[plan.units.length - 1].to;
      return plan;
    })
  );
  const large = stem === "imagenet";
  return {
    stem: { from: channels, to: width, kernel: large ? 7 : 3, stride: large ? 2 : 1 },
    stages: planned,
    features,
  };
}

/**
 * Number of parameters; running averages do not count.
 *
 * @example
 * ```ts
 * import { parameterCount, presets } from "@tenon/ml/models/resnet";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parameterCount(presets.resnet18), 11_689_512);
 * ```
 */
export function parameterCount(config: ResnetConfig): number {
  const { features, stem, stages } = planOf(config);
  const units = [stem, ...stages.flat().flatMap(({ units, shortcut }) => shortcut ? [...units, shortcut] : units)];
  return units.reduce((sum, { from, to, kernel }) => sum + to * (from * kernel ** 2 + 2), 0) +
    (features + 1) * config.classes;
}

/**
 * A fresh model, drawn from `key` as torchvision does: filters from a normal distribution of variance
 * `2 / (out·kh·kw)`, the head evenly between `±1/√channels`, scales one, shifts zero.
 *
 * @throws {ArgumentError} If a size is no whole number above 0.
 * @example
 * ```ts
 * import { key, tensor, use, valueAndGrad, zeros } from "@tenon/ml";
 * import * as resnet from "@tenon/ml/models/resnet";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: resnet.ResnetConfig = { stem: "cifar", block: "basic", stages: [1, 1], width: 4, classes: 5 };
 * const { params, state } = resnet.init(key(0), config);
 * const images = zeros([2, 3, 8, 8]), labels = tensor([0, 4], { dtype: "i32" });
 * assertEquals(resnet.apply({ params, state }, images, config).shape, [2, 5]);
 *
 * const lossAndGrad = valueAndGrad(resnet.loss, { hasAux: true });
 * const [[loss, next], grads] = lossAndGrad(params, { images, labels, state }, config);
 * assertEquals(loss.shape, []);
 * assertEquals(next.stem.mean.shape, [4]); // running averages after this batch
 * assertEquals(grads.stages[1][0].shortcut?.weight.shape, [8, 4, 1, 1]);
 * ```
 */
export function init(key: Key, config: ResnetConfig): Resnet {
  const { stem, stages, features } = planOf(config), { classes } = config;
  return scope(() => {
    const keys = split(key, 3 + 4 * stages.flat().length), next = () => keys.pop()!; // a block has four units at most
    const unit = (plan: UnitPlan) => initUnit(next(), plan);
    const bound = 1 / Math.sqrt(features), evenly = { min: -bound, max: bound };
    const params: ResnetParams = {
      stem: unit(stem),
      stages: mapBlocks(stages, unit),
      head: { weight: uniform(next(), [features, classes], evenly), bias: uniform(next(), [classes], evenly) },
    };
    const statistics = ({ to }: UnitPlan) => initStatistics(to);
    return { params, state: { stem: statistics(stem), stages: mapBlocks(stages, statistics) } };
  });
}

function initUnit(key: Key, { from, to, kernel }: UnitPlan): UnitParams {
  const std = Math.sqrt(2 / (to * kernel ** 2));
  return { weight: normal(key, [to, from, kernel, kernel], { std }), norm: initBatchNorm(to) };
}

/** Something for every convolution of the blocks. */
function mapBlocks<T>(stages: Plan["stages"], f: (unit: UnitPlan) => T): { units: T[]; shortcut?: T }[][] {
  return stages.map((blocks) =>
    blocks.map(({ units, shortcut }) => ({ units: units.map(f), ...(shortcut && { shortcut: f(shortcut) }) }))
  );
}

/**
 * Logits of a trained model: images `[B, C, H, W]` -> `[B, K]`.
 *
 * @throws {ShapeError} If the images do not have the channels of the config.
 */
export function apply(model: Resnet, images: Tensor, config: ResnetConfig): Tensor {
  return scope(() => readOut(model.params, features(model, images, config)));
}

/** What the last layer of a trained model looks at: images `[B, C, H, W]` -> `[B, channels]`. */
export function features({ params, state }: Resnet, images: Tensor, config: ResnetConfig): Tensor {
  return scope(() => encode(params, images, config, { state, training: false })[0]);
}

/**
 * Logits in training, images `[B, C, H, W]` -> `[B, K]`, and the running averages that replace the model's: batch norms
 * look at the batch.
 *
 * @throws {ShapeError} If the images do not have the channels of the config.
 */
export function applyTraining(
  { params, state }: Resnet,
  images: Tensor,
  config: ResnetConfig,
): [logits: Tensor, state: ResnetState] {
  return scope(() => {
    const [x, next] = encode(params, images, config, { state, training: true });
    return [readOut(params, x), next];
  });
}

/** Mean cross-entropy in training, in nats, and the next running averages: differentiate it with `hasAux`. */
export function loss(
  params: ResnetParams,
  { images, labels, state }: ResnetBatch,
  config: ResnetConfig,
): readonly [loss: Tensor, state: ResnetState] {
  const [logits, next] = applyTraining({ params, state }, images, config);
  return [crossEntropy(logits, labels), next];
}

/** How a part of the model is run; S is the state of that part. */
interface Run<S> {
  readonly state: S;
  readonly training: boolean;
}

/** Everything but the head: images `[B, C, H, W]` -> `[B, channels]`. */
function encode(
  params: ResnetParams,
  images: Tensor,
  config: ResnetConfig,
  { state, training }: Run<ResnetState>,
): [features: Tensor, state: ResnetState] {
  const { channels = 3 } = config, plan = planOf(config);
  if (images.rank !== 4 || images.shape[1] !== channels) {
    throw new ShapeError(
      `Cannot apply a residual network to images ${show(images.shape)}: it takes [batch,${channels},height,width]`,
    );
  }
  const [y, stem] = applyUnit(params.stem, images, plan.stem, { state: state.stem, training });
  let x = relu(y); // [B, width, ...]
  if (config.stem === "imagenet") x = maxPool(x, 3, { stride: 2, padding: 1 }); // [B, width, H/4, W/4]
  const stages = plan.stages.map((blocks, s) =>
    blocks.map((block, b) => {
      const [y, next] = applyBlock(params.stages[s][b], x, block, { state: state.stages[s][b], training });
      x = y; // [B, width · 2^s (· 4), ...]
      return next;
    })
  );
  return [mean(x, { axis: [2, 3] }), { stem, stages }];
}

/** What is learned of a unit and added to what enters. */
function applyBlock(
  { units, shortcut }: BlockParams,
  x: Tensor,
  plan: BlockPlan,
  { state, training }: Run<BlockState>,
): [y: Tensor, state: BlockState] {
  let y = x;
  const unitStates = units.map((unit, i) => {
    const [z, next] = applyUnit(unit, y, plan.units[i], { state: state.units[i], training });
    y = i + 1 < units.length ? relu(z) : z;
    return next;
  });
  if (!shortcut) return [relu(add(y, x)), { units: unitStates }];
  const [skip, shortcutState] = applyUnit(shortcut, x, plan.shortcut!, { state: state.shortcut!, training });
  return [relu(add(y, skip)), { units: unitStates, shortcut: shortcutState }];
}

/** A convolution and its norm: `[B, in, H, W]` -> `[B, out, H/stride, W/stride]`. */
function applyUnit(
  { weight, norm }: UnitParams,
  x: Tensor,
  { kernel, stride }: UnitPlan,
  { state: running, training }: Run<BatchStatistics>,
): [y: Tensor, running: BatchStatistics] {
  return trackBatchNorm(conv(x, weight, { stride, padding: (kernel - 1) / 2 }), norm, { running, training });
}

/** Features `[B, channels]` -> logits `[B, K]`. */
function readOut({ head }: ResnetParams, x: Tensor): Tensor {
  return linear(x, head);
}
