import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as gan from "../models/gan.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, golden, type Packed, unpack } from "./golden.ts";

/** A tree of golden tensors. */
type PackedTree = Packed | readonly PackedTree[] | { readonly [name: string]: PackedTree };

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

const isPacked = (tree: PackedTree): tree is Packed => "dtype" in tree && "data" in tree;

function unpackTree(tree: PackedTree): unknown {
  if (isPacked(tree)) return unpack(tree);
  if (Array.isArray(tree)) return tree.map(unpackTree);
  return Object.fromEntries(Object.entries(tree).map(([name, part]) => [name, unpackTree(part)]));
}

async function assertTree(what: string, actual: unknown, expected: PackedTree, relative: number): Promise<void> {
  if (isPacked(expected)) return await assertGolden(what, actual as tn.Tensor, expected, { relative });
  for (const [name, part] of Object.entries(expected)) {
    await assertTree(`${what}.${name}`, (actual as Record<string, unknown>)[name], part, relative);
  }
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
    params: unpackTree(expected.params) as gan.GanParams,
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
    await assertTree("discriminator", onD[1], expected.discriminator.grads, 1e-4);
    const batch = { latent, labels, discriminator, state: gan.initState(config) };
    const [[loss], grads] = tn.valueAndGrad(gan.generatorLoss, { hasAux: true })(generator, batch, config);
    assertAlmostEquals(await loss.item(), expected.generator.loss, 1e-4);
    await assertTree("generator", grads, expected.generator.grads, 1e-4);
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
    await assertTree("weights", { generator: maker.params, discriminator: critic.params }, expected.after.params, 1e-3);
    await assertTree("averages", maker.averages, expected.after.state, 1e-3);
    const sample = gan.sample(maker.params, maker.averages, { latent: unpack(expected.latents[0]), labels }, config);
    await assertGolden("sample", sample, expected.after.sample, { relative: 1e-3 });
  });
}
