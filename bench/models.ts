/**
 * The models whose training steps are timed, besides the GPT of `workloads.ts`. Plain data, as everything that is sent
 * to another process. Weights have PyTorch's layouts, except that those of linear layers are `[in, out]`.
 *
 * @module
 */

/** A parameter: spread evenly over `[-scale, scale)`, or all ones where the scale is null. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scale: number | null;
}

/** How a step is run, where a library has several ways. */
export type Style = "eager" | "compiled" | "as written" | "tuned" | "linear" | "addmv" | "reading";

/** What all training steps have. */
interface StepWorkload {
  readonly name: string;
  readonly style: Style;
  readonly batch: number;
  readonly learningRate: number;
  readonly parameters: readonly Parameter[];
  /** Batches that are gone through in turn. */
  readonly batches: number;
  /** How far the first losses may differ between libraries, relative to the largest; Infinity: they are not compared. */
  readonly tolerance: number;
}

/**
 * The network of PyTorch's MNIST example: two convolutions, pooling, two dense layers; Adadelta. The first three steps
 * drop nothing, so that losses can be compared.
 *
 * @see https://github.com/pytorch/examples/blob/main/mnist/main.py
 */
export interface CnnWorkload extends StepWorkload {
  readonly kind: "cnn";
  /** Rows and columns of an image. */
  readonly size: number;
  readonly classes: number;
  /** What is dropped before either dense layer. */
  readonly dropout: readonly [number, number];
  /** Of Adadelta. */
  readonly decay: number;
  readonly eps: number;
}

/**
 * Karpathy's char-rnn: an LSTM over one-hot characters, its state carried from batch to batch, RMSprop, gradients
 * clipped by their norm.
 *
 * @see https://github.com/karpathy/char-rnn
 */
export interface LstmWorkload extends StepWorkload {
  readonly kind: "lstm";
  readonly sequence: number;
  readonly layers: number;
  readonly units: number;
  readonly vocabSize: number;
  /** Of RMSprop. */
  readonly decay: number;
  readonly eps: number;
  readonly clip: number;
}

/**
 * PyTorch's DCGAN example, one level shorter for digits of 32 x 32: an update of the discriminator on real and on made
 * images, then one of the generator; Adam.
 *
 * @see https://github.com/pytorch/examples/blob/main/dcgan/main.py
 */
export interface DcganWorkload extends StepWorkload {
  readonly kind: "dcgan";
  /** Rows and columns of an image. */
  readonly size: number;
  readonly latent: number;
  /** Of the generator's layers, from the coarsest on; the discriminator has the same from the finest on. */
  readonly channels: readonly number[];
  /** Of the leaky rectifier. */
  readonly slope: number;
  /** Of Adam. */
  readonly betas: readonly [number, number];
  readonly eps: number;
}

/** The workload of a CNN's training step. */
export function cnnWorkload(style: Style): CnnWorkload {
  const layer = (name: string, shape: readonly number[], fanIn: number): Parameter[] => {
    const scale = 1 / Math.sqrt(fanIn), outputs = shape[shape.length === 2 ? 1 : 0];
    return [{ name: `${name}.weight`, shape, scale }, { name: `${name}.bias`, shape: [outputs], scale }];
  };
  return {
    kind: "cnn",
    name: "CNN training step",
    style,
    batch: 64,
    size: 28,
    classes: 10,
    dropout: [0.25, 0.5],
    learningRate: 1,
    decay: 0.9,
    eps: 1e-6,
    parameters: [
      ...layer("conv1", [32, 1, 3, 3], 9),
      ...layer("conv2", [64, 32, 3, 3], 288),
      ...layer("dense1", [9216, 128], 9216),
      ...layer("dense2", [128, 10], 128),
    ],
    batches: 4,
    tolerance: 1e-3,
  };
}

/** The workload of an LSTM's training step. */
export function lstmWorkload(style: Style): LstmWorkload {
  const H = 128, V = 65, LAYERS = 2, scale = 1 / Math.sqrt(H);
  const layers = Array.from({ length: LAYERS }, (_, i): Parameter[] => [
    { name: `layers.${i}.input`, shape: [4 * H, i === 0 ? V : H], scale },
    { name: `layers.${i}.hidden`, shape: [4 * H, H], scale },
    { name: `layers.${i}.bias`, shape: [4 * H], scale },
    { name: `layers.${i}.hiddenBias`, shape: [4 * H], scale },
  ]);
  return {
    kind: "lstm",
    name: "LSTM training step",
    style,
    batch: 50,
    sequence: 50,
    layers: LAYERS,
    units: H,
    vocabSize: V,
    learningRate: 2e-3,
    decay: 0.95,
    eps: 1e-8,
    clip: 5,
    parameters: [
      ...layers.flat(),
      { name: "out.weight", shape: [H, V], scale },
      { name: "out.bias", shape: [V], scale },
    ],
    batches: 4,
    tolerance: 1e-3,
  };
}

/** The workload of a DCGAN's training step. */
export function dcganWorkload(style: Style): DcganWorkload {
  const LATENT = 100, SIZE = 32, channels = [256, 128, 64], side = SIZE / 2 ** channels.length;
  const scale = 0.02 * Math.sqrt(3); // as wide as a normal distribution of standard deviation 0.02
  const widths = [...channels, 1], features = channels[0] * side ** 2;
  const norm = (name: string, width: number): Parameter[] => [
    { name: `${name}.scale`, shape: [width], scale: null },
    { name: `${name}.shift`, shape: [width], scale: 0 },
  ];
  const generator = channels.flatMap((width, i): Parameter[] => [
    ...norm(`generator.${i}`, width),
    { name: `generator.${i}.up`, shape: [width, widths[i + 1], 4, 4], scale },
  ]);
  const discriminator = channels.toReversed().flatMap((width, i, all): Parameter[] => [
    { name: `discriminator.${i}.down`, shape: [width, all[i - 1] ?? 1, 4, 4], scale },
    ...(i === 0 ? [{ name: "discriminator.0.bias", shape: [width], scale: 0 }] : norm(`discriminator.${i}`, width)),
  ]);
  return {
    kind: "dcgan",
    name: "DCGAN training step",
    style,
    batch: 64,
    size: SIZE,
    latent: LATENT,
    channels,
    slope: 0.2,
    learningRate: 2e-4,
    betas: [0.5, 0.999],
    eps: 1e-8,
    parameters: [
      { name: "generator.project", shape: [LATENT, features], scale },
      ...generator,
      { name: "generator.bias", shape: [1], scale: 0 },
      ...discriminator,
      { name: "discriminator.score", shape: [features, 1], scale },
      { name: "discriminator.scoreBias", shape: [1], scale: 0 },
    ],
    batches: 4,
    tolerance: 5e-3, // the first steps of Adam are as long for the smallest gradients, rounding included
  };
}

/**
 * One token after the other through a GPT-2 of the smallest size, batch 1, keys and values of what came before kept: the
 * first text is `filled` random keys and values. Logits are read back; each token is given. In the style `reading`, weights are
 * summed instead: nobody decodes faster than memory is read.
 */
export interface DecodeWorkload extends Omit<StepWorkload, "learningRate" | "batches"> {
  readonly kind: "decode";
  readonly vocabSize: number;
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  readonly channels: number;
  /** Places of the cache that are filled before the first token. */
  readonly filled: number;
}

/** The workload of decoding. */
export function decodeWorkload(style: Style): DecodeWorkload {
  const V = 50257, S = 1024, LAYERS = 12, C = 768, width = 0.02 * Math.sqrt(3);
  const linear = (name: string, from: number, to: number): Parameter[] => [
    { name: `${name}.weight`, shape: [from, to], scale: width },
    { name: `${name}.bias`, shape: [to], scale: width },
  ];
  const norm = (name: string): Parameter[] => [
    { name: `${name}.scale`, shape: [C], scale: null },
    { name: `${name}.shift`, shape: [C], scale: width },
  ];
  const blocks = Array.from({ length: LAYERS }, (_, i) => [
    ...norm(`blocks.${i}.norm1`),
    ...linear(`blocks.${i}.qkv`, C, 3 * C),
    ...linear(`blocks.${i}.out`, C, C),
    ...norm(`blocks.${i}.norm2`),
    ...linear(`blocks.${i}.up`, C, 4 * C),
    ...linear(`blocks.${i}.down`, 4 * C, C),
  ]);
  return {
    kind: "decode",
    name: "GPT-2 small, one token",
    style,
    batch: 1,
    vocabSize: V,
    context: S,
    layers: LAYERS,
    heads: 12,
    channels: C,
    filled: 128,
    parameters: [
      { name: "token", shape: [V, C], scale: width },
      { name: "position", shape: [S, C], scale: width },
      ...blocks.flat(),
      ...norm("norm"),
    ],
    tolerance: style === "reading" ? Infinity : 1e-3,
  };
}
