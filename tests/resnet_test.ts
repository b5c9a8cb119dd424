import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as resnet from "../models/resnet.ts";
import { testOnEach } from "./devices.ts";
import { golden } from "./golden.ts";
import { checkClassifier, type GoldenClassifier } from "./golden_classifier.ts";

await tn.use("cpu");

interface GoldenResnets {
  /** Parameters of each preset. */
  readonly counts: Record<keyof typeof resnet.presets, number>;
  readonly cases: readonly (GoldenClassifier<resnet.ResnetConfig> & { readonly name: string })[];
}

const reference = await golden<GoldenResnets>("resnet");

for (const { name, ...expected } of reference.cases) {
  testOnEach(`a residual network of ${name} trains as torchvision's does`, async (backend) => {
    await tn.use(backend);
    const optimizer = tn.sgd({ learningRate: 0.05, momentum: 0.9, weightDecay: 1e-2 });
    await checkClassifier<resnet.ResnetConfig, resnet.ResnetParams, resnet.ResnetState>(resnet, expected, optimizer);
  });
}

Deno.test("presets have as many parameters as torchvision's", () => {
  for (const [name, count] of Object.entries(reference.counts)) {
    assertEquals(resnet.parameterCount(resnet.presets[name as keyof typeof resnet.presets]), count, name);
  }
});

Deno.test("init makes what parameterCount counts, with torchvision's spreads", async () => {
  await tn.use("cpu");
  const config = { ...resnet.presets["cifar-resnet20"], channels: 1 };
  const { params, state } = resnet.init(tn.key(0), config);
  const tensors = tn.tree.leaves(params) as tn.Tensor[];
  assertEquals(tensors.reduce((sum, { size }) => sum + size, 0), resnet.parameterCount(config));
  const { weight } = params.stages[2][1].units[1];
  assertAlmostEquals(await tn.sqrt(tn.mean(tn.square(weight))).item(), Math.sqrt(2 / (64 * 9)), 0.001);
  assertEquals(params.stages.map((blocks) => blocks.map(({ shortcut }) => shortcut !== undefined)), [
    [false, false, false],
    [true, false, false],
    [true, false, false],
  ]);
  assertEquals(state.stages[1][0].shortcut?.variance.shape, [32]);
});

Deno.test("a bottleneck widens fourfold, and its first block has a shortcut at stride 1", () => {
  const config: resnet.ResnetConfig = { stem: "imagenet", block: "bottleneck", stages: [1, 1], width: 2, classes: 3 };
  const model = resnet.init(tn.key(0), config);
  assertEquals(model.params.stages.map(([{ shortcut }]) => shortcut?.weight.shape), [[8, 2, 1, 1], [16, 8, 1, 1]]);
  assertEquals(resnet.features(model, tn.zeros([2, 3, 32, 24]), config).shape, [2, 16]);
});

Deno.test("mistakes are named", () => {
  const config: resnet.ResnetConfig = { stem: "cifar", block: "basic", stages: [1], width: 2, classes: 3 };
  assertThrows(
    () => resnet.init(tn.key(0), { ...config, stages: [] }),
    tn.ArgumentError,
    "Cannot make a residual network of 3 channels, width 2, stages [] and 3 classes: all must be whole numbers above 0",
  );
  assertThrows(
    () => resnet.apply(resnet.init(tn.key(0), config), tn.zeros([1, 1, 8, 8]), config),
    tn.ShapeError,
    "Cannot apply a residual network to images [1,1,8,8]: it takes [batch,3,height,width]",
  );
});
