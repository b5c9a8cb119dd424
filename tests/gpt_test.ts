import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import * as gpt from "../models/gpt.ts";
import { difference } from "./compare.ts";
import { testOnEach } from "./devices.ts";
import { assertGolden, golden, type Packed, unpack } from "./golden.ts";

await tn.use("cpu");

const CONFIG: gpt.GptConfig = { vocabSize: 7, context: 6, layers: 2, heads: 2, channels: 8 };
const PARAMS = gpt.init(tn.key(1), CONFIG);
const LLAMA: gpt.GptConfig = {
  vocabSize: 7,
  context: 12,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  channels: 16,
  hidden: 10,
  mlp: "swiglu",
  norm: "rms",
  positions: "rotary halves",
  tied: false,
  bias: false,
};

const ids = (rows: number[][]) => tn.tensor(rows, { dtype: "i32" });
const sizeOf = (params: gpt.GptParams) =>
  (tn.tree.leaves(params) as tn.Tensor[]).reduce((sum, { size }) => sum + size, 0);

function spread(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);
}

Deno.test("parameterCount counts what init makes, and knows the GPT-2 family and TinyLlama", () => {
  for (const config of [CONFIG, { ...CONFIG, bias: false }, LLAMA, { ...LLAMA, bias: true, tied: true }]) {
    assertEquals(gpt.parameterCount(config), sizeOf(gpt.init(tn.key(0), config)));
  }
  const sizes = Object.values(gpt.presets).map(gpt.parameterCount);
  assertEquals(sizes, [124_439_808, 354_823_168, 774_030_080, 1_557_611_200, 1_100_048_384]);
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
  assert((await grads.position!.data()).every(Number.isFinite));
});

/** What a model of large weights (so that its choices are not close) takes for likeliest, found without a cache. */
async function likeliest(params: gpt.GptParams, prompt: number[], config: gpt.GptConfig, length: number) {
  let window = prompt;
  const made: number[] = [];
  for (; made.length < length; made.push(window.at(-1)!)) {
    const logits = (await gpt.apply(params, ids([window]), config).data()).subarray(-config.vocabSize);
    window = [...window, logits.indexOf(Math.max(...logits))];
    if (window.length > config.context) window = window.slice(-Math.ceil(config.context / 2));
  }
  return made;
}

const enlarge = (params: gpt.GptParams) => tn.tree.map((p: tn.Tensor) => p.rank > 1 ? tn.mul(p, 12) : p, params);

testOnEach("without chance, generate takes the likeliest token every time, past the context too", async (backend) => {
  await tn.use(backend);
  for (const config of [CONFIG, LLAMA]) {
    const params = enlarge(gpt.init(tn.key(4), config));
    const seen: number[] = [];
    const onToken = (token: number) => seen.push(token);
    const greedy = await gpt.generate(params, [3, 1], config, { length: 16, temperature: 0, onToken });
    assertEquals(greedy, await likeliest(params, [3, 1], config, 16));
    assertEquals(seen, greedy);
    assertEquals(await gpt.generate(params, [3, 1], config, { length: 16, topK: 1, key: tn.key(5) }), greedy);
  }
});

Deno.test("prompts of different lengths are continued as each would be alone", async () => {
  await tn.use("cpu");
  for (const config of [{ ...CONFIG, context: 12 }, LLAMA]) {
    const params = enlarge(gpt.init(tn.key(4), config)), options = { length: 7, temperature: 0 };
    const prompts = [[1, 2, 3, 4, 5], [6], [0, 0]];
    const rows: number[] = [];
    const together = await gpt.generateAll(params, prompts, config, {
      ...options,
      onToken: (_, row) => rows.push(row),
    });
    for (const [i, prompt] of prompts.entries()) {
      assertEquals(together[i], await gpt.generate(params, prompt, config, options));
    }
    assertEquals(rows.slice(0, 6), [0, 1, 2, 0, 1, 2]);
    const stop = [together[1][2]];
    const stopped = await gpt.generateAll(params, prompts, config, { ...options, stop });
    assertEquals(stopped, together.map((text) => text.includes(stop[0]) ? text.slice(0, text.indexOf(stop[0])) : text));
  }
  assertEquals(await gpt.generateAll(PARAMS, [], CONFIG, { length: 3, temperature: 0 }), []);
});

testOnEach(
  "one program reads on at every place of the cache, in place, and knows what a whole forward knows",
  async (backend) => {
    await tn.use(backend);
    const text = [3, 1, 4, 1, 5, 6, 2, 6, 5, 3, 5, 0];
    for (const config of [{ ...CONFIG, context: 12 }, LLAMA]) {
      const params = gpt.init(tn.key(6), config), V = config.vocabSize;
      const whole = await gpt.apply(params, ids([text]), config).data();
      const recompiled: string[] = [];
      const read = tn.compile(
        (params: gpt.GptParams, tokens: tn.Tensor, cache: gpt.GptCache) => gpt.extend(params, tokens, cache, config),
        {
          donate: [2],
          onRecompile: (reason) => recompiled.push(reason),
        },
      );
      let cache = gpt.emptyCache(params, tn.tensor([0], { dtype: "i32" }), config), logits: tn.Tensor;
      const { tensors, bytes } = tn.memory();
      for (const [i, token] of text.entries()) {
        using tokens = ids([[token]]);
        [logits, cache] = read(params, tokens, cache);
        const expected = whole.subarray(i * V, (i + 1) * V);
        assertEquals(difference(await logits.data(), expected, { relative: 1e-4 }), null);
        logits.dispose();
      }
      assertEquals(recompiled, []);
      const now = tn.memory();
      assert(now.tensors <= tensors && now.bytes <= bytes); // less where garbage was collected meanwhile
    }
  },
);

Deno.test("the same key writes the same, and a stop token ends it", async () => {
  await tn.use("cpu");
  const write = (seed: number, stop: number[] = []) =>
    gpt.generate(PARAMS, [0], CONFIG, { length: 20, key: tn.key(seed), stop });
  const text = await write(1);
  assertEquals(text.length, 20);
  assertEquals(await write(1), text);
  assertNotEquals(await write(2), text);
  assertEquals(await write(1, [text[5]]), text.slice(0, text.indexOf(text[5])));
});

Deno.test("a model writes on its own backend, whichever is in use", async () => {
  await tn.use("wasm");
  assertEquals((await gpt.generate(PARAMS, [0], CONFIG, { length: 3, temperature: 0 })).length, 3);
});

Deno.test("generate leaves no memory behind", async () => {
  await tn.use("cpu");
  const key = tn.key(1);
  const before = tn.memory().tensors;
  await gpt.generate(PARAMS, [0], CONFIG, { length: 3, key });
  assert(tn.memory().tensors <= before); // less where abandoned tensors were collected meanwhile
});

testOnEach("top-k and top-p keep the likeliest", async (backend) => {
  await tn.use(backend);
  const probabilities = [0.1, 0.4, 0.2, 0.3], draws = 2000;
  const logits = tn.broadcastTo(tn.log(tn.tensor(probabilities)), [draws, 4]);
  const shares = async (options: gpt.ChoiceOptions) => {
    const counts = [0, 0, 0, 0];
    for (const token of await gpt.chooseTokens(logits, tn.key(3), options).data()) counts[token]++;
    return counts.map((count) => count / draws);
  };
  const assertShares = async (options: gpt.ChoiceOptions, expected: number[]) => {
    const actual = await shares(options);
    actual.forEach((share, token) => assertAlmostEquals(share, expected[token], expected[token] === 0 ? 0 : 0.04));
  };
  await assertShares({}, probabilities);
  await assertShares({ topK: 2 }, [0, 4 / 7, 0, 3 / 7]);
  await assertShares({ topK: 99 }, probabilities);
  await assertShares({ topP: 0.71 }, [0, 4 / 9, 2 / 9, 3 / 9]);
  await assertShares({ topP: 0.69 }, [0, 4 / 7, 0, 3 / 7]);
  await assertShares({ topK: 3, topP: 0.5 }, [0, 4 / 7, 0, 3 / 7]);
  await assertShares({ temperature: 0.5 }, [1 / 30, 16 / 30, 4 / 30, 9 / 30]);
  await assertShares({ topP: 0.01 }, [0, 1, 0, 0]);
  await assertShares({ temperature: 0 }, [0, 1, 0, 0]);
});

/** A model in a golden file. */
interface GoldenGpt {
  readonly config: gpt.GptConfig;
  readonly params: gpt.GptParams;
  readonly tokens: Packed;
  readonly targets: Packed;
  readonly logits: Packed;
  readonly variants: readonly { readonly config: gpt.GptConfig; readonly logits: Packed }[];
  readonly grads: gpt.GptParams;
  /** Of five steps. */
  readonly losses: readonly number[];
  /** The parameters after them. */
  readonly after: gpt.GptParams;
}

/** Every leaf with its name and what the golden file has in its place. */
function* pairs(actual: unknown, expected: unknown, path = ""): Generator<[string, tn.Tensor, Packed]> {
  if (actual instanceof tn.Tensor) yield [path, actual, expected as Packed];
  else {
    const branches = expected as Record<string, unknown>;
    assertEquals(Object.keys(actual as object).sort(), Object.keys(branches).sort());
    for (const [name, child] of Object.entries(actual as object)) {
      yield* pairs(child, branches[name], `${path}.${name}`);
    }
  }
}

const isPacked = (tree: object): tree is Packed => "dtype" in tree && "data" in tree;

function unpackTree<T>(tree: T): T {
  if (isPacked(tree as object)) return unpack(tree as Packed) as T;
  if (Array.isArray(tree)) return tree.map(unpackTree) as T;
  return Object.fromEntries(Object.entries(tree as object).map(([name, child]) => [name, unpackTree(child)])) as T;
}

/** Float64 against float32 through a whole network, a few times over. */
const TOLERANCE = { relative: 1e-4 };

for (const [name, reference] of Object.entries(await golden<Record<"gpt2" | "llama", GoldenGpt>>("gpt"))) {
  testOnEach(`${name} trains as in PyTorch`, async (backend) => {
    await tn.use(backend);
    const { config, variants, losses, grads: slopes, after } = reference;
    let params = unpackTree(reference.params);
    const batch = { tokens: unpack(reference.tokens), targets: unpack(reference.targets) };
    await assertGolden("logits", gpt.apply(params, batch.tokens, config), reference.logits, TOLERANCE);
    for (const { config, logits } of variants) {
      await assertGolden(JSON.stringify(config), gpt.apply(params, batch.tokens, config), logits, TOLERANCE);
    }
    const [loss, grads] = tn.valueAndGrad(gpt.loss)(params, batch, config);
    assertAlmostEquals(await loss.item(), losses[0], 1e-5);
    for (const [path, actual, expected] of pairs(grads, slopes)) await assertGolden(path, actual, expected, TOLERANCE);

    const optimizer = tn.adamw({ learningRate: 1e-2, eps: 1e-3, weightDecay: 0.1 });
    let state = optimizer.init(params);
    const step = tn.compile((params: gpt.GptParams, state: tn.OptimizerState, batch: gpt.GptBatch) => {
      const [loss, grads] = tn.valueAndGrad(gpt.loss)(params, batch, config);
      return [loss, ...optimizer.update(grads, state, params)] as const;
    }, { donate: [0, 1] });
    for (const expected of losses) {
      let loss;
      [loss, params, state] = step(params, state, batch);
      assertAlmostEquals(await loss.item(), expected, 1e-4);
    }
    for (const [path, actual, expected] of pairs(params, after)) await assertGolden(path, actual, expected, TOLERANCE);
  });
}

testOnEach("half precision comes near, with gradients in the dtype of the parameters", async (backend) => {
  await tn.use(backend);
  const batch = { tokens: ids([[1, 2, 3, 4, 5]]), targets: ids([[2, 3, 4, 5, 6]]) };
  for (const config of [CONFIG, LLAMA]) {
    const params = gpt.init(tn.key(2), config), half = { ...config, dtype: "f16" } as const;
    assertEquals(gpt.apply(params, batch.tokens, half).dtype, "f16");
    const [expected, slopes] = tn.valueAndGrad(gpt.loss)(params, batch, config);
    const [loss, grads] = tn.compile(tn.valueAndGrad(gpt.loss))(params, batch, half);
    assertEquals([loss.dtype, grads.token.dtype], ["f32", "f32"]);
    assertAlmostEquals(await loss.item(), await expected.item(), 2e-3);
    const far = await tn.max(tn.abs(tn.sub(grads.token, slopes.token))).item();
    assert(far < 0.01 * await tn.max(tn.abs(slopes.token)).item(), `${far}`);
    const small = tn.tree.map((p: tn.Tensor) => tn.cast(p, "f16"), params);
    assertEquals(gpt.apply(small, batch.tokens, config).dtype, "f16");
    const options = { length: 4, temperature: 0 };
    assertEquals(await gpt.generate(small, [1], config, options), await gpt.generate(params, [1], half, options));
  }
});

Deno.test("training in half precision follows training in single precision", async () => {
  await tn.use("wasm", "cpu");
  const batch = { tokens: ids([[1, 2, 3, 4, 5], [3, 3, 1, 0, 6]]), targets: ids([[2, 3, 4, 5, 6], [3, 1, 0, 6, 2]]) };
  const train = async (dtype: "f16" | undefined) => {
    const config = { ...LLAMA, ...(dtype && { dtype }) };
    const inner = tn.adamw({ learningRate: 1e-2 }), optimizer = dtype ? tn.lossScaled(inner) : inner;
    let params = gpt.init(tn.key(2), config), state = optimizer.init(params);
    const step = tn.compile((params: gpt.GptParams, state: tn.OptimizerState) => {
      const differentiate = dtype ? tn.scaledValueAndGrad(gpt.loss, state) : tn.valueAndGrad(gpt.loss);
      const [loss, grads] = differentiate(params, batch, config);
      return [loss, ...optimizer.update(grads, state, params)] as const;
    }, { donate: [0, 1] });
    let loss = tn.tensor(0);
    for (let i = 0; i < 20; i++) [loss, params, state] = step(params, state);
    assertEquals(params.token.dtype, "f32");
    return await loss.item();
  };
  const [single, half] = [await train(undefined), await train("f16")];
  assert(single < 1.2, `${single}`);
  assertAlmostEquals(half, single, 0.02);
});

Deno.test("mistakes are named", async () => {
  await tn.use("cpu");
  assertThrows(
    () => gpt.init(tn.key(0), { ...CONFIG, heads: 3 }),
    tn.ArgumentError,
    "Cannot make a GPT of 8 channels and 3 heads: they do not divide evenly",
  );
  assertThrows(
    () => gpt.init(tn.key(0), { ...CONFIG, keyValueHeads: 3 }),
    tn.ArgumentError,
    "Cannot make a GPT of 2 heads and 3 heads of keys and values: they do not divide evenly",
  );
  assertThrows(
    () => gpt.init(tn.key(0), { ...CONFIG, channels: 6, positions: "rotary halves" }),
    tn.ArgumentError,
    "Cannot make a GPT with rotary positions and heads of 3 channels: they turn in pairs",
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
  const refused: [gpt.ChoiceOptions, string][] = [
    [{ temperature: -1 }, "Cannot choose at temperature -1: it must be at least 0"],
    [{ topK: 0 }, "Cannot choose among the top 0: it must be a whole number of at least 1"],
    [{ topP: 2 }, "Cannot choose with topP 2: it must be in (0, 1]"],
  ];
  for (const [choice, message] of refused) {
    await assertRejects(
      () => gpt.generate(PARAMS, [1], CONFIG, { length: 1, key: tn.key(0), ...choice }),
      tn.ArgumentError,
      message,
    );
  }
});
