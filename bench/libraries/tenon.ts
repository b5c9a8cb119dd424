/**
 * Tenon itself, as a user would call it.
 *
 * @module
 */
import { createWasm } from "../../backends/wasm/mod.ts";
import * as tn from "../../mod.ts";
import * as gpt from "../../models/gpt.ts";
import type { GptWorkload, OpName, OpWorkload } from "../workloads.ts";
import { gptBatches, gptInputs, type Job, type Library, type LibraryOptions, opInputs, stepJob } from "./library.ts";

const ops: Readonly<Record<OpName, (...inputs: tn.Tensor[]) => tn.Tensor>> = {
  matmul: (a, b) => tn.matmul(a, b),
  conv: (x, w) => tn.conv(x, w, { padding: 1 }),
  softmax: (x) => tn.softmax(x),
  layerNorm: (x, scale, shift) => tn.layerNorm(x, { scale, shift }),
  gelu: (x) => tn.gelu(x),
  exp: (x) => tn.exp(x),
  add: (a, b) => tn.add(a, b),
  sum: (x) => tn.sum(x, { axis: 1 }),
  maxPool: (x) => tn.maxPool(x, 2),
};

/** Makes a backend of Tenon the one in use; a WASM backend of so many threads gets a name of its own. */
export async function openTenon({ backend, threads }: LibraryOptions): Promise<Library> {
  const name = threads === undefined ? backend : `${backend}, ${threads} threads`;
  if (threads !== undefined) tn.registerBackend(name, () => ({ ...createWasm({ threads }), name }));
  const { description } = await tn.use(name);
  return {
    description: `${backend}${description && ` (${description})`}`,
    async prepare(workload) {
      await tn.use(name); // another library of this process may have chosen another one since
      return workload.kind === "op" ? opJob(workload) : gptJob(workload);
    },
  };
}

function opJob(workload: OpWorkload): Job {
  const inputs = opInputs(workload).map(({ data, shape }) => tn.tensor(data, { shape })), f = ops[workload.op];
  return {
    async values() {
      using y = f(...inputs);
      return await y.data();
    },
    async run() {
      using y = f(...inputs);
      await y.backend.read(y.storage.buffer, 4); // one element: everything before it has run
    },
    dispose: () => inputs.forEach((input) => input[Symbol.dispose]()),
  };
}

function gptJob(workload: GptWorkload): Job {
  const { vocabSize, context, layers, heads, channels, learningRate, betas, eps, weightDecay, clip } = workload;
  const config: gpt.GptConfig = { vocabSize, context, layers, heads, channels, bias: false };
  const decayMask: tn.DecayMask = ({ rank }) => rank > 1;
  const adamw = tn.adamw({ learningRate, betas, eps, weightDecay, decayMask });
  const optimizer = tn.chain(tn.clipByGlobalNorm(clip), adamw);
  const update = (params: gpt.GptParams, state: tn.OptimizerState, batch: gpt.GptBatch) => {
    const [loss, grads] = tn.valueAndGrad(gpt.loss)(params, batch, config);
    return [loss, ...optimizer.update(grads, state, params)] as const;
  };
  const compiled = tn.compile(update, { donate: [0, 1] });
  const eager: typeof update = (params, state, batch) => {
    const next = tn.scope(() => update(params, state, batch));
    free([params, state]);
    return next;
  };
  const run = workload.style === "eager" ? eager : compiled;

  const batches = gptBatches(workload).map(({ tokens, targets }): gpt.GptBatch => ({
    tokens: tn.tensor(tokens.data, { shape: tokens.shape }),
    targets: tn.tensor(targets.data, { shape: targets.shape }),
  }));
  let params = gptParams(workload), state = optimizer.init(params), steps = 0;
  const step = async () => {
    let loss: tn.Tensor;
    [loss, params, state] = run(params, state, batches[steps++ % batches.length]);
    const value = await loss.item();
    loss[Symbol.dispose]();
    return Number(value);
  };
  return stepJob(step, () => free([params, state, batches]));
}

function gptParams(workload: GptWorkload): gpt.GptParams {
  const inputs = new Map(gptInputs(workload).map((input) => [input.name, input]));
  const read = (name: string) => {
    const { data, shape } = inputs.get(name)!;
    return tn.tensor(data, { shape });
  };
  return {
    token: read("token"),
    position: read("position"),
    blocks: Array.from({ length: workload.layers }, (_, i) => ({
      norm1: { scale: read(`blocks.${i}.norm1`) },
      attention: { qkv: { weight: read(`blocks.${i}.qkv`) }, out: { weight: read(`blocks.${i}.out`) } },
      norm2: { scale: read(`blocks.${i}.norm2`) },
      mlp: { up: { weight: read(`blocks.${i}.up`) }, down: { weight: read(`blocks.${i}.down`) } },
    })),
    norm: { scale: read("norm") },
  };
}

function free(tensors: unknown): void {
  for (const leaf of tn.tree.leaves(tensors)) (leaf as tn.Tensor)[Symbol.dispose]();
}
