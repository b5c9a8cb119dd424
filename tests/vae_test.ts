import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as vae from "../models/vae.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, assertGoldenTree, golden, type Packed, type PackedTree, unpack, unpackTree } from "./golden.ts";

await tn.use("cpu");

const CONFIG: vae.VaeConfig = { size: 8, latents: 2, widths: [3, 4], hidden: 5 };
const PARAMS = vae.init(tn.key(1), CONFIG);
const IMAGES = tn.cast(tn.bernoulli(tn.key(2), [6, 1, 8, 8]), "f32");

interface GoldenVae {
  readonly config: vae.VaeConfig;
  readonly learningRate: number;
  readonly params: PackedTree;
  readonly images: Packed;
  readonly noise: readonly Packed[];
  readonly mean: Packed;
  readonly logVariance: Packed;
  readonly logits: Packed;
  readonly logLikelihood: Packed;
  readonly divergence: Packed;
  readonly grads: PackedTree;
  readonly losses: readonly number[];
  readonly after: PackedTree;
}

const GOLDEN = await golden<GoldenVae>("vae");

/** Float64 against float32 with sums of a few hundred terms; in the last digits of large sums, small terms are lost. */
const TOLERANCE = { relative: 2e-5, absolute: 2e-5 };

testOnEach("PyTorch's VAE: forward, bound and gradients", async (backend) => {
  await tn.use(backend);
  try {
    const { config } = GOLDEN, params = unpackTree<vae.VaeParams>(GOLDEN.params);
    const images = unpack(GOLDEN.images), noise = unpack(GOLDEN.noise[0]);
    const output = vae.apply(params, images, config, noise);
    for (const name of ["mean", "logVariance", "logits"] as const) {
      await assertGolden(name, output[name], GOLDEN[name], TOLERANCE);
    }
    const bound = vae.bound(params, { images, noise }, config);
    await assertGolden("logLikelihood", bound.logLikelihood, GOLDEN.logLikelihood, TOLERANCE);
    await assertGolden("divergence", bound.divergence, GOLDEN.divergence, TOLERANCE);
    const [loss, grads] = tn.valueAndGrad(vae.loss)(params, { images, noise }, config);
    assertAlmostEquals(await loss.item(), GOLDEN.losses[0], 1e-4);
    await assertGoldenTree("gradient of", grads, GOLDEN.grads, TOLERANCE);
  } finally {
    await tn.use("cpu");
  }
});

testOnEach("PyTorch's VAE after five compiled steps of Adam", async (backend) => {
  await tn.use(backend);
  try {
    const { config, learningRate } = GOLDEN, optimizer = tn.adam({ learningRate });
    let params = unpackTree<vae.VaeParams>(GOLDEN.params), state = optimizer.init(params);
    const images = unpack(GOLDEN.images);
    const step = tn.compile((params: vae.VaeParams, state: tn.OptimizerState, noise: tn.Tensor) => {
      const [loss, grads] = tn.valueAndGrad(vae.loss)(params, { images, noise }, config);
      return [loss, ...optimizer.update(grads, state, params)] as const;
    });
    for (const [i, noise] of GOLDEN.noise.entries()) {
      const [loss, ...next] = step(params, state, unpack(noise));
      assertAlmostEquals(await loss.item(), GOLDEN.losses[i], 1e-3);
      [params, state] = next;
    }
    await assertGoldenTree("after the steps,", params, GOLDEN.after, TOLERANCE);
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("parameterCount counts what init makes", () => {
  for (const config of [CONFIG, GOLDEN.config, { ...CONFIG, widths: [7], size: 6 }]) {
    const leaves = tn.tree.leaves(vae.init(tn.key(0), config)) as tn.Tensor[];
    assertEquals(vae.parameterCount(config), leaves.reduce((sum, { size }) => sum + size, 0));
  }
});

Deno.test("fresh posteriors are close to the prior, and cost little", async () => {
  const { divergence } = vae.bound(PARAMS, { images: IMAGES, noise: tn.zeros([6, 2]) }, CONFIG);
  assert((await divergence.data()).every((nats) => nats >= 0 && nats < 0.01));
});

Deno.test("a point of a posterior is its mean plus noise times its deviation", async () => {
  const posterior = { mean: tn.tensor([[1, -1]]), logVariance: tn.tensor([[0, 2 * Math.log(3)]]) };
  const [[a, b]] = await vae.draw(posterior, tn.tensor([[2, 0.5]])).array() as number[][];
  assertAlmostEquals(a, 3, 1e-6);
  assertAlmostEquals(b, 0.5, 1e-6);
});

Deno.test("without noise the mean is decoded", async () => {
  const output = vae.apply(PARAMS, IMAGES, CONFIG);
  assertEquals(await output.latents.array(), await output.mean.array());
  const drawn = vae.apply(PARAMS, IMAGES, CONFIG, tn.normal(tn.key(3), [6, 2]));
  assertNotEquals(await drawn.latents.array(), await output.mean.array());
  assertEquals(
    await vae.reconstruct(PARAMS, IMAGES, CONFIG).array(),
    await tn.sigmoid(vae.decode(PARAMS, output.mean, CONFIG)).array(),
  );
});

Deno.test("beta weighs the divergence; at 1 the loss is the bound", async () => {
  const batch = { images: IMAGES, noise: tn.normal(tn.key(4), [6, 2]) };
  const loss = (beta?: number) => vae.loss(PARAMS, batch, { ...CONFIG, beta }).item();
  const divergence = await tn.mean(vae.bound(PARAMS, batch, CONFIG).divergence).item();
  assertAlmostEquals(await loss(), -await vae.elbo(PARAMS, batch, CONFIG).item(), 1e-4);
  assertAlmostEquals(await loss(1000) - await loss(), 999 * divergence, 1e-3);
});

Deno.test("steps raise the bound, and the same seed learns the same", async () => {
  const config = { ...CONFIG, hidden: 16 }, optimizer = tn.adam({ learningRate: 0.02 });
  const images = tn.concat([tn.zeros([3, 1, 8, 8]), tn.ones([3, 1, 8, 8])], 0);
  const learn = async (steps: number) => {
    let params = vae.init(tn.key(1), config), state = optimizer.init(params);
    const losses: number[] = [];
    for (const key of tn.split(tn.key(5), 60).slice(0, steps)) {
      const batch = { images, noise: tn.normal(key, [6, 2]) };
      const [loss, grads] = tn.valueAndGrad(vae.loss)(params, batch, config);
      [params, state] = optimizer.update(grads, state, params);
      losses.push(await loss.item());
    }
    return losses;
  };
  const losses = await learn(60);
  assert(losses.at(-1)! < losses[0] / 2, `the loss went from ${losses[0]} to ${losses.at(-1)}`);
  assertEquals(await learn(10), losses.slice(0, 10));
});

Deno.test("mistakes are named", () => {
  const cases: [Partial<vae.VaeConfig>, string][] = [
    [{ size: 10 }, "Cannot make a VAE of images of size 10: it cannot be halved 2 times"],
    [{ widths: [] }, "Cannot make a VAE without widths: it needs one convolution at least"],
    [{ latents: 0 }, "Cannot make a VAE with latents 0: it must be a whole number of at least 1"],
    [{ widths: [3, 4.5] }, "Cannot make a VAE with channels 4.5: it must be a whole number of at least 1"],
    [{ beta: -1 }, "Cannot make a VAE with beta -1: it must be at least 0"],
  ];
  for (const [change, message] of cases) {
    assertThrows(() => vae.init(tn.key(0), { ...CONFIG, ...change }), tn.ArgumentError, message);
  }
  assertThrows(
    () => vae.encode(PARAMS, tn.zeros([2, 3, 8, 8]), CONFIG),
    tn.ShapeError,
    "Cannot encode images [2,3,8,8]: this VAE takes [batch,1,8,8]",
  );
  assertThrows(
    () => vae.decode(PARAMS, tn.zeros([2, 3]), CONFIG),
    tn.ShapeError,
    "Cannot decode latents [2,3]: this VAE takes [batch,2]",
  );
  assertThrows(
    () => vae.apply(PARAMS, IMAGES, CONFIG, tn.zeros([2])),
    tn.ShapeError,
    "Cannot draw from posteriors [6,2] with noise [2]: they differ",
  );
});
