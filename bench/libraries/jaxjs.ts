/**
 * jax-js, whose functions consume their arguments: `.ref` keeps one for another use. Composed ops are under `jit`.
 *
 * @module
 */
import {
  type Array as JaxArray,
  defaultDevice,
  type Device,
  init,
  jit,
  lax,
  nn,
  numpy as np,
  tree,
  valueAndGrad,
} from "npm:@jax-js/jax@0.1.25";
import type { GptWorkload, OpName, OpWorkload } from "../workloads.ts";
import { gptBatches, gptInputs, type Job, type Library, type LibraryOptions, opInputs, stepJob } from "./library.ts";

const VERSION = "0.1.25";

/** Normalized over the last axis. */
function layerNorm(x: JaxArray, scale: JaxArray, shift?: JaxArray): JaxArray {
  const y = nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale);
  return shift ? y.add(shift) : y;
}

const ops: Readonly<Record<OpName, (...inputs: JaxArray[]) => JaxArray>> = {
  matmul: (a, b) => np.matmul(a, b),
  conv: (x, w) => lax.conv(x, w, [1, 1], "SAME"),
  softmax: jit((x: JaxArray) => nn.softmax(x, -1)),
  layerNorm: jit((x: JaxArray, scale: JaxArray, shift: JaxArray) => layerNorm(x, scale, shift)),
  gelu: jit((x: JaxArray) => nn.gelu(x, { approximate: false })),
  exp: (x) => np.exp(x),
  add: (a, b) => a.add(b),
  sum: (x) => x.sum(1),
  maxPool: jit((x: JaxArray) => lax.reduceWindow(x, (window) => np.max(window), [2, 2], [2, 2])),
};

/** Makes a device of jax-js the default one. It runs as many threads as the machine has. */
export async function openJaxJs({ backend }: LibraryOptions): Promise<Library> {
  const device = backend as Device;
  if (!(await init(device)).includes(device)) throw new Error(`jax-js has no ${backend} here`);
  defaultDevice(device);
  return {
    description: VERSION,
    prepare(workload) {
      defaultDevice(device);
      return workload.kind === "op" ? opJob(workload) : gptJob(workload);
    },
  };
}

function opJob(workload: OpWorkload): Job {
  const inputs = opInputs(workload).map(({ data, shape }) => np.array(data, { shape: [...shape] }));
  const f = ops[workload.op];
  return {
    values: () => f(...inputs.map((input) => input.ref)).data(),
    async run() {
      const y = f(...inputs.map((input) => input.ref));
      await y.blockUntilReady(); // computes, and reads nothing back after that
      y.dispose();
    },
    dispose: () => inputs.forEach((input) => input.dispose()),
  };
}

type Params = { [name: string]: JaxArray };

/** Parameters and AdamW's averages. */
type State = { params: Params; mean: Params; square: Params };

function gptJob(workload: GptWorkload): Job {
  const inputs = gptInputs(workload);
  const params = Object.fromEntries(
    inputs.map(({ name, data, shape }) => [name, np.array(data, { shape: [...shape] })]),
  );
  const zeros = () => Object.fromEntries(inputs.map(({ name, shape }) => [name, np.zeros([...shape])]));
  const batches = gptBatches(workload).map(({ tokens, targets }) => ({
    tokens: np.array(tokens.data, { shape: [...tokens.shape] }),
    targets: np.array(targets.data, { shape: [...targets.shape] }),
  }));
  const update = jit(trainingStep(workload));
  let state: State = { params, mean: zeros(), square: zeros() }, steps = 0;
  const step = async () => {
    const { tokens, targets } = batches[steps++ % batches.length];
    const [loss, next] = update(state, tokens.ref, targets.ref, corrections(workload, steps)) as [JaxArray, State];
    state = next;
    return (await loss.data())[0];
  };
  return stepJob(step, () => tree.dispose([state, batches]));
}

/** What AdamW multiplies by in update `t`, from 1: `[η/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)]`. */
function corrections({ learningRate, betas }: GptWorkload, t: number): JaxArray {
  return np.array([learningRate / (1 - betas[0] ** t), 1 / Math.sqrt(1 - betas[1] ** t)]);
}

function trainingStep(workload: GptWorkload) {
  const { betas: [beta1, beta2], eps, weightDecay, learningRate, clip } = workload;
  return (state: State, tokens: JaxArray, targets: JaxArray, scales: JaxArray): [JaxArray, State] => {
    const [loss, grads] = valueAndGrad((params: Params) => gptLoss(workload, params, tokens, targets))(
      tree.ref(state.params),
    ) as [JaxArray, Params];
    const squares = Object.values(grads).map((grad) => np.square(grad.ref).sum());
    const norm = np.sqrt(squares.reduce((total, next) => total.add(next)));
    const shrink = np.minimum(np.reciprocal(norm.add(1e-6)).mul(clip), 1);
    const [rate, scale] = [scales.ref.slice(0), scales.slice(1)];
    const next: State = { params: {}, mean: {}, square: {} };
    for (const name of Object.keys(grads)) {
      const grad = grads[name].mul(shrink.ref);
      const mean = state.mean[name].mul(beta1).add(grad.ref.mul(1 - beta1));
      const square = state.square[name].mul(beta2).add(np.square(grad).mul(1 - beta2));
      const decay = state.params[name].ndim > 1 ? 1 - learningRate * weightDecay : 1;
      const change = mean.ref.mul(rate.ref).div(np.sqrt(square.ref).mul(scale.ref).add(eps));
      next.params[name] = state.params[name].mul(decay).sub(change);
      next.mean[name] = mean;
      next.square[name] = square;
    }
    for (const used of [shrink, rate, scale]) used.dispose();
    return [loss, next];
  };
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
  const logits = np.matmul(layerNorm(x, params.norm), params.token.transpose()); // [B, T, V]
  return nn.logSoftmax(logits, -1).mul(nn.oneHot(targets, V)).sum().mul(-1 / (B * T));
}
