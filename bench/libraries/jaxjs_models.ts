/**
 * Training steps of models in jax-js, each under `jit`.
 *
 * @module
 */
import { type Array as JaxArray, jit, nn, numpy as np, random, tree, valueAndGrad, vjp } from "npm:@jax-js/jax@0.1.25";
import type { CnnWorkload, DcganWorkload, LstmWorkload } from "../models.ts";
import type { GptWorkload, ModelWorkload } from "../workloads.ts";
import {
  adadelta,
  adam,
  clip,
  corrections,
  learn,
  type Learner,
  learnerOf,
  type Params,
  rmsprop,
} from "./jaxjs_optimizers.ts";
import { channelsFirst, conv, doublingConv, halvingConv } from "./jaxjs_conv.ts";
import {
  COMPARED,
  ganBatches,
  imageBatches,
  type Input,
  type Job,
  modelParameters,
  stepJob,
  textBatches,
} from "./library.ts";

/** The job of a training step. */
export function modelJob(workload: ModelWorkload): Job {
  switch (workload.kind) {
    case "gpt":
      return gptJob(workload);
    case "cnn":
      return cnnJob(workload);
    case "lstm":
      return lstmJob(workload);
    case "dcgan":
      return dcganJob(workload);
  }
}

const arrayOf = ({ data, shape }: Input<Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>>): JaxArray =>
  np.array(data, { shape: [...shape] });

/** The batches on the device. */
function upload<T extends object>(batches: readonly T[]): { readonly [Name in keyof T]: JaxArray }[] {
  return batches.map((batch) => {
    const entries = Object.entries(batch).map(([name, input]) => [name, arrayOf(input)]);
    return Object.fromEntries(entries);
  });
}

const read = async (loss: JaxArray): Promise<number> => (await loss.data())[0];

/** Normalized over the last axis. */
export function layerNorm(x: JaxArray, scale: JaxArray, shift?: JaxArray): JaxArray {
  const y = nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale);
  return shift ? y.add(shift) : y;
}

/** Mean cross-entropy of rows of logits. */
function crossEntropy(logits: JaxArray, labels: JaxArray): JaxArray {
  const classes = logits.shape.at(-1)!, count = logits.size / classes;
  return nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, classes)).sum().mul(-1 / count);
}

function gptJob(workload: GptWorkload): Job {
  const rule = adam(workload), batches = upload(textBatches(workload));
  const update = jit((learner: Learner, tokens: JaxArray, targets: JaxArray, scales: JaxArray) => {
    const lossOf = (params: Params) => gptLoss(workload, params, tokens, targets);
    const [loss, grads] = valueAndGrad(lossOf)(tree.ref(learner.params)) as [JaxArray, Params];
    const scalars = [scales.ref.slice(0), scales.slice(1)];
    return [loss, learn(rule, clip(grads, workload.clip), learner, scalars)] as [JaxArray, Learner];
  });
  let learner = learnerOf(modelParameters(workload, arrayOf), rule);
  const step = async (number: number) => {
    const { tokens, targets } = batches[number % batches.length];
    const [loss, next] = update(learner, tokens.ref, targets.ref, corrections(workload, number + 1));
    learner = next as Learner;
    return [await read(loss)];
  };
  return stepJob(step, () => tree.dispose([learner, batches]));
}

function gptLoss(workload: GptWorkload, params: Params, tokens: JaxArray, targets: JaxArray): JaxArray {
  const { batch: B, context: T, channels: C, heads: H, layers, vocabSize: V } = workload;
  let x = np.matmul(nn.oneHot(tokens, V), params.token.ref).add(params.position); // [B, T, C]
  for (let i = 0; i < layers; i++) {
    const own = (name: string) => params[`blocks.${i}.${name}`];
    const [q, k, v] = np.split(np.matmul(layerNorm(x.ref, own("norm1")), own("qkv")), 3, -1)
      .map((part) => part.reshape([B, T, H, C / H]));
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([B, T, C]);
    x = x.add(np.matmul(attended, own("out")));
    const hidden = nn.gelu(np.matmul(layerNorm(x.ref, own("norm2")), own("up")), { approximate: false });
    x = x.add(np.matmul(hidden, own("down")));
  }
  return crossEntropy(np.matmul(layerNorm(x, params.norm), params.token.transpose()), targets); // of [B, T, V]
}

function cnnJob(workload: CnnWorkload): Job {
  const rule = adadelta(workload), batches = upload(imageBatches(workload));
  const updateOf = (drops: boolean) =>
    jit((learner: Learner, images: JaxArray, labels: JaxArray, key: JaxArray) => {
      const keys = random.split(key, 3), [first, second, next] = [0, 1, 2].map((i) => keys.ref.slice(i));
      keys.dispose();
      const lossOf = (params: Params) => cnnLoss(workload, params, images, labels, drops ? [first, second] : null);
      const [loss, grads] = valueAndGrad(lossOf)(tree.ref(learner.params)) as [JaxArray, Params];
      return [loss, learn(rule, grads, learner), next] as [JaxArray, Learner, JaxArray];
    });
  const [plain, dropping] = [false, true].map(updateOf);
  let learner = learnerOf(modelParameters(workload, arrayOf), rule), key = random.key(0);
  const step = async (number: number) => {
    const { images, labels } = batches[number % batches.length], update = number < COMPARED ? plain : dropping;
    const [loss, next, nextKey] = update(learner, images.ref, labels.ref, key);
    [learner, key] = [next as Learner, nextKey];
    return [await read(loss)];
  };
  return stepJob(step, () => tree.dispose([learner, key, batches]));
}

function cnnLoss(
  { batch, dropout }: CnnWorkload,
  params: Params,
  images: JaxArray,
  labels: JaxArray,
  keys: readonly JaxArray[] | null,
): JaxArray {
  const layer = (x: JaxArray, name: string) =>
    nn.relu(conv(x, params[`${name}.weight`]).add(params[`${name}.bias`].reshape([-1, 1, 1, 1])));
  const linear = (x: JaxArray, name: string) => np.matmul(x, params[`${name}.weight`]).add(params[`${name}.bias`]);
  const drop = (x: JaxArray, i: number) =>
    keys ? np.where(random.bernoulli(keys[i], 1 - dropout[i], x.shape), x.div(1 - dropout[i]), 0) : x;
  const x = layer(layer(channelsFirst(images), "conv1"), "conv2"); // [64, B, 24, 24]
  const pooled = np.max(x.reshape([64, batch, 12, 2, 12, 2]), [3, 5]); // [64, B, 12, 12]
  const flat = channelsFirst(pooled).reshape([batch, -1]); // [B, 64·12·12]
  const features = drop(nn.relu(linear(drop(flat, 0), "dense1")), 1); // [B, 128]
  return crossEntropy(linear(features, "dense2"), labels);
}

function lstmJob(workload: LstmWorkload): Job {
  const { layers, batch, units, clip: maxNorm } = workload;
  const rule = rmsprop(workload), batches = upload(textBatches(workload));
  const update = jit((learner: Learner, carried: JaxArray[], tokens: JaxArray, targets: JaxArray) => {
    const lossOf = (params: Params) => lstmLoss(workload, params, carried, tokens, targets);
    const [[loss, next], grads] = valueAndGrad(lossOf, { hasAux: true })(tree.ref(learner.params)) as unknown as [
      [JaxArray, JaxArray[]],
      Params,
    ];
    return [loss, learn(rule, clip(grads, maxNorm), learner), next] as [JaxArray, Learner, JaxArray[]];
  });
  let learner = learnerOf(modelParameters(workload, arrayOf), rule);
  let carried = Array.from({ length: 2 * layers }, () => np.zeros([batch, units])); // hidden and cell of each layer
  const step = async (number: number) => {
    const { tokens, targets } = batches[number % batches.length];
    const [loss, next, nextCarried] = update(learner, carried, tokens.ref, targets.ref);
    [learner, carried] = [next as Learner, nextCarried as JaxArray[]];
    return [await read(loss)];
  };
  return stepJob(step, () => tree.dispose([learner, carried, batches]));
}

/** Unrolled: there is no loop that is differentiated. */
function lstmLoss(
  { sequence: T, batch: B, vocabSize: V, layers }: LstmWorkload,
  params: Params,
  carried: readonly JaxArray[],
  tokens: JaxArray,
  targets: JaxArray,
): [loss: JaxArray, carried: JaxArray[]] {
  let x = nn.oneHot(tokens, V).reshape([T * B, V]);
  const next: JaxArray[] = [];
  for (let i = 0; i < layers; i++) {
    const own = (name: string) => params[`layers.${i}.${name}`];
    const bias = own("bias").add(own("hiddenBias")), recur = own("hidden").transpose(); // [H, 4·H]
    const gates = np.split(np.matmul(x, own("input").transpose()).add(bias), T); // T x [B, 4·H]
    let [hidden, cell] = carried.slice(2 * i);
    const outputs = gates.map((fromInput) => {
      const [i, f, g, o] = np.split(fromInput.add(np.matmul(hidden, recur.ref)), 4, -1);
      cell = nn.sigmoid(f).mul(cell).add(nn.sigmoid(i).mul(np.tanh(g)));
      hidden = nn.sigmoid(o).mul(np.tanh(cell.ref));
      return hidden.ref;
    });
    recur.dispose();
    x = np.concatenate(outputs); // [T·B, H]
    next.push(hidden, cell);
  }
  const logits = np.matmul(x, params["out.weight"]).add(params["out.bias"]);
  return [crossEntropy(logits, targets.reshape([T * B])), next];
}

function dcganJob(workload: DcganWorkload): Job {
  const rule = adam(workload), batches = upload(ganBatches(workload));
  const update = jit(
    (generator: Learner, discriminator: Learner, real: JaxArray, latent: JaxArray, scales: JaxArray) => {
      const [fake, back] = vjp((params: Params) => generate(workload, params, latent), [
        tree.ref(generator.params),
      ]) as [
        JaxArray,
        (grad: JaxArray) => [Params],
      ];
      const scalars = () => [scales.ref.slice(0), scales.ref.slice(1)];
      const lossOf = (params: Params) =>
        cost(discriminate(workload, tree.ref(params), channelsFirst(real)), true)
          .add(cost(discriminate(workload, params, fake.ref), false));
      const [lossD, gradsD] = valueAndGrad(lossOf)(tree.ref(discriminator.params)) as [JaxArray, Params];
      const nextD = learn(rule, gradsD, discriminator, scalars());
      const deceit = (fake: JaxArray) => cost(discriminate(workload, tree.ref(nextD.params), fake), true);
      const [lossG, grad] = valueAndGrad(deceit)(fake);
      const nextG = learn(rule, back(grad)[0], generator, scalars());
      scales.dispose();
      return [lossD, lossG, nextG, nextD] as [JaxArray, JaxArray, Learner, Learner];
    },
  );
  const params = Object.entries(modelParameters(workload, arrayOf));
  const learnerNamed = (owner: string) =>
    learnerOf(Object.fromEntries(params.filter(([name]) => name.startsWith(owner))), rule);
  let generator = learnerNamed("generator"), discriminator = learnerNamed("discriminator");
  const step = async (number: number) => {
    const { real, latent } = batches[number % batches.length], scales = corrections(workload, number + 1);
    const [lossD, lossG, nextG, nextD] = update(generator, discriminator, real.ref, latent.ref, scales);
    [generator, discriminator] = [nextG as Learner, nextD as Learner];
    return [await read(lossD), await read(lossG)];
  };
  return stepJob(step, () => tree.dispose([generator, discriminator, batches]));
}

/** Mean binary cross-entropy of logits whose targets are all one or all zero. */
function cost(logits: JaxArray, isReal: boolean): JaxArray {
  return np.mean(nn.softplus(isReal ? logits.neg() : logits));
}

/** Normalized by the batch, `[C, B, S, S]`. */
function batchNorm(x: JaxArray, params: Params, name: string): JaxArray {
  const view = [-1, 1, 1, 1],
    scale = params[`${name}.scale`].reshape(view),
    shift = params[`${name}.shift`].reshape(view);
  return nn.standardize(x, [1, 2, 3], { epsilon: 1e-5 }).mul(scale).add(shift);
}

function generate({ batch, size, channels }: DcganWorkload, params: Params, latent: JaxArray): JaxArray {
  const side = size / 2 ** channels.length;
  let x = channelsFirst(np.matmul(latent, params["generator.project"]).reshape([batch, -1, side, side]));
  for (const i of channels.keys()) {
    x = doublingConv(nn.relu(batchNorm(x, params, `generator.${i}`)), params[`generator.${i}.up`]);
  }
  return np.tanh(x.add(params["generator.bias"])); // [1, B, S, S]
}

function discriminate({ batch, channels, slope }: DcganWorkload, params: Params, images: JaxArray): JaxArray {
  let x = images;
  for (const i of channels.keys()) {
    const name = `discriminator.${i}`;
    x = halvingConv(x, params[`${name}.down`]);
    x = i === 0 ? x.add(params[`${name}.bias`].reshape([-1, 1, 1, 1])) : batchNorm(x, params, name);
    x = nn.leakyRelu(x, slope);
  }
  const features = channelsFirst(x).reshape([batch, -1]);
  return np.matmul(features, params["discriminator.score"]).add(params["discriminator.scoreBias"]);
}
