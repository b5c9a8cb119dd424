/**
 * Decoding with Tenon, as a user would write it.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as gpt from "../../models/gpt.ts";
import type { DecodeWorkload } from "../models.ts";
import { sample } from "../values.ts";
import { cacheInputs, type Job, modelParameters, stepJob, tokenAt } from "./library.ts";

/** The job of decoding. */
export function decodeJob(workload: DecodeWorkload): Job {
  const { vocabSize, context, layers, heads, channels } = workload;
  const config: gpt.GptConfig = { vocabSize, context, layers, heads, channels, gelu: "tanh" };
  const params = gptParams(workload);
  if (workload.style === "reading") return readingJob(params);
  const extend = tn.compile(
    (cache: gpt.GptCache, token: tn.Tensor, params: gpt.GptParams) => gpt.extend(params, token, cache, config),
    { donate: [0] },
  );
  let cache: gpt.GptCache | undefined;
  const step = async (number: number) => {
    const { token, position } = tokenAt(workload, number);
    if (position === workload.filled) {
      free(cache);
      cache = firstCache(workload);
    }
    using tokens = tn.tensor(new Int32Array([token]), { shape: [1, 1] });
    const [logits, longer] = extend(cache!, tokens, params);
    cache = longer;
    const values = await logits.data();
    logits[Symbol.dispose]();
    return sample(values);
  };
  return stepJob(step, () => free([params, cache]));
}

/** Sums all weights: the least that a token may take. */
function readingJob(params: gpt.GptParams): Job {
  const sums = tn.compile((params: gpt.GptParams) =>
    tn.tree.leaves(params).map((weight) => tn.sum(weight as tn.Tensor))
  );
  const step = async () => {
    const found = sums(params);
    const values = await Promise.all(found.map((sum) => sum.item()));
    free(found);
    return values.map(Number);
  };
  return stepJob(step, () => free(params));
}

function free(tensors: unknown): void {
  for (const leaf of tn.tree.leaves(tensors)) (leaf as tn.Tensor)[Symbol.dispose]();
}

function firstCache(workload: DecodeWorkload): gpt.GptCache {
  const { context, filled } = workload;
  return tn.scope(() => ({
    blocks: cacheInputs(workload).map(({ data, shape: [, heads, , width] }) => {
      const block = tn.tensor(data, { shape: [2, 1, heads, 1, filled, width] });
      return tn.pad(block, [[0, 0], [0, 0], [0, 0], [0, 0], [0, context - filled], [0, 0]]);
    }),
    length: tn.tensor(filled, { dtype: "i32" }),
    start: tn.zeros([1], { dtype: "i32" }),
  }));
}

function gptParams(workload: DecodeWorkload): gpt.GptParams {
  const read = modelParameters(workload, ({ data, shape }) => tn.tensor(data, { shape }));
  const norm = (name: string) => ({ scale: read[`${name}.scale`], shift: read[`${name}.shift`] });
  const linear = (name: string) => ({ weight: read[`${name}.weight`], bias: read[`${name}.bias`] });
  return {
    token: read["token"],
    position: read["position"],
    blocks: Array.from({ length: workload.layers }, (_, i) => ({
      norm1: norm(`blocks.${i}.norm1`),
      attention: { qkv: linear(`blocks.${i}.qkv`), out: linear(`blocks.${i}.out`) },
      norm2: norm(`blocks.${i}.norm2`),
      mlp: { up: linear(`blocks.${i}.up`), down: linear(`blocks.${i}.down`) },
    })),
    norm: norm("norm"),
  };
}
