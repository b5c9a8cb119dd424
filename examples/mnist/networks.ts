/**
 * The networks that the example can train, and how they are kept in files.
 *
 * @module
 */
import type * as tn from "../../mod.ts";
import { readSafetensors, writeSafetensors } from "../../io/safetensors.ts";
import * as cnn from "../../models/cnn.ts";
import * as resnet from "../../models/resnet.ts";

/** What is learned: `params` by gradients, `state` (the running averages of batch norms) by looking. */
export interface Model<P = unknown, S = unknown> {
  readonly params: P;
  readonly state: S;
}

/** What a network learns from. */
export interface Batch {
  /** `[B, 1, 28, 28]` f32, from 0 (background) to 1. */
  readonly images: tn.Tensor;
  /** `[B]` i32, from 0 to 9. */
  readonly labels: tn.Tensor;
}

/** A network with all its choices made. */
export interface Network<P = unknown, S = unknown> {
  readonly name: NetworkName;
  /** What it is, in words. */
  readonly about: string;
  readonly parameterCount: number;
  init(key: tn.Key): Model<P, S>;
  /** The loss of a batch in training, and the state after it; the key is for dropout. */
  loss(params: P, batch: Batch & { readonly state: S; readonly key?: tn.Key }): readonly [loss: tn.Tensor, state: S];
  /** `[B, 1, 28, 28]` -> logits `[B, 10]`. */
  apply(model: Model<P, S>, images: tn.Tensor): tn.Tensor;
}

/** How a network is chosen on the command line. */
export type NetworkName = "cnn" | "resnet";

/** Three blocks of convolution, batch norm and pool, then a dense layer of 128. */
export const CNN: cnn.CnnConfig = cnn.presets.mnist;

/** Three residual blocks, one in each stage. */
const RESNET: resnet.ResnetConfig = {
  stem: "cifar",
  block: "basic",
  stages: [1, 1, 1],
  width: 8,
  channels: 1,
  classes: 10,
};

/** All there are; the first is the default. */
export const NETWORKS: Readonly<Record<NetworkName, Network>> = {
  cnn: {
    name: "cnn",
    about: `${CNN.blocks.length} convolutional blocks`,
    parameterCount: cnn.parameterCount(CNN),
    init: (key) => cnn.init(key, CNN),
    loss: (params: cnn.CnnParams, batch: cnn.CnnBatch) => cnn.loss(params, batch, CNN),
    apply: (model: cnn.Cnn, images) => cnn.apply(model, images, CNN),
  } satisfies Network<cnn.CnnParams, cnn.CnnState>,
  resnet: {
    name: "resnet",
    about: `${RESNET.stages.length} residual blocks`,
    parameterCount: resnet.parameterCount(RESNET),
    init: (key) => resnet.init(key, RESNET),
    loss: (params: resnet.ResnetParams, batch: resnet.ResnetBatch) => resnet.loss(params, batch, RESNET),
    apply: (model: resnet.Resnet, images) => resnet.apply(model, images, RESNET),
  } satisfies Network<resnet.ResnetParams, resnet.ResnetState>,
};

/** A trained network. */
export interface Trained {
  readonly network: NetworkName;
  readonly model: Model;
  /** Part of the test images that it labels right. */
  readonly accuracy: number;
}

const FORMAT = "tenon mnist";

/** Writes a trained network to `path`, whole or not at all. */
export async function saveNetwork(path: string, { network, model, accuracy }: Trained): Promise<void> {
  await writeSafetensors(path, model, { metadata: { format: FORMAT, network, accuracy: String(accuracy) } });
}

/** Reads a trained network from `path`. Throws an `Error` that says what is wrong with the file. */
export async function loadNetwork(path: string): Promise<Trained> {
  const { tree, metadata } = await readSafetensors(path);
  const { format, network, accuracy } = metadata;
  if (format !== FORMAT || !Object.hasOwn(NETWORKS, network)) {
    throw new Error(`Cannot load a network from ${path}: examples/mnist.ts did not write it`);
  }
  return { network: network as NetworkName, model: tree as Model, accuracy: Number(accuracy) };
}
