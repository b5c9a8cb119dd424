/** Random numbers: JAX's, bit by bit, and the distributions they should have. @module */
import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import * as tn from "../mod.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, golden, type Packed, unpack } from "./golden.ts";

type Draws = Record<
  | "key"
  | "split"
  | "randomBits"
  | "uniform"
  | "uniformRange"
  | "normal"
  | "bernoulli"
  | "randint"
  | "randintWide"
  | "truncatedNormal"
  | "permutation",
  Packed
>;
const draws = await golden<Draws & { categorical: { logits: Packed; choice: Packed } }>("threefry");
const EXACT = { relative: 0 };

testOnEach("values that JAX's documentation prints", async (backend) => {
  await tn.use(backend);
  const [, subkey] = tn.split(tn.key(0));
  assertAlmostEquals(await tn.uniform(tn.key(0), []).item(), 0.947667, 1e-6);
  assertAlmostEquals(await tn.uniform(subkey, []).item(), 0.00729382, 1e-8);
  assertAlmostEquals(await tn.normal(tn.key(42), []).item(), -0.028304616, 1e-8);
});

testOnEach("every generator draws what JAX draws", async (backend) => {
  await tn.use(backend);
  await assertGolden("key", tn.key(1234567).threefry, draws.key, EXACT);
  await assertGolden("split", tn.stack(tn.split(tn.key(42), 3).map((key) => key.threefry)), draws.split, EXACT);
  await assertGolden("randomBits", tn.randomBits(tn.key(7), [2, 5]), draws.randomBits, EXACT);
  await assertGolden("uniform", tn.uniform(tn.key(1), [3, 3]), draws.uniform, { relative: 1e-8 });
  const range = tn.uniform(tn.key(1), [4], { min: -2, max: 5 });
  await assertGolden("uniform from -2 to 5", range, draws.uniformRange, { relative: 5e-7 });
  await assertGolden("normal", tn.normal(tn.key(2), [3, 5]), draws.normal, { relative: 2e-6 });
  await assertGolden("bernoulli", tn.bernoulli(tn.key(3), [9], { probability: 0.3 }), draws.bernoulli, EXACT);
  await assertGolden("randint", tn.randint(tn.key(4), [2, 6], { min: -5, max: 17 }), draws.randint, EXACT);
  const wide = tn.randint(tn.key(4), [5], { min: -(2 ** 31), max: 2 ** 31 - 1 });
  await assertGolden("randint, wide", wide, draws.randintWide, EXACT);
  const truncated = tn.truncatedNormal(tn.key(5), [7], { lower: -1, upper: 2 });
  await assertGolden("truncatedNormal", truncated, draws.truncatedNormal, { relative: 4e-6 });
  await assertGolden("permutation", tn.permutation(tn.key(6), 13), draws.permutation, EXACT);
  const { logits, choice } = draws.categorical;
  await assertGolden("categorical", tn.categorical(tn.key(9), unpack(logits)), choice, EXACT);
});

Deno.test("the same key draws the same, another key something else", async () => {
  await tn.use("cpu");
  const draw = (seed: number) => tn.normal(tn.key(seed), [4]).array();
  assertEquals(await draw(1), await draw(1));
  assertNotEquals(await draw(1), await draw(2));
});

Deno.test("moments of the distributions", async () => {
  await tn.use("cpu");
  const moments = async (x: tn.Tensor) => [await tn.mean(x).item(), await tn.variance(x).item()];
  const n = 20_000, wide = 4 / Math.sqrt(n); // four standard errors of a unit variable
  const [uniformMean, uniformVariance] = await moments(tn.uniform(tn.key(1), [n]));
  assertAlmostEquals(uniformMean, 1 / 2, wide / Math.sqrt(12));
  assertAlmostEquals(uniformVariance, 1 / 12, wide / 12);
  const [normalMean, normalVariance] = await moments(tn.normal(tn.key(2), [n], { mean: 3, std: 2 }));
  assertAlmostEquals(normalMean, 3, 2 * wide);
  assertAlmostEquals(normalVariance, 4, 4 * Math.SQRT2 * wide);
  const [heads] = await moments(tn.cast(tn.bernoulli(tn.key(3), [n], { probability: 0.3 }), "f32"));
  assertAlmostEquals(heads, 0.3, wide * Math.sqrt(0.21));
  const cut = await tn.truncatedNormal(tn.key(4), [n], { lower: -1, upper: 0.5 }).data();
  assert(cut.every((x) => x > -1 && x < 0.5));
});

Deno.test("randint stays inside, permutation holds everything once, categorical follows the odds", async () => {
  await tn.use("cpu");
  const dice = await tn.randint(tn.key(1), [600], { min: 1, max: 7 }).data();
  assertEquals([...new Set(dice)].sort(), [1, 2, 3, 4, 5, 6]);
  assertEquals((await tn.permutation(tn.key(2), 100).data()).toSorted(), Int32Array.from({ length: 100 }, (_, i) => i));
  const logits = tn.broadcastTo(tn.log(tn.tensor([0.1, 0.6, 0.3])), [10_000, 3]);
  const drawn = await tn.categorical(tn.key(3), logits).data();
  for (const [face, odds] of [0.1, 0.6, 0.3].entries()) {
    assertAlmostEquals(
      drawn.filter((x) => x === face).length / 10_000,
      odds,
      4 * Math.sqrt(odds * (1 - odds) / 10_000),
    );
  }
});

Deno.test("dropout keeps the mean and drops the rate", async () => {
  await tn.use("cpu");
  const y = await tn.dropout(tn.ones([10_000]), tn.key(1), { rate: 0.25 }).data();
  const dropped = y.filter((x) => x === 0).length / y.length;
  assertAlmostEquals(dropped, 0.25, 4 * Math.sqrt(0.25 * 0.75 / y.length));
  assert(y.every((x) => x === 0 || Math.abs(x - 4 / 3) < 1e-6));
});
