import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as gpt from "../models/gpt.ts";

await tn.use("cpu");

const CONFIG: gpt.GptConfig = { vocabSize: 7, context: 6, layers: 2, heads: 2, channels: 8 };
const PARAMS = gpt.init(tn.key(1), CONFIG);

const ids = (rows: number[][]) => tn.tensor(rows, { dtype: "i32" });
const sizeOf = (params: gpt.GptParams) =>
  (tn.tree.leaves(params) as tn.Tensor[]).reduce((sum, { size }) => sum + size, 0);

function spread(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
}

Deno.test("parameterCount counts what init makes, and knows the GPT-2 family", () => {
  for (const bias of [true, false]) {
    const config = { ...CONFIG, bias };
    assertEquals(gpt.parameterCount(config), sizeOf(gpt.init(tn.key(0), config)));
  }
  const sizes = Object.values(gpt.presets).map(gpt.parameterCount);
  assertEquals(sizes, [124_439_808, 354_823_168, 774_030_080, 1_557_611_200]);
});

Deno.test("init draws GPT-2's distributions", async () => {
  const { blocks: [{ attention, mlp, norm1 }], token } = gpt.init(tn.key(3), { ...CONFIG, channels: 64, layers: 8 });
  for (const weight of [token, attention.qkv.weight, mlp.up.weight]) {
    assertAlmostEquals(spread(await weight.data()), 0.02, 0.002);
  }
  for (const weight of [attention.out.weight, mlp.down.weight]) {
    assertAlmostEquals(spread(await weight.data()), 0.02 / 4, 0.0005);
  }
  assertEquals([...new Set(await norm1.scale.data())], [1]);
  assertEquals([...new Set(await attention.qkv.bias!.data())], [0]);
});

Deno.test("no place sees the tokens after it", async () => {
  const logits = (tokens: number[]) => gpt.apply(PARAMS, ids([tokens]), CONFIG).data();
  const [a, b] = [await logits([1, 2, 3, 4]), await logits([1, 2, 3, 5])];
  assertEquals([...a.subarray(0, 21)], [...b.subarray(0, 21)]);
  assertNotEquals([...a.subarray(21)], [...b.subarray(21)]);
});

Deno.test("dropout needs a key, and the same key drops the same", async () => {
  const config = { ...CONFIG, dropout: 0.5 };
  const batch = { tokens: ids([[1, 2, 3, 4, 5]]), targets: ids([[2, 3, 4, 5, 6]]) };
  const loss = (config: gpt.GptConfig, key?: tn.Key) => gpt.loss(PARAMS, { ...batch, key }, config).item();
  assertEquals(await loss(config), await loss(CONFIG));
  assertEquals(await loss(CONFIG, tn.key(1)), await loss(CONFIG));
  assertEquals(await loss(config, tn.key(1)), await loss(config, tn.key(1)));
  assertNotEquals(await loss(config, tn.key(1)), await loss(config, tn.key(2)));
  const grads = tn.grad(gpt.loss)(PARAMS, { ...batch, key: tn.key(1) }, config);
  assert((await grads.position.data()).every(Number.isFinite));
});

Deno.test("without chance, generate takes the likeliest token every time, past the context too", async () => {
  const tokens = [3, 1];
  for (let i = 0; i < 8; i++) {
    const window = tokens.slice(-CONFIG.context);
    const logits = (await gpt.apply(PARAMS, ids([window]), CONFIG).data()).subarray(-CONFIG.vocabSize);
    tokens.push(logits.indexOf(Math.max(...logits)));
  }
  const seen: number[] = [];
  const onToken = (token: number) => seen.push(token);
  const greedy = await gpt.generate(PARAMS, [3, 1], CONFIG, { length: 8, temperature: 0, onToken });
  assertEquals(greedy, tokens.slice(2));
  assertEquals(seen, greedy);
  assertEquals(await gpt.generate(PARAMS, [3, 1], CONFIG, { length: 8, topK: 1, key: tn.key(5) }), greedy);
});

Deno.test("the same key writes the same, and a stop token ends it", async () => {
  const write = (seed: number, stop: number[] = []) =>
    gpt.generate(PARAMS, [0], CONFIG, { length: 20, key: tn.key(seed), stop });
  const text = await write(1);
  assertEquals(text.length, 20);
  assertEquals(await write(1), text);
  assertNotEquals(await write(2), text);
  assertEquals(await write(1, [text[5]]), text.slice(0, text.indexOf(text[5])));
});

Deno.test("generate leaves no memory behind", async () => {
  const key = tn.key(1);
  const before = tn.memory().tensors;
  await gpt.generate(PARAMS, [0], CONFIG, { length: 3, key });
  assert(tn.memory().tensors <= before); // less where abandoned tensors were collected meanwhile
});

Deno.test("top-k and top-p keep the likeliest", () => {
  const logits = [0.1, 0.4, 0.2, 0.3].map(Math.log);
  const reachable = (options: gpt.ChoiceOptions) =>
    new Set(Array.from({ length: 100 }, (_, i) => gpt.chooseToken(logits, i / 100, options)));
  assertEquals(reachable({}), new Set([0, 1, 2, 3]));
  assertEquals(reachable({ topK: 2 }), new Set([1, 3]));
  assertEquals(reachable({ topP: 0.71 }), new Set([1, 2, 3]));
  assertEquals(reachable({ topP: 0.01 }), new Set([1]));
  assertEquals(reachable({ temperature: 0.01 }), new Set([1]));
});

Deno.test("mistakes are named", async () => {
  assertThrows(
    () => gpt.init(tn.key(0), { ...CONFIG, heads: 3 }),
    tn.ArgumentError,
    "Cannot make a GPT of 8 channels and 3 heads: they do not divide evenly",
  );
  assertThrows(
    () => gpt.apply(PARAMS, tn.zeros([1, 7], { dtype: "i32" }), CONFIG),
    tn.ShapeError,
    "Cannot apply a GPT to tokens [1,7]: it takes [batch, at most 6]",
  );
  await assertRejects(
    () => gpt.generate(PARAMS, [], CONFIG, { length: 1 }),
    tn.ArgumentError,
    "Cannot continue an empty prompt: give it one token at least",
  );
  await assertRejects(
    () => gpt.generate(PARAMS, [1], CONFIG, { length: 1 }),
    tn.ArgumentError,
    "Cannot choose tokens by chance without a key: give one, or the temperature 0",
  );
});
