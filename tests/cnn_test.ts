import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as cnn from "../models/cnn.ts";
import { testOnEach } from "./devices.ts";
import { golden } from "./golden.ts";
import { checkClassifier, type GoldenClassifier } from "./golden_classifier.ts";

await tn.use("cpu");

const CONFIG: cnn.CnnConfig = {
  input: { channels: 2, height: 7, width: 6 },
  blocks: [
    { channels: 4, norm: "batch", pool: { kind: "max", size: 2 }, dropout: 0.25 }, // -> 3 x 3
    { channels: 3, kernel: 1, activation: "tanh" },
  ],
  dense: [{ features: 5, dropout: 0.5 }],
  classes: 3,
};
const MODEL = cnn.init(tn.key(1), CONFIG);
const IMAGES = tn.normal(tn.key(2), [4, 2, 7, 6]);
const LABELS = tn.tensor([2, 0, 1, 1], { dtype: "i32" });

const reference = await golden<GoldenClassifier<cnn.CnnConfig>>("cnn");

testOnEach("a CNN trains as PyTorch's does", async (backend) => {
  await tn.use(backend);
  const optimizer = tn.adamw({ learningRate: 1e-2, weightDecay: 0.1 });
  await checkClassifier<cnn.CnnConfig, cnn.CnnParams, cnn.CnnState>(cnn, reference, optimizer);
});

Deno.test("parameterCount counts what init makes, and knows PyTorch's example", () => {
  const count = (params: cnn.CnnParams) =>
    (tn.tree.leaves(params) as tn.Tensor[]).reduce((sum, { size }) => sum + size, 0);
  assertEquals(cnn.parameterCount(CONFIG), count(MODEL.params));
  assertEquals(cnn.parameterCount(presetWithout("mnist")), count(cnn.init(tn.key(0), presetWithout("mnist")).params));
  assertEquals(cnn.parameterCount(cnn.presets["pytorch-mnist"]), 1_199_882);
});

/** A preset without its dense layers. */
function presetWithout(name: keyof typeof cnn.presets): cnn.CnnConfig {
  const { dense: _, ...config } = cnn.presets[name];
  return config;
}

Deno.test("fresh weights keep the spread of what passes", async () => {
  await tn.use("cpu");
  const config: cnn.CnnConfig = {
    ...CONFIG,
    blocks: [{ channels: 32 }, { channels: 32 }, { channels: 32 }],
    dense: [],
  };
  const { params } = cnn.init(tn.key(5), config);
  const spread = await tn.sqrt(tn.mean(tn.square(params.blocks[2].conv.weight))).item();
  assertAlmostEquals(spread, Math.sqrt(2 / (32 * 9)), 0.002);
  assertEquals(new Set(await params.blocks[0].conv.bias!.data()), new Set([0]));
});

Deno.test("dropout needs a key, and the same key drops the same", async () => {
  await tn.use("cpu");
  const loss = (key?: tn.Key) => {
    const batch = { images: IMAGES, labels: LABELS, state: MODEL.state, key };
    return cnn.loss(MODEL.params, batch, CONFIG)[0].item();
  };
  assertEquals(await loss(), await loss());
  assertEquals(await loss(tn.key(1)), await loss(tn.key(1)));
  assertNotEquals(await loss(tn.key(1)), await loss(tn.key(2)));
  assertNotEquals(await loss(tn.key(1)), await loss());
});

Deno.test("running averages come near those of the images", async () => {
  await tn.use("cpu");
  const { params } = MODEL;
  let { state } = MODEL;
  for (let i = 0; i < 60; i++) [, state] = cnn.applyTraining({ params, state }, IMAGES, CONFIG);
  const { mean, variance } = tn.batchStatistics(tn.conv(IMAGES, params.blocks[0].conv.weight, { padding: 1 }));
  const unbiased = 168 / 167; // 4 images of 7 x 6
  const far = (a: tn.Tensor, b: tn.Tensor) => tn.max(tn.abs(tn.sub(a, b))).item();
  assertAlmostEquals(await far(state[0].mean, mean), 0, 0.01);
  assertAlmostEquals(await far(state[0].variance, tn.mul(variance, unbiased)), 0, 0.01);
});

Deno.test("a compiled step takes any optimizer, donates its state and leaves no memory behind", async () => {
  await tn.use("cpu");
  const optimizer = tn.sgd({ learningRate: 0.1, momentum: 0.9 });
  const lossAndGrad = tn.valueAndGrad(cnn.loss, { hasAux: true });
  type Training = cnn.Cnn & { readonly slots: tn.OptimizerState };
  const step = tn.compile(({ params, state, slots }: Training, images: tn.Tensor, labels: tn.Tensor) => {
    const [[loss, nextState], grads] = lossAndGrad(params, { images, labels, state }, CONFIG);
    const [nextParams, nextSlots] = optimizer.update(grads, slots, params);
    return [loss, { params: nextParams, state: nextState, slots: nextSlots } as Training] as const;
  }, { donate: [0] });
  const { params, state } = cnn.init(tn.key(1), CONFIG);
  let training: Training = { params, state, slots: optimizer.init(params) };
  const losses: number[] = [];
  let before = 0;
  for (let i = 0; i < 12; i++) {
    const [loss, next] = step(training, IMAGES, LABELS);
    training = next;
    losses.push(await loss.item());
    loss.dispose();
    if (i === 1) before = tn.memory().tensors;
  }
  assert(losses[11] < losses[0] / 2, `the loss goes from ${losses[0]} to ${losses[11]}`);
  assert(tn.memory().tensors <= before);
});

Deno.test("mistakes are named", () => {
  assertThrows(
    () => cnn.apply(MODEL, tn.zeros([4, 2, 6, 7]), CONFIG),
    tn.ShapeError,
    "Cannot apply a CNN to images [4,2,6,7]: it takes [batch,2,7,6]",
  );
  assertThrows(
    () => cnn.init(tn.key(0), { ...CONFIG, blocks: [{ channels: 2, pool: { kind: "max", size: 8 } }] }),
    tn.ArgumentError,
    "Cannot make a CNN of 1 blocks for images [7,6]: the last block leaves [0,0]",
  );
  assertThrows(
    () => cnn.init(tn.key(0), { ...CONFIG, dense: [{ features: 2, dropout: 1 }] }),
    tn.ArgumentError,
    "Cannot make a CNN with dropout 1: it must be in [0, 1)",
  );
  const config: cnn.CnnConfig = {
    input: { channels: 1, height: 2, width: 2 },
    blocks: [{ channels: 3, kernel: 2, padding: 0, norm: "batch" }],
    classes: 2,
  };
  assertThrows(
    () => cnn.applyTraining(cnn.init(tn.key(0), config), tn.ones([1, 1, 2, 2]), config),
    tn.ArgumentError,
    "Cannot normalize a batch [1,3,1,1] in training: a channel needs at least 2 values",
  );
});
