import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { join } from "@std/path";
import { main } from "../examples/gan.ts";
import { KINDS } from "../examples/gan/recipes.ts";
import { NETWORKS, saveNetwork } from "../examples/mnist/networks.ts";
import { readSafetensors } from "../io/safetensors.ts";
import * as tn from "../mod.ts";
import * as gan from "../models/gan.ts";
import { writeDigits } from "./digits.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, assertGoldenTree, golden, type Packed, type PackedTree, unpack, unpackTree } from "./golden.ts";

/** One kind of GAN as PyTorch trained it. */
interface GoldenGan {
  readonly config: gan.GanConfig;
  readonly adam: { readonly learningRate: number; readonly betas: [number, number] };
  readonly params: PackedTree;
  readonly real: Packed;
  readonly latents: readonly Packed[];
  readonly labels: Packed | null;
  readonly mix: readonly Packed[];
  readonly fake: Packed;
  readonly scores: Packed;
  readonly discriminator: { readonly loss: number; readonly grads: PackedTree };
  readonly generator: { readonly loss: number; readonly grads: PackedTree };
  readonly after: { readonly params: PackedTree; readonly state: PackedTree; readonly sample: Packed };
}

const GOLDEN = await golden<Record<"dcgan" | "cgan" | "wgan", GoldenGan>>("gan");

/** What a compiled step replaces. */
interface Side<P> {
  readonly params: P;
  readonly state: tn.OptimizerState;
}

/** Both updates, compiled, as a training has them. */
function steps(config: gan.GanConfig, optimizer: tn.Optimizer) {
  const discriminate = tn.compile(({ params, state }: Side<gan.DiscriminatorParams>, batch: gan.DiscriminatorBatch) => {
    const grads = tn.grad(gan.discriminatorLoss)(params, batch, config);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return { params: nextParams, state: nextState };
  }, { donate: [0] });
  const generate = tn.compile((
    { params, state, averages }: Side<gan.GeneratorParams> & { readonly averages: gan.GeneratorState },
    batch: Omit<gan.GeneratorBatch, "state">,
  ) => {
    const [grads, next] = tn.grad(gan.generatorLoss, { hasAux: true })(params, { ...batch, state: averages }, config);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return { params: nextParams, state: nextState, averages: next };
  }, { donate: [0] });
  return { discriminate, generate };
}

for (const [kind, expected] of Object.entries(GOLDEN)) {
  const { config } = expected;
  const inputs = () => ({
    params: unpackTree<gan.GanParams>(expected.params),
    real: unpack(expected.real),
    labels: expected.labels ? unpack(expected.labels) : undefined,
  });

  testOnEach(`PyTorch's ${kind}: pictures, scores, losses and every gradient`, async (backend) => {
    await tn.use(backend);
    const { params: { generator, discriminator }, real, labels } = inputs();
    const latent = unpack(expected.latents[0]), mix = unpack(expected.mix[0]);
    const fake = gan.generate(generator, { latent, labels }, config);
    await assertGolden("pictures", fake, expected.fake, { relative: 2e-5 });
    await assertGolden("scores", gan.discriminate(discriminator, real, config, labels), expected.scores, {
      relative: 2e-5,
    });
    const onD = tn.valueAndGrad(gan.discriminatorLoss)(discriminator, { real, fake, labels, mix }, config);
    assertAlmostEquals(await onD[0].item(), expected.discriminator.loss, 1e-4);
    await assertGoldenTree("discriminator", onD[1], expected.discriminator.grads, { relative: 1e-4 });
    const batch = { latent, labels, discriminator, state: gan.initState(config) };
    const [[loss], grads] = tn.valueAndGrad(gan.generatorLoss, { hasAux: true })(generator, batch, config);
    assertAlmostEquals(await loss.item(), expected.generator.loss, 1e-4);
    await assertGoldenTree("generator", grads, expected.generator.grads, { relative: 1e-4 });
  });

  testOnEach(`PyTorch's ${kind}: five alternating updates of Adam`, async (backend) => {
    await tn.use(backend);
    const { params, real, labels } = inputs(), optimizer = tn.adam(expected.adam);
    const { discriminate, generate } = steps(config, optimizer);
    let critic = { params: params.discriminator, state: optimizer.init(params.discriminator) };
    let maker = { params: params.generator, state: optimizer.init(params.generator), averages: gan.initState(config) };
    for (const [i, packed] of expected.latents.entries()) {
      const latent = unpack(packed), mix = unpack(expected.mix[i]);
      const fake = gan.generate(maker.params, { latent, labels }, config);
      critic = discriminate(critic, { real, fake, labels, mix });
      maker = generate(maker, { latent, labels, discriminator: critic.params });
    }
    await assertGoldenTree(
      "weights",
      { generator: maker.params, discriminator: critic.params },
      expected.after.params,
      { relative: 1e-3 },
    );
    await assertGoldenTree("averages", maker.averages, expected.after.state, { relative: 1e-3 });
    const sample = gan.sample({ params: maker.params, state: maker.averages }, {
      latent: unpack(expected.latents[0]),
      labels,
    }, config);
    await assertGolden("sample", sample, expected.after.sample, { relative: 1e-3 });
  });
}

const CONFIG: gan.GanConfig = { size: 8, latent: 5, channels: [4, 3] };
const labelsOf = (...labels: number[]) => tn.tensor(labels, { dtype: "i32" });

async function meanAndSpread(tensor: tn.Tensor): Promise<[mean: number, spread: number]> {
  return [await tn.mean(tensor).item(), Math.sqrt(await tn.variance(tensor).item())];
}

Deno.test("init draws DCGAN's distributions; a critic has no norms and keeps the variance", async () => {
  await tn.use("cpu");
  const wide: gan.GanConfig = { ...CONFIG, channels: [96, 64], latent: 40 };
  const { generator, discriminator } = gan.init(tn.key(0), wide);
  for (const weight of [generator.project, generator.blocks[0].up, discriminator.blocks[1].down]) {
    const [mean, spread] = await meanAndSpread(weight);
    assertAlmostEquals(mean, 0, 1e-3);
    assertAlmostEquals(spread, 0.02, 1e-3);
  }
  const [mean, spread] = await meanAndSpread(generator.blocks[0].norm.scale);
  assertAlmostEquals(mean, 1, 0.01);
  assertAlmostEquals(spread, 0.02, 0.01);
  assertEquals(discriminator.blocks.map(({ norm, bias }) => [!!norm, !!bias]), [[false, true], [true, false]]);

  const { discriminator: critic } = gan.init(tn.key(0), { ...wide, objective: "wasserstein" });
  assertEquals(critic.blocks.map(({ norm, bias }) => [!!norm, !!bias]), [[false, true], [false, true]]);
  assertAlmostEquals((await meanAndSpread(critic.blocks[1].down))[1], Math.sqrt(2 / (64 * 16)), 1e-3);
});

Deno.test("the paper's networks for 64x64 pictures in color have its shapes", async () => {
  await tn.use("cpu");
  const config: gan.GanConfig = { size: 64, colors: 3, latent: 100, channels: [8, 6, 4, 2] };
  const { generator, discriminator } = gan.init(tn.key(0), config);
  const fake = gan.generate(generator, { latent: tn.normal(tn.key(1), [2, 100]) }, config);
  assertEquals(fake.shape, [2, 3, 64, 64]);
  assertEquals(gan.discriminate(discriminator, fake, config).shape, [2]);
  assert((await fake.data()).every((value) => Math.abs(value) <= 1));
});

Deno.test("a sample depends on its own latent alone, a picture of training on the whole batch", async () => {
  await tn.use("cpu");
  const { generator } = gan.init(tn.key(0), CONFIG), state = gan.initState(CONFIG);
  const latents = [1, 2].map((seed) => tn.normal(tn.key(seed), [2, 5]));
  const mixed = tn.stack([tn.slice(latents[0], 0, 1), tn.slice(latents[1], 1, 2)]);
  const first = async (pictures: tn.Tensor) => (await pictures.data()).slice(0, 64);
  const sample = (latent: tn.Tensor) => first(gan.sample({ params: generator, state }, { latent }, CONFIG));
  const generate = (latent: tn.Tensor) => first(gan.generate(generator, { latent }, CONFIG));
  const other = tn.reshape(mixed, [2, 5]);
  assertEquals(await sample(latents[0]), await sample(other));
  assertNotEquals(await generate(latents[0]), await generate(other));
});

Deno.test("labels change what is drawn and what is thought of it", async () => {
  await tn.use("cpu");
  const config = { ...CONFIG, classes: 10 }, { generator, discriminator } = gan.init(tn.key(0), config);
  const latent = tn.broadcastTo(tn.normal(tn.key(1), [1, 5]), [2, 5]);
  const drawn = await gan.generate(generator, { latent, labels: labelsOf(3, 8) }, config).data();
  assertNotEquals(drawn.slice(0, 64), drawn.slice(64));
  const same = tn.broadcastTo(tn.normal(tn.key(2), [1, 1, 8, 8]), [2, 1, 8, 8]);
  const [a, b] = await gan.discriminate(discriminator, same, config, labelsOf(3, 8)).data();
  assertNotEquals(a, b);
});

Deno.test("a critic that is linear of slope 1 pays no penalty", async () => {
  await tn.use("cpu");
  const config: gan.GanConfig = { size: 2, latent: 1, channels: [1], objective: "wasserstein" };
  // a kernel that sees the four pixels, all above zero: D(x) = (x1 + x2 + x3 + x4) / 2
  const down = tn.tensor([[[[0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]]]);
  const critic = {
    blocks: [{ down, bias: tn.zeros([1]) }],
    score: { weight: tn.ones([1, 1]), bias: tn.zeros([1]) },
  };
  const real = tn.full([3, 1, 2, 2], 0.75), fake = tn.full([3, 1, 2, 2], 0.25), mix = tn.uniform(tn.key(0), [3]);
  assertAlmostEquals(await gan.discriminatorLoss(critic, { real, fake, mix }, config).item(), 0.5 - 1.5, 1e-6);
  const steeper = { ...critic, score: { ...critic.score, weight: tn.tensor([[3]]) } };
  const loss = await gan.discriminatorLoss(steeper, { real, fake, mix }, { ...config, penalty: 2 }).item();
  assertAlmostEquals(loss, 3 * (0.5 - 1.5) + 2 * (3 - 1) ** 2, 1e-5);
});

Deno.test("mistakes are named", async () => {
  await tn.use("cpu");
  const { generator, discriminator } = gan.init(tn.key(0), CONFIG);
  const mistakes: [() => unknown, new (message: string) => Error, string][] = [
    [
      () => gan.init(tn.key(0), { ...CONFIG, size: 10 }),
      tn.ArgumentError,
      "Cannot make a GAN for pictures of side 10 with channels [4,3]: each entry must halve the side",
    ],
    [
      () => gan.generate(generator, { latent: tn.zeros([2, 6]) }, CONFIG),
      tn.ShapeError,
      "Cannot make pictures from latents [2,6]: they must be [B, 5]",
    ],
    [
      () => gan.generate(generator, { latent: tn.zeros([2, 5]) }, { ...CONFIG, classes: 10 }),
      tn.ArgumentError,
      "Cannot make pictures of 10 classes without labels",
    ],
    [
      () => gan.discriminate(discriminator, tn.zeros([2, 1, 8, 8]), CONFIG, labelsOf(1, 2)),
      tn.ArgumentError,
      "Cannot judge pictures of given labels: the config has no classes",
    ],
    [
      () => gan.discriminate(discriminator, tn.zeros([2, 3, 8, 8]), CONFIG),
      tn.ShapeError,
      "Cannot judge pictures [2,3,8,8]: they must be [B, 1, 8, 8]",
    ],
    [
      () => {
        const images = tn.zeros([2, 1, 8, 8]), config = { ...CONFIG, objective: "wasserstein" } as const;
        gan.discriminatorLoss(discriminator, { real: images, fake: images }, config);
      },
      tn.ArgumentError,
      "Cannot penalize a critic's slopes without mix: give [B] numbers between 0 and 1",
    ],
  ];
  for (const [act, kind, message] of mistakes) assertThrows(act, kind, message);
});

/** Runs the example on what there is; interrupted soon after it began to train, if that is asked for. */
async function call(args: string, { stop = false } = {}): Promise<{ code: number; text: string }> {
  const interrupt = new AbortController();
  let text = "";
  const write = (part: string) => {
    text += part;
    if (stop && part.includes("update")) setTimeout(() => interrupt.abort(), 20);
  };
  return { code: await main(args.split(" "), { write, live: false }, interrupt.signal), text };
}

/** Runs the example on made-up digits in a folder of its own, where a judge that knows nothing waits. */
async function run(
  args: string,
  options = {},
): Promise<{ code: number; text: string; folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  await writeDigits(folder);
  await tn.use("wasm");
  const judge = join(folder, "judge.safetensors");
  await saveNetwork(judge, { network: "cnn", model: NETWORKS.cnn.init(tn.key(0)), accuracy: 0.1 });
  const result = await call(args.replaceAll("FOLDER", folder), options);
  return { ...result, folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

const TINY = "--data FOLDER --out FOLDER/out --classifier FOLDER/judge.safetensors --batch 8 --epochs 1 --judged 10";

for (const kind of KINDS) {
  Deno.test(`the example trains a ${kind}, judges it, draws and saves`, async () => {
    await using made = await run(`${TINY} --kind ${kind}`);
    assertEquals(made.code, 0, made.text);
    for (const words of [kind, "update 0/5", "update 5/5", "distance", "of 10"]) assertStringIncludes(made.text, words);
    assertEquals(made.text.includes("asked for"), kind === "cgan");
    const out = join(made.folder, "out");
    for (const name of ["samples-0.png", "samples-1.png", "strip.png"]) {
      assertEquals([...(await Deno.readFile(join(out, name))).subarray(1, 4)], [..."PNG"].map((c) => c.charCodeAt(0)));
    }
    for (const name of ["losses.svg", "distance.svg"]) {
      assert((await Deno.readTextFile(join(out, name))).startsWith("<svg"), name);
    }
    const again = await call(`--from ${out}`);
    assertEquals(again, { code: 0, text: again.text });
    assertStringIncludes(again.text, join(out, "samples.png"));
    const asked = await call(`--from ${out} --write 2718`);
    assertStringIncludes(asked.text, kind === "cgan" ? join(out, "2718.png") : `Cannot ask a ${kind} for digits`);
  });
}

Deno.test("the same seed gives the same losses, another seed others", async () => {
  const losses = async (seed: number) => {
    await using made = await run(`${TINY} --seed ${seed}`);
    return [...made.text.matchAll(/[DG] (\d\S+)/g)].map(([, loss]) => loss);
  };
  const first = await losses(3);
  assertEquals(first.length, 2);
  assertEquals(await losses(3), first);
  assertNotEquals(await losses(4), first);
});

Deno.test("an interrupt ends the example early and keeps the generator", async () => {
  await using stopped = await run(TINY.replace("--epochs 1", "--epochs 100000"), { stop: true });
  assertEquals(stopped.code, 0, stopped.text);
  assertStringIncludes(stopped.text, "stopping");
  assert((await readSafetensors(join(stopped.folder, "out", "generator.safetensors"))).tree);
});

Deno.test("a mistake on the command line ends the example in a line", async () => {
  await using wrong = await run(`${TINY} --kind vae`);
  assertEquals(wrong.code, 1);
  assertStringIncludes(wrong.text, 'error: Cannot use --kind "vae": it takes one of dcgan, cgan, wgan');
  assertStringIncludes((await call("--from none")).text, "generator.safetensors: there is no such file");
});
