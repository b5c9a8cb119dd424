/**
 * Training steps of Tenon's models, as a user would write them.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as cnn from "../../models/cnn.ts";
import * as gan from "../../models/gan.ts";
import * as gpt from "../../models/gpt.ts";
import * as lstm from "../../models/lstm.ts";
import type { CnnWorkload, DcganWorkload, LstmWorkload } from "../models.ts";
import type { GptWorkload, ModelWorkload } from "../workloads.ts";
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

const tensorOf = ({ data, shape }: Input<Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>>): tn.Tensor =>
  tn.tensor(data, { shape });

/** The batches on the device. */
function upload<T extends object>(batches: readonly T[]): { readonly [Name in keyof T]: tn.Tensor }[] {
  return batches.map((batch) => {
    const entries = Object.entries(batch).map(([name, input]) => [name, tensorOf(input)]);
    return Object.fromEntries(entries);
  });
}

function free(tensors: unknown): void {
  for (const leaf of tn.tree.leaves(tensors)) (leaf as tn.Tensor)[Symbol.dispose]();
}

/** One step: the losses, and everything that the step replaces. */
type Update<Training, Batch> = (training: Training, batch: Batch) => readonly [losses: readonly tn.Tensor[], Training];

/** A job that runs `update` over and over, compiled or as it stands; `batchAt` gives the batch of each step. */
function trainingJob<Training, Batch>(
  { style }: ModelWorkload,
  update: Update<Training, Batch>,
  start: Training,
  batchAt: (step: number) => Batch,
): Job {
  const eager: typeof update = (training, batch) => {
    const next = tn.scope(() => update(training, batch));
    free(training);
    return next;
  };
  const run = style === "eager" ? eager : tn.compile(update, { donate: [0] });
  let training = start;
  const step = async (number: number) => {
    const [losses, next] = run(training, batchAt(number));
    training = next;
    const values = await Promise.all(losses.map((loss) => loss.item()));
    free(losses);
    return values.map(Number);
  };
  return stepJob(step, () => free(training));
}

/** Parameters, and what their optimizer keeps. */
interface Learner<Params> {
  readonly params: Params;
  readonly state: tn.OptimizerState;
}

function learn<Params>(optimizer: tn.Optimizer, grads: Params, { params, state }: Learner<Params>): Learner<Params> {
  const [nextParams, nextState] = optimizer.update(grads, state, params);
  return { params: nextParams, state: nextState };
}

function gptJob(workload: GptWorkload): Job {
  const { vocabSize, context, layers, heads, channels, learningRate, betas, eps, weightDecay, clip } = workload;
  const config: gpt.GptConfig = { vocabSize, context, layers, heads, channels, bias: false };
  const adamw = tn.adamw({ learningRate, betas, eps, weightDecay, decayMask: ({ rank }) => rank > 1 });
  const optimizer = tn.chain(tn.clipByGlobalNorm(clip), adamw);
  const params = gptParams(workload), batches = upload(textBatches(workload));
  const update: Update<Learner<gpt.GptParams>, gpt.GptBatch> = (learner, batch) => {
    const [loss, grads] = tn.valueAndGrad(gpt.loss)(learner.params, batch, config);
    return [[loss], learn(optimizer, grads, learner)];
  };
  return trainingJob(workload, update, { params, state: optimizer.init(params) }, (i) => batches[i % batches.length]);
}

function gptParams(workload: GptWorkload): gpt.GptParams {
  const read = modelParameters(workload, tensorOf);
  return {
    token: read["token"],
    position: read["position"],
    blocks: Array.from({ length: workload.layers }, (_, i) => ({
      norm1: { scale: read[`blocks.${i}.norm1`] },
      attention: { qkv: { weight: read[`blocks.${i}.qkv`] }, out: { weight: read[`blocks.${i}.out`] } },
      norm2: { scale: read[`blocks.${i}.norm2`] },
      mlp: { up: { weight: read[`blocks.${i}.up`] }, down: { weight: read[`blocks.${i}.down`] } },
    })),
    norm: { scale: read["norm"] },
  };
}

interface CnnTraining extends Learner<cnn.CnnParams> {
  /** For dropout. */
  readonly key: tn.Key;
}

type CnnBatch = Pick<cnn.CnnBatch, "images" | "labels"> & { readonly drops: boolean };

function cnnJob(workload: CnnWorkload): Job {
  const { learningRate, decay, eps } = workload, config = cnn.presets["pytorch-mnist"];
  const optimizer = tn.adadelta({ learningRate, decay, eps });
  const read = modelParameters(workload, tensorOf), batches = upload(imageBatches(workload));
  const layer = (name: string) => ({ weight: read[`${name}.weight`], bias: read[`${name}.bias`] });
  const params: cnn.CnnParams = {
    blocks: [{ conv: layer("conv1") }, { conv: layer("conv2") }],
    dense: [layer("dense1"), layer("dense2")],
  };
  const update: Update<CnnTraining, CnnBatch> = ({ key, ...learner }, { drops, ...batch }) => {
    const [now, next] = tn.split(key);
    const [[loss], grads] = tn.valueAndGrad(cnn.loss, { hasAux: true })(
      learner.params,
      { ...batch, state: [], ...(drops && { key: now }) },
      config,
    );
    return [[loss], { ...learn(optimizer, grads, learner), key: next }];
  };
  const start = { params, state: optimizer.init(params), key: tn.key(0) };
  return trainingJob(workload, update, start, (i) => ({ ...batches[i % batches.length], drops: i >= COMPARED }));
}

interface LstmTraining extends Learner<lstm.TokenParams> {
  /** What is carried to the next batch. */
  readonly carried: lstm.LstmState;
}

type LstmBatch = Pick<lstm.TokenBatch, "tokens" | "targets">;

function lstmJob(workload: LstmWorkload): Job {
  const { learningRate, decay, eps, clip, layers, batch: B, units: H, vocabSize } = workload;
  const config: lstm.TokenConfig = { vocabSize, hidden: H, layers };
  const optimizer = tn.chain(tn.clipByGlobalNorm(clip), tn.rmsprop({ learningRate, decay, eps }));
  const params = lstmParams(workload);
  const batches: LstmBatch[] = textBatches(workload).map(({ tokens, targets }) => ({
    tokens: tn.transpose(tensorOf(tokens)), // [B, T]
    targets: tn.transpose(tensorOf(targets)),
  }));
  const update: Update<LstmTraining, LstmBatch> = ({ carried, ...learner }, batch) => {
    const lossAndState = tn.valueAndGrad(lstm.lossAndState, { hasAux: true });
    const [[loss, next], grads] = lossAndState(learner.params, { ...batch, state: carried }, config);
    return [[loss], { ...learn(optimizer, grads, learner), carried: next }];
  };
  const carried = { hidden: tn.zeros([layers, B, H]), cell: tn.zeros([layers, B, H]) };
  const start = { params, state: optimizer.init(params), carried };
  return trainingJob(workload, update, start, (i) => batches[i % batches.length]);
}

function lstmParams(workload: LstmWorkload): lstm.TokenParams {
  const read = modelParameters(workload, tensorOf);
  const layers = Array.from({ length: workload.layers }, (_, i) => [
    [`weight_ih_l${i}`, read[`layers.${i}.input`]],
    [`weight_hh_l${i}`, read[`layers.${i}.hidden`]],
    [`bias_ih_l${i}`, read[`layers.${i}.bias`]],
    [`bias_hh_l${i}`, read[`layers.${i}.hiddenBias`]],
  ]);
  return {
    layers: Object.fromEntries(layers.flat()),
    head: { weight: read["out.weight"], bias: read["out.bias"] },
  };
}

interface DcganTraining {
  readonly generator: Learner<gan.GeneratorParams>;
  readonly discriminator: Learner<gan.DiscriminatorParams>;
  readonly averages: gan.GeneratorState;
}

interface DcganBatch {
  readonly real: tn.Tensor; // [B, 1, S, S]
  readonly latent: tn.Tensor; // [B, Z]
}

function dcganJob(workload: DcganWorkload): Job {
  const { learningRate, betas, eps, size, latent, channels } = workload;
  const config: gan.GanConfig = { size, latent, channels };
  const optimizer = tn.adam({ learningRate, betas, eps });
  const { generator, discriminator } = ganParams(workload), batches = upload(ganBatches(workload));
  const update: Update<DcganTraining, DcganBatch> = (training, { real, latent }) => {
    const fake = gan.generate(training.generator.params, { latent }, config);
    const [lossD, gradsD] = tn.valueAndGrad(gan.discriminatorLoss)(
      training.discriminator.params,
      { real, fake },
      config,
    );
    const discriminator = learn(optimizer, gradsD, training.discriminator);
    const batch: gan.GeneratorBatch = { latent, discriminator: discriminator.params, state: training.averages };
    const [[lossG, averages], gradsG] = tn.valueAndGrad(gan.generatorLoss, { hasAux: true })(
      training.generator.params,
      batch,
      config,
    );
    return [[lossD, lossG], { generator: learn(optimizer, gradsG, training.generator), discriminator, averages }];
  };
  const start: DcganTraining = {
    generator: { params: generator, state: optimizer.init(generator) },
    discriminator: { params: discriminator, state: optimizer.init(discriminator) },
    averages: gan.initState(config),
  };
  return trainingJob(workload, update, start, (i) => batches[i % batches.length]);
}

function ganParams(workload: DcganWorkload): gan.GanParams {
  const read = modelParameters(workload, tensorOf);
  const norm = (name: string) => ({ scale: read[`${name}.scale`], shift: read[`${name}.shift`] });
  return {
    generator: {
      project: read["generator.project"],
      blocks: workload.channels.map((_, i) => ({ norm: norm(`generator.${i}`), up: read[`generator.${i}.up`] })),
      bias: read["generator.bias"],
    },
    discriminator: {
      blocks: workload.channels.map((_, i) => ({
        down: read[`discriminator.${i}.down`],
        ...(i === 0 ? { bias: read["discriminator.0.bias"] } : { norm: norm(`discriminator.${i}`) }),
      })),
      score: { weight: read["discriminator.score"], bias: read["discriminator.scoreBias"] },
    },
  };
}
