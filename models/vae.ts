/**
 * Convolutional variational autoencoder, all in this file: an encoder that says where in a small latent space an image
 * may lie, and a decoder that draws an image from a point of that space.
 *
 * ```text
 *              ┌─> mean ──────────┐
 *  image ──> encoder              ├─> mean + deviation · noise ──> decoder ──> logits of an image
 *              └─> deviation ─────┘
 * ```
 *
 * Kingma & Welling 2013 (https://arxiv.org/abs/1312.6114), with the weight β of Higgins et al. 2017. In shape
 * comments: B batch, C channels, S height and width, Z latents, H hidden units.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { sameShape, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  add,
  binaryCrossEntropyWithLogits,
  conv,
  convTranspose,
  exp,
  type Key,
  linear,
  mean,
  mul,
  neg,
  normal,
  relu,
  reshape,
  sigmoid,
  split,
  square,
  sub,
  sum,
  zeros,
} from "../ops/mod.ts";

/** Sizes and choices of a model. */
export interface VaeConfig {
  /** Height and width of an image, S: every layer of `widths` halves it. */
  readonly size: number;
  /** Of an image, C; 1 by default. */
  readonly channels?: number;
  /** Numbers that describe an image, Z. */
  readonly latents: number;
  /** Channels after each convolution of the encoder; the decoder goes the same way back. */
  readonly widths: readonly number[];
  /** Width of the fully connected layers around the latents, H. */
  readonly hidden: number;
  /** Weight of the divergence in the loss, 1 by default. More asks for simpler latents at the cost of sharpness. */
  readonly beta?: number;
}

/** A linear layer. */
export interface LinearParams {
  /** `[in, out]` */
  readonly weight: Tensor;
  /** `[out]` */
  readonly bias: Tensor;
}

/** A convolution: 4 by 4, every second place. */
export interface ConvParams {
  /** `[out, in, 4, 4]` in the encoder; transposed, `[in, out, 4, 4]`, in the decoder. */
  readonly weight: Tensor;
  /** `[out]` */
  readonly bias: Tensor;
}

/** Parameters, as plain data; w is the last of `widths`, s the size after it. */
export interface VaeParams {
  /** `hidden`: w·s·s -> H; `posterior`: H -> 2·Z, means and then logarithms of variances. */
  readonly encoder: {
    readonly convs: readonly ConvParams[];
    readonly hidden: LinearParams;
    readonly posterior: LinearParams;
  };
  /** `hidden`: Z -> H; `image`: H -> w·s·s. */
  readonly decoder: {
    readonly hidden: LinearParams;
    readonly image: LinearParams;
    readonly convs: readonly ConvParams[];
  };
}

/** Where in the latent space an image may lie, q(z|x): a normal distribution for each latent. */
export interface Posterior {
  /** `[B, Z]` */
  readonly mean: Tensor;
  /** `[B, Z]` */
  readonly logVariance: Tensor;
}

/** What {@linkcode apply} returns. */
export interface VaeOutput extends Posterior {
  /** The points that were decoded, `[B, Z]`. */
  readonly latents: Tensor;
  /** `[B, C, S, S]`: the sigmoid of them is the brightness, or the probability of a white pixel. */
  readonly logits: Tensor;
}

/** What {@linkcode loss} takes. */
export interface VaeBatch {
  /** `[B, C, S, S]`, 0 or 1 in each place. (Values between are taken as probabilities of a 1.) */
  readonly images: Tensor;
  /** `[B, Z]`, drawn anew for each batch: `normal(key, [B, Z])`. */
  readonly noise: Tensor;
}

/** The two parts of the evidence lower bound, in nats, for each image: `log p(x) >= logLikelihood - divergence`. */
export interface Bound {
  /** How likely the decoder finds the image at the point that was drawn, `log p(x|z)`: `[B]`. */
  readonly logLikelihood: Tensor;
  /** How much the encoder tells of the image, `KL(q(z|x) ‖ p(z))` with p a standard normal distribution: `[B]`. */
  readonly divergence: Tensor;
}

/** A convolution sees 4 by 4 pixels and halves (transposed: doubles) height and width. */
const KERNEL = 4, HALVING = { stride: 2, padding: 1 } as const;

/** Standard deviation of the weights that make the posterior, so that it begins close to the prior. */
const POSTERIOR_STD = 0.01;

/** Channels along the encoder, and the size after its last convolution. */
function dimensions({ size, channels = 1, widths }: VaeConfig): { path: number[]; smallest: number } {
  return { path: [channels, ...widths], smallest: size / 2 ** widths.length };
}

/**
 * Number of parameters.
 *
 * @example
 * ```ts
 * import { parameterCount } from "@tenon/ml/models/vae";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parameterCount({ size: 28, latents: 20, widths: [32, 64], hidden: 256 }), 1_691_369);
 * ```
 */
export function parameterCount(config: VaeConfig): number {
  const { latents, hidden } = config;
  const { path, smallest } = dimensions(config);
  const linear = (from: number, to: number) => (from + 1) * to;
  const flat = path[path.length - 1] * smallest ** 2;
  const convs = path.slice(1).map((width, i) => 2 * width * path[i] * KERNEL ** 2 + width + path[i]);
  return convs.reduce((sum, count) => sum + count) + linear(flat, hidden) + linear(hidden, 2 * latents) +
    linear(latents, hidden) + linear(hidden, flat);
}

/**
 * Fresh parameters, drawn from `key`: weights from a normal distribution of variance 2 / inputs (He et al. 2015,
 * arXiv:1502.01852), those of the posterior from a narrow one; biases zero.
 *
 * @throws {ArgumentError} If the images cannot be halved that often, or a size is no whole number above 0.
 * @example
 * ```ts
 * import { grad, key, normal, use, zeros } from "@tenon/ml";
 * import * as vae from "@tenon/ml/models/vae";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: vae.VaeConfig = { size: 8, latents: 2, widths: [3, 4], hidden: 5 };
 * const params = vae.init(key(0), config);
 * const images = zeros([6, 1, 8, 8]);
 *
 * assertEquals(vae.encode(params, images, config).mean.shape, [6, 2]);
 * assertEquals(vae.sample(params, normal(key(1), [9, 2]), config).shape, [9, 1, 8, 8]);
 * const gradients = grad(vae.loss)(params, { images, noise: normal(key(2), [6, 2]) }, config);
 * assertEquals(gradients.encoder.posterior.weight.shape, [5, 4]);
 * ```
 */
export function init(key: Key, config: VaeConfig): VaeParams {
  validate(config);
  const { latents: Z, hidden: H } = config;
  const { path, smallest } = dimensions(config);
  const depth = path.length - 1, flat = path[depth] * smallest ** 2;
  return scope(() => {
    const [hidden, posterior, latent, image, ...convs] = split(key, 4 + 2 * depth);
    return {
      encoder: {
        convs: Array.from({ length: depth }, (_, i) => initConv(convs[i], path[i], path[i + 1])),
        hidden: initLinear(hidden, flat, H),
        posterior: initLinear(posterior, H, 2 * Z, POSTERIOR_STD),
      },
      decoder: {
        hidden: initLinear(latent, Z, H),
        image: initLinear(image, H, flat),
        convs: Array.from(
          { length: depth },
          (_, i) => initTransposed(convs[depth + i], path[depth - i], path[depth - i - 1]),
        ),
      },
    };
  });
}

function validate(config: VaeConfig): void {
  const { size, latents, hidden, widths, beta = 1 } = config;
  const { path, smallest } = dimensions(config);
  if (widths.length === 0) {
    throw new ArgumentError("Cannot make a VAE without widths: it needs one convolution at least");
  }
  if (!Number.isInteger(smallest) || smallest < 1) {
    throw new ArgumentError(`Cannot make a VAE of images of size ${size}: it cannot be halved ${widths.length} times`);
  }
  const sizes: [string, number][] = [["latents", latents], ["hidden", hidden]];
  for (const [name, value] of [...sizes, ...path.map((width): [string, number] => ["channels", width])]) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ArgumentError(`Cannot make a VAE with ${name} ${value}: it must be a whole number of at least 1`);
    }
  }
  if (!(beta >= 0)) throw new ArgumentError(`Cannot make a VAE with beta ${beta}: it must be at least 0`);
}

function initLinear(key: Key, from: number, to: number, std = Math.sqrt(2 / from)): LinearParams {
  return { weight: normal(key, [from, to], { std }), bias: zeros([to]) };
}

function initConv(key: Key, from: number, to: number): ConvParams {
  const std = Math.sqrt(2 / (from * KERNEL ** 2));
  return { weight: normal(key, [to, from, KERNEL, KERNEL], { std }), bias: zeros([to]) };
}

/** Of a transposed filter's places, a pixel sees every second one along each axis. */
function initTransposed(key: Key, from: number, to: number): ConvParams {
  const std = Math.sqrt(2 / (from * (KERNEL / 2) ** 2));
  return { weight: normal(key, [from, to, KERNEL, KERNEL], { std }), bias: zeros([to]) };
}

/**
 * Where images may lie in the latent space: `[B, C, S, S]` -> q(z|x), means and logarithms of variances `[B, Z]`.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function encode({ encoder }: VaeParams, images: Tensor, config: VaeConfig): Posterior {
  const { size, channels = 1 } = config;
  if (images.rank !== 4 || show(images.shape.slice(1)) !== show([channels, size, size])) {
    throw new ShapeError(
      `Cannot encode images ${show(images.shape)}: this VAE takes [batch,${channels},${size},${size}]`,
    );
  }
  return scope(() => {
    let x = images; // [B, C, S, S]
    for (const { weight, bias } of encoder.convs) x = relu(conv(x, weight, { ...HALVING, bias })); // [B, width, S/2, S/2]
    x = relu(linear(reshape(x, [x.shape[0], -1]), encoder.hidden)); // [B, w·s·s] -> [B, H]
    const [mean, logVariance] = split(linear(x, encoder.posterior), 2, { axis: -1 }); // 2 x [B, Z]
    return { mean, logVariance };
  });
}

/**
 * Logits of the images at points of the latent space, `[B, Z]` -> `[B, C, S, S]`.
 *
 * @throws {ShapeError} If the points have another number of latents than the config.
 */
export function decode({ decoder }: VaeParams, latents: Tensor, config: VaeConfig): Tensor {
  if (latents.rank !== 2 || latents.shape[1] !== config.latents) {
    throw new ShapeError(`Cannot decode latents ${show(latents.shape)}: this VAE takes [batch,${config.latents}]`);
  }
  const { path, smallest: s } = dimensions(config);
  return scope(() => {
    const flat = linear(relu(linear(latents, decoder.hidden)), decoder.image); // [B, Z] -> [B, H] -> [B, w·s·s]
    let x = reshape(flat, [-1, path[path.length - 1], s, s]); // [B, w, s, s]
    for (const { weight, bias } of decoder.convs) {
      x = convTranspose(relu(x), weight, { ...HALVING, bias }); // [B, width, 2·s, 2·s]
    }
    return x;
  });
}

/**
 * A point of each posterior, `mean + deviation · noise`, all `[B, Z]`. Drawing this way lets gradients through: chance
 * is in the noise, and what is learned stands outside of it (the reparameterization trick).
 *
 * @throws {ShapeError} If the noise has another shape.
 */
export function draw({ mean, logVariance }: Posterior, noise: Tensor): Tensor {
  if (!sameShape(noise.shape, mean.shape)) {
    throw new ShapeError(
      `Cannot draw from posteriors ${show(mean.shape)} with noise ${show(noise.shape)}: they differ`,
    );
  }
  return scope(() => add(mean, mul(exp(mul(logVariance, 0.5)), noise)));
}

/**
 * Encodes images `[B, C, S, S]` and decodes a point of each posterior: the one that `noise` `[B, Z]` draws, or without
 * noise its mean.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function apply(params: VaeParams, images: Tensor, config: VaeConfig, noise?: Tensor): VaeOutput {
  const posterior = encode(params, images, config);
  const latents = noise ? draw(posterior, noise) : posterior.mean;
  return { ...posterior, latents, logits: decode(params, latents, config) };
}

/**
 * How well the model explains each image, in nats: the two parts of the evidence lower bound, with Bernoulli pixels and
 * the divergence in closed form, `½ Σ (mean² + variance - 1 - log variance)`.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function bound(params: VaeParams, { images, noise }: VaeBatch, config: VaeConfig): Bound {
  return scope(() => {
    const { mean, logVariance, logits } = apply(params, images, config, noise);
    const surprise = binaryCrossEntropyWithLogits(logits, images, { reduction: "none" }); // [B, C, S, S]
    const excess = sub(sub(add(square(mean), exp(logVariance)), 1), logVariance); // [B, Z]
    return {
      logLikelihood: neg(sum(surprise, { axis: [1, 2, 3] })), // [B]
      divergence: mul(sum(excess, { axis: 1 }), 0.5), // [B]
    };
  });
}

/**
 * Evidence lower bound, the mean over the batch in nats: what {@linkcode loss} raises where β is 1.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function elbo(params: VaeParams, batch: VaeBatch, config: VaeConfig): Tensor {
  return scope(() => {
    const { logLikelihood, divergence } = bound(params, batch, config);
    return mean(sub(logLikelihood, divergence));
  });
}

/**
 * Mean of `β · divergence - logLikelihood` over the batch, in nats: the function to differentiate.
 *
 * @see https://openreview.net/forum?id=Sy2fzU9gl
 * @throws {ShapeError} If the images are not what the config says.
 */
export function loss(params: VaeParams, batch: VaeBatch, config: VaeConfig): Tensor {
  return scope(() => {
    const { logLikelihood, divergence } = bound(params, batch, config);
    return mean(sub(mul(divergence, config.beta ?? 1), logLikelihood));
  });
}

/**
 * Images out of nothing: latents `[B, Z]`, drawn from the prior by `normal(key, [B, Z])`, -> `[B, C, S, S]` from 0 to 1.
 *
 * @throws {ShapeError} If the points have another number of latents than the config.
 */
export function sample(params: VaeParams, latents: Tensor, config: VaeConfig): Tensor {
  return scope(() => sigmoid(decode(params, latents, config)));
}

/**
 * Images as the model sees them, `[B, C, S, S]` -> the same shape from 0 to 1: decoded from the means of the posteriors.
 *
 * @throws {ShapeError} If the images are not what the config says.
 */
export function reconstruct(params: VaeParams, images: Tensor, config: VaeConfig): Tensor {
  return scope(() => sigmoid(apply(params, images, config).logits));
}
