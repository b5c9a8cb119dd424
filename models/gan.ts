/**
 * Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661), all in this file: a generator learns to make
 * pictures that a discriminator, which learns beside it, cannot tell from real ones.
 *
 * - Both networks are those of DCGAN (Radford et al. 2015, arXiv:1511.06434): strided convolutions of 4x4, batch norm.
 * - With `classes`, both are told what the picture shows (Mirza and Osindero 2014, arXiv:1411.1784); the discriminator
 *   by projection (Miyato and Koyama 2018, arXiv:1802.05637).
 * - The objective `"wasserstein"` is WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): the discriminator becomes a
 *   critic without norms, held to slopes of 1 by a penalty whose gradient is of second order.
 *
 * In shape comments: B batch, S side of the picture, Z numbers of a latent, K classes, F features of the discriminator.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  add,
  batchNorm,
  binaryCrossEntropyWithLogits,
  concat,
  conv,
  convTranspose,
  embedding,
  type Key,
  leakyRelu,
  linear,
  mean,
  mul,
  neg,
  norm,
  normal,
  oneHot,
  onesLike,
  relu,
  reshape,
  split,
  square,
  squeeze,
  sub,
  sum,
  tanh,
  zeros,
  zerosLike,
} from "../ops/mod.ts";
import { grad } from "../transforms/grad.ts";
import { type BatchNormParams, type BatchStatistics, initStatistics, trackBatchNorm } from "./batch_norm.ts";

export type { BatchNormParams, BatchStatistics };

/** Sizes and choices of both networks. The paper's DCGAN: size 64, colors 3, latent 100, channels 1024, 512, 256, 128. */
export interface GanConfig {
  /** Side of the square pictures, S; each entry of `channels` halves it, and what is left must be whole. */
  readonly size: number;
  /** Channels of a picture: 1 for grey (the default), 3 for red, green and blue. */
  readonly colors?: number;
  /** How many random numbers a picture is made from, Z. */
  readonly latent: number;
  /** Channels of the generator's layers, from the coarsest on; the discriminator has the same from the finest on. */
  readonly channels: readonly number[];
  /** Number of classes, K; without it nobody is told what a picture shows. */
  readonly classes?: number;
  /** What the networks play for: `"logistic"` (the default), real against fake, or `"wasserstein"`, a distance. */
  readonly objective?: "logistic" | "wasserstein";
  /** Weight of the Wasserstein critic's gradient penalty; 10 by default. */
  readonly penalty?: number;
}

/** Parameters of the generator, from the coarsest layer on. */
export interface GeneratorParams {
  /** `[Z, C·s·s]`, or `[Z + K, C·s·s]` with classes, where `[C, s, s]` is the coarsest picture. */
  readonly project: Tensor;
  /** Each norms its input, and doubles the side by a transposed convolution `up` `[C, next C, 4, 4]`. */
  readonly blocks: readonly { readonly norm: BatchNormParams; readonly up: Tensor }[];
  /** `[colors]`, added to the picture. */
  readonly bias: Tensor;
}

/** Parameters of the discriminator, from the finest layer on. */
export interface DiscriminatorParams {
  /** Each halves the side by a convolution `down` `[C, previous C, 4, 4]`, then adds a `bias` `[C]` or norms. */
  readonly blocks: readonly { readonly down: Tensor; readonly bias?: Tensor; readonly norm?: BatchNormParams }[];
  /** `weight` `[F, 1]`, `bias` `[1]`; the features are the last layer's places, F = C·s·s. */
  readonly score: { readonly weight: Tensor; readonly bias: Tensor };
  /** `[K, F]`: what the features of each class should look like; there with `classes` alone. */
  readonly classes?: Tensor;
}

/** Parameters of both networks, as plain data; each has an optimizer of its own. */
export interface GanParams {
  /** Makes pictures. */
  readonly generator: GeneratorParams;
  /** Tells them from real ones. */
  readonly discriminator: DiscriminatorParams;
}

/** Running averages of the generator's norms, one for each block: what it learns by looking. */
export type GeneratorState = readonly BatchStatistics[];

/** Everything there is to a trained generator. */
export interface Generator {
  /** Learned by gradients. */
  readonly params: GeneratorParams;
  /** Learned by looking. */
  readonly state: GeneratorState;
}

/** What pictures are made from. */
export interface GeneratorInput {
  /** `[B, Z]`, of a normal distribution. */
  readonly latent: Tensor;
  /** `[B]` i32, what each picture shall show; needed with `classes`. */
  readonly labels?: Tensor;
}

/** What {@linkcode discriminatorLoss} takes. */
export interface DiscriminatorBatch {
  /** `[B, colors, S, S]` in [-1, 1]. */
  readonly real: Tensor;
  /** Of the same shape, made by the generator (of the same labels); no gradient reaches it. */
  readonly fake: Tensor;
  /** `[B]` i32, what both show; needed with `classes`. */
  readonly labels?: Tensor;
  /** `[B]` in [0, 1], of a uniform distribution: where between fake and real the slopes are penalized. */
  readonly mix?: Tensor;
}

/** What {@linkcode generatorLoss} takes. */
export interface GeneratorBatch extends GeneratorInput {
  /** Who is to be convinced; it does not learn from this. */
  readonly discriminator: DiscriminatorParams;
  /** The running averages before this batch. */
  readonly state: GeneratorState;
}

/** Standard deviation of DCGAN's fresh weights. */
const STD = 0.02;
/** Part of what is below zero that the discriminator lets through. */
const SLOPE = 0.2;
/** A kernel of 4 at every second place: exactly half, or twice, the side. */
const HALVES = { stride: 2, padding: 1 } as const;

/** Side and channels of the coarsest picture. */
function coarsest({ size, channels }: GanConfig): { side: number; depth: number } {
  return { side: size / 2 ** channels.length, depth: channels[0] };
}

/**
 * Fresh parameters, drawn from `key` as in DCGAN: weights of standard deviation 0.02, scales around 1 of the same, shifts
 * and biases zero. The layers of a critic, which has no norms to mend them, keep the variance (He et al. 2015).
 *
 * @throws {ArgumentError} If the size cannot be halved once for each entry of `channels`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import * as gan from "@tenon/ml/models/gan";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const config: gan.GanConfig = { size: 8, latent: 5, channels: [4, 3], classes: 10 };
 * const { generator, discriminator } = gan.init(tn.key(0), config);
 *
 * const labels = tn.tensor([7, 7], { dtype: "i32" }), latent = tn.normal(tn.key(1), [2, 5]);
 * const fake = gan.generate(generator, { latent, labels }, config);
 * assertEquals(fake.shape, [2, 1, 8, 8]);
 * assertEquals(gan.discriminate(discriminator, fake, config, labels).shape, [2]);
 * ```
 */
export function init(key: Key, config: GanConfig): GanParams {
  validate(config);
  return scope(() => {
    const [generator, discriminator] = split(key, 2);
    return { generator: initGenerator(generator, config), discriminator: initDiscriminator(discriminator, config) };
  });
}

function validate(config: GanConfig): void {
  const { size, channels } = config, { side } = coarsest(config);
  if (channels.length === 0 || !Number.isInteger(side) || side < 1) {
    throw new ArgumentError(
      `Cannot make a GAN for pictures of side ${size} with channels [${channels}]: each entry must halve the side`,
    );
  }
}

function initGenerator(key: Key, config: GanConfig): GeneratorParams {
  const { latent, channels, classes = 0, colors = 1 } = config, { side, depth } = coarsest(config);
  const [projectKey, ...keys] = split(key, 1 + 2 * channels.length);
  return {
    project: normal(projectKey, [latent + classes, depth * side * side], { std: STD }),
    blocks: channels.map((from, i) => ({
      norm: initNorm(keys[2 * i], from),
      up: normal(keys[2 * i + 1], [from, channels[i + 1] ?? colors, 4, 4], { std: STD }),
    })),
    bias: zeros([colors]),
  };
}

function initDiscriminator(key: Key, config: GanConfig): DiscriminatorParams {
  const { channels, classes, colors = 1, objective } = config, { side, depth } = coarsest(config);
  const [scoreKey, classKey, ...keys] = split(key, 2 + 2 * channels.length);
  const critic = objective === "wasserstein", features = depth * side * side;
  const spread = (inputs: number) => critic ? Math.sqrt(2 / inputs) : STD;
  return {
    blocks: [...channels].reverse().map((to, i, all) => {
      const from = i === 0 ? colors : all[i - 1];
      const down = normal(keys[2 * i], [to, from, 4, 4], { std: spread(from * 16) });
      return critic || i === 0 ? { down, bias: zeros([to]) } : { down, norm: initNorm(keys[2 * i + 1], to) };
    }),
    score: { weight: normal(scoreKey, [features, 1], { std: spread(features) }), bias: zeros([1]) },
    ...(classes && { classes: normal(classKey, [classes, features], { std: spread(features) }) }),
  };
}

function initNorm(key: Key, channels: number): BatchNormParams {
  return { scale: normal(key, [channels], { mean: 1, std: STD }), shift: zeros([channels]) };
}

/** The running averages before the first batch: means 0, variances 1. */
export function initState({ channels }: GanConfig): GeneratorState {
  return channels.map(initStatistics);
}

/**
 * Pictures as they are made in training, where every batch is normed by itself: `[B, colors, S, S]` in [-1, 1].
 *
 * @throws {ShapeError} If the latents do not have the config's size.
 * @throws {ArgumentError} If there are labels and no classes, or the other way round.
 */
export function generate(params: GeneratorParams, input: GeneratorInput, config: GanConfig): Tensor {
  return scope(() => runGenerator(params, input, config, { state: initState(config), training: true })[0]);
}

/**
 * Pictures of a trained generator, normed by running averages: each depends on its own latent alone.
 *
 * @param generator Its state is what {@linkcode generatorLoss} returned last.
 * @returns `[B, colors, S, S]` in [-1, 1].
 * @throws {ShapeError} If the latents do not have the config's size.
 * @throws {ArgumentError} If there are labels and no classes, or the other way round.
 */
export function sample({ params, state }: Generator, input: GeneratorInput, config: GanConfig): Tensor {
  return runGenerator(params, input, config, { state, training: false })[0];
}

/** The pictures, and the running averages after them. */
function runGenerator(
  { project, blocks, bias }: GeneratorParams,
  { latent, labels }: GeneratorInput,
  config: GanConfig,
  { state, training }: { readonly state: GeneratorState; readonly training: boolean },
): [images: Tensor, state: GeneratorState] {
  const [B, Z] = latent.shape, { classes } = config, { side, depth } = coarsest(config);
  if (latent.rank !== 2 || Z !== config.latent) {
    throw new ShapeError(`Cannot make pictures from latents ${show(latent.shape)}: they must be [B, ${config.latent}]`);
  }
  requireLabels("make pictures", config, labels);
  const told = labels && classes ? concat([latent, oneHot(labels, classes)], 1) : latent; // [B, Z + K]
  const next: BatchStatistics[] = [];
  let x = reshape(linear(told, { weight: project }), [B, depth, side, side]);
  for (const [i, { norm, up }] of blocks.entries()) {
    const [y, running] = trackBatchNorm(x, norm, { running: state[i], training }); // [B, C, s, s]
    x = convTranspose(relu(y), up, HALVES); // [B, next C, 2s, 2s]
    next.push(running);
  }
  return [tanh(add(x, reshape(bias, [-1, 1, 1]))), next];
}

function requireLabels(action: string, { classes }: GanConfig, labels: Tensor | undefined): void {
  if (classes && !labels) throw new ArgumentError(`Cannot ${action} of ${classes} classes without labels`);
  if (!classes && labels) throw new ArgumentError(`Cannot ${action} of given labels: the config has no classes`);
}

/**
 * How real pictures look: `[B, colors, S, S]` -> `[B]`, a logit, or a critic's score. Norms by the batch, always: a
 * discriminator has no use after training.
 *
 * @throws {ShapeError} If the pictures do not have the config's size.
 * @throws {ArgumentError} If there are labels and no classes, or the other way round.
 */
export function discriminate(
  { blocks, score, classes }: DiscriminatorParams,
  images: Tensor,
  config: GanConfig,
  labels?: Tensor,
): Tensor {
  const { size, colors = 1 } = config, B = images.shape[0];
  if (images.rank !== 4 || images.shape[1] !== colors || images.shape[2] !== size || images.shape[3] !== size) {
    throw new ShapeError(`Cannot judge pictures ${show(images.shape)}: they must be [B, ${colors}, ${size}, ${size}]`);
  }
  requireLabels("judge pictures", config, labels);
  let x = images;
  for (const { down, bias, norm } of blocks) {
    x = conv(x, down, { ...HALVES, bias }); // [B, C, s, s] -> [B, next C, s/2, s/2]
    x = leakyRelu(norm ? batchNorm(x, norm) : x, { slope: SLOPE });
  }
  const features = reshape(x, [B, -1]); // [B, F]
  const scores = squeeze(linear(features, score), 1); // [B]
  return labels && classes ? add(scores, sum(mul(features, embedding(classes, labels)), { axis: 1 })) : scores;
}

/**
 * What the discriminator minimizes, a scalar. Logistic: `-log D(real) - log(1 - D(fake))`; Wasserstein:
 * `D(fake) - D(real) + penalty · (‖∇D‖ - 1)²`, the gradient taken somewhere between fake and real; means over the batch.
 *
 * @throws {ArgumentError} If a Wasserstein critic gets no `mix`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import * as gan from "@tenon/ml/models/gan";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const config: gan.GanConfig = { size: 8, latent: 5, channels: [4, 3], objective: "wasserstein" };
 * const { generator, discriminator } = gan.init(tn.key(0), config);
 * const real = tn.zeros([2, 1, 8, 8]), mix = tn.uniform(tn.key(1), [2]);
 * const fake = gan.generate(generator, { latent: tn.normal(tn.key(2), [2, 5]) }, config);
 * const grads = tn.grad(gan.discriminatorLoss)(discriminator, { real, fake, mix }, config);
 * assertEquals(grads.blocks[1].down.shape, [4, 3, 4, 4]);
 * ```
 */
export function discriminatorLoss(params: DiscriminatorParams, batch: DiscriminatorBatch, config: GanConfig): Tensor {
  const { labels } = batch;
  const real = discriminate(params, batch.real, config, labels);
  const fake = discriminate(params, batch.fake, config, labels);
  if (config.objective !== "wasserstein") {
    const cost = binaryCrossEntropyWithLogits;
    return add(cost(real, onesLike(real)), cost(fake, zerosLike(fake)));
  }
  const steepness = gradientPenalty(params, batch, config);
  return add(sub(mean(fake), mean(real)), mul(steepness, config.penalty ?? 10));
}

/** Mean of `(‖∇D(x)‖ - 1)²`, each x somewhere on the line from fake to real. */
function gradientPenalty(params: DiscriminatorParams, batch: DiscriminatorBatch, config: GanConfig): Tensor {
  const { real, fake, labels, mix } = batch;
  if (!mix) throw new ArgumentError("Cannot penalize a critic's slopes without mix: give [B] numbers between 0 and 1");
  const between = add(fake, mul(sub(real, fake), reshape(mix, [-1, 1, 1, 1]))); // [B, colors, S, S]
  // a picture's score depends on that picture alone, so the sum's gradient holds the gradient of each
  const slopes = grad((x: Tensor) => sum(discriminate(params, x, config, labels)))(between);
  return mean(square(sub(norm(slopes, { axis: [1, 2, 3] }), 1)));
}

/**
 * What the generator minimizes, a scalar, and its running averages after the batch. Logistic: `-log D(G(z))`, which does
 * not saturate; Wasserstein: `-D(G(z))`; means over the batch. Differentiate it with `hasAux`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import * as gan from "@tenon/ml/models/gan";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const config: gan.GanConfig = { size: 8, latent: 5, channels: [4, 3] };
 * const { generator, discriminator } = gan.init(tn.key(0), config);
 * const batch = { latent: tn.normal(tn.key(1), [2, 5]), discriminator, state: gan.initState(config) };
 * const [[loss, state], grads] = tn.valueAndGrad(gan.generatorLoss, { hasAux: true })(generator, batch, config);
 * assertEquals([loss.shape, state.length, grads.project.shape], [[], 2, [5, 16]]);
 * ```
 */
export function generatorLoss(
  params: GeneratorParams,
  { discriminator, state, ...input }: GeneratorBatch,
  config: GanConfig,
): readonly [loss: Tensor, state: GeneratorState] {
  const [fake, next] = runGenerator(params, input, config, { state, training: true });
  const scores = discriminate(discriminator, fake, config, input.labels); // [B]
  const loss = config.objective === "wasserstein"
    ? neg(mean(scores))
    : binaryCrossEntropyWithLogits(scores, onesLike(scores));
  return [loss, next];
}
