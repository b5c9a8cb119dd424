/** Every backend against values made by PyTorch. @module */
import { assertEquals } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, golden, type Packed, unpack } from "./golden.ts";

interface GoldenCase {
  readonly op: string;
  readonly name: string;
  readonly inputs: readonly Packed[];
  // deno-lint-ignore no-explicit-any -- each op has options of its own
  readonly options: any;
  readonly outputs: readonly Packed[];
  readonly cotangents?: readonly (Packed | null)[];
  readonly gradients?: readonly (Packed | null)[];
}

type Call = (inputs: Tensor[], options: GoldenCase["options"]) => Tensor | Tensor[];

/** How a golden case calls an op; the plain way is `op(...inputs, options)`. */
const calls: Record<string, Call> = {
  attention: ([q, k, v, mask], options) => tn.attention(q, k, v, { ...options, mask }),
  batchNorm: ([x, scale, shift, mean, variance], options) =>
    tn.batchNorm(x, { scale, shift }, { ...options, ...mean && { statistics: { mean, variance } } }),
  broadcastTo: ([x], { shape }) => tn.broadcastTo(x, shape),
  concat: (xs, { axis }) => tn.concat(xs, axis),
  conv: ([x, w, bias], options) => tn.conv(x, w, { ...options, bias }),
  convTranspose: ([x, w, bias], options) => tn.convTranspose(x, w, { ...options, bias }),
  einsum: (xs, { equation }) => tn.einsum(equation, ...xs),
  flip: ([x], { axis }) => tn.flip(x, axis),
  gru: ([xs, input, hidden, start, bias, hiddenBias], options) =>
    tn.gru(xs, { input, hidden, bias, hiddenBias }, { ...options, hidden: start }),
  groupNorm: ([x, scale, shift], options) => tn.groupNorm(x, { scale, shift }, options),
  layerNorm: ([x, scale, shift], options) => tn.layerNorm(x, { scale, shift }, options),
  linear: ([x, weight, bias]) => tn.linear(x, { weight, bias }),
  lstm: ([xs, input, hidden, start, cell, bias, hiddenBias], options) => {
    const state = start && { hidden: start, cell };
    const [outputs, last] = tn.lstm(xs, { input, hidden, bias, hiddenBias }, { ...options, state });
    return [outputs, last.hidden, last.cell];
  },
  maxPool: ([x], { size, ...options }) => tn.maxPool(x, size, options),
  avgPool: ([x], { size, ...options }) => tn.avgPool(x, size, options),
  pad: ([x], { widths, ...options }) => tn.pad(x, widths, options),
  pow: ([x, y], { exponents }) => tn.pow(x, y ?? tn.tensor(exponents)),
  repeat: ([x], { count, axis }) => tn.repeat(x, count, { axis }),
  reshape: ([x], { shape }) => tn.reshape(x, shape),
  rmsNorm: ([x, scale], options) => tn.rmsNorm(x, { scale }, options),
  slice: ([x], { start, stop, step }) => tn.slice(x, start, stop, { step }),
  split: ([x], { sections, axis }) => tn.split(x, sections, { axis }),
  stack: (xs, { axis }) => tn.stack(xs, axis),
  tile: ([x], { reps }) => tn.tile(x, reps),
  topK: ([x], { k, ...options }) => tn.topK(x, k, options),
  transpose: ([x], { axes }) => tn.transpose(x, axes),
};

function run({ op, options }: GoldenCase, inputs: Tensor[]): Tensor[] {
  // deno-lint-ignore no-explicit-any -- ops are looked up by the names in the golden file
  const plain = (tn as any)[op] as (...args: unknown[]) => Tensor;
  const result = op in calls
    ? calls[op](inputs, options)
    : Object.keys(options).length > 0
    ? plain(...inputs, options)
    : plain(...inputs);
  return [result].flat();
}

/** Float64 against float32 with sums of a few dozen terms. */
const TOLERANCE = { relative: 5e-6 };

async function check(row: GoldenCase): Promise<void> {
  const inputs = row.inputs.map(unpack);
  const by = inputs.flatMap(({ dtype }, i) => dtype === "f32" ? [i] : []);
  const forward = (...xs: Tensor[]) => {
    const all = [...inputs];
    by.forEach((place, k) => all[place] = xs[k]);
    return run(row, all);
  };
  const [outputs, back] = tn.vjp(forward, by.map((i) => inputs[i]));
  assertEquals(outputs.length, row.outputs.length);
  for (const [i, output] of outputs.entries()) await assertGolden(`output ${i}`, output, row.outputs[i], TOLERANCE);
  if (!row.cotangents || !row.gradients) return;
  const grads = back(row.cotangents.map((seed, i) => seed ? unpack(seed) : outputs[i]));
  for (const [k, place] of by.entries()) {
    const expected = row.gradients[place];
    if (expected) await assertGolden(`gradient of input ${place}`, grads[k], expected, TOLERANCE);
  }
}

for (const file of ["basics", "images", "layers", "recurrent", "selection"]) {
  for (const row of await golden<GoldenCase[]>(file)) {
    testOnEach(`PyTorch's ${row.op}, ${row.name}`, async (backend) => {
      await tn.use(backend);
      await check(row);
    });
  }
}

interface GoldenOptimizer {
  readonly name: "sgd" | "adam" | "adamw" | "rmsprop" | "adadelta" | "lion";
  readonly options: Record<string, unknown>;
  readonly params: readonly Packed[];
  readonly steps: readonly { readonly grads: readonly Packed[]; readonly params: readonly Packed[] }[];
}

interface GoldenClip {
  readonly name: string;
  readonly limit: number;
  readonly grads: readonly Packed[];
  readonly clipped: readonly Packed[];
}

const training = await golden<{ optimizers: GoldenOptimizer[]; clip: GoldenClip[] }>("optimizers");

for (const { name, options, params: initial, steps } of training.optimizers) {
  Deno.test(`PyTorch: 3 steps of ${name} ${JSON.stringify(options)}`, async () => {
    await tn.use("cpu");
    const optimizer = tn[name](options);
    let params = initial.map(unpack);
    let state = optimizer.init(params);
    for (const [i, step] of steps.entries()) {
      [params, state] = optimizer.update(step.grads.map(unpack), state, params);
      for (const [k, expected] of step.params.entries()) {
        await assertGolden(`parameter ${k} after step ${i + 1}`, params[k], expected, { relative: 1e-6 });
      }
    }
  });
}

for (const { name, limit, grads, clipped } of training.clip) {
  Deno.test(`PyTorch: clip_grad_norm_, ${name}`, async () => {
    await tn.use("cpu");
    const tree = grads.map(unpack);
    const clip = tn.clipByGlobalNorm(limit);
    const [next] = clip.update(tree, clip.init(tree), tree);
    for (const [k, expected] of clipped.entries()) {
      await assertGolden(`gradient ${k}`, next[k], expected, { relative: 1e-6 });
    }
  });
}
