/** Recurrent networks, held to PyTorch's. @module */
import { assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import * as lstm from "../models/lstm.ts";
import { BACKENDS, testOn } from "./devices.ts";
import { assertGolden, golden, type Packed, unpack } from "./golden.ts";

type Named = Readonly<Record<string, Packed>>;

interface Golden {
  readonly optimizer: { readonly learningRate: number; readonly momentum: number; readonly steps: number };
  readonly layers: readonly {
    readonly name: string;
    readonly config: lstm.LstmConfig;
    readonly x: Packed;
    readonly lengths: Packed | null;
    readonly state: readonly Packed[] | null;
    readonly results: readonly Packed[];
    readonly weights: readonly Packed[];
    readonly loss: number;
    readonly params: Named;
    readonly gradients: Named;
    readonly after: Named;
  }[];
  readonly tokens: readonly {
    readonly name: string;
    readonly config: lstm.TokenConfig;
    readonly tokens: Packed;
    readonly targets: Packed;
    readonly lengths: Packed;
    readonly logits: Packed;
    readonly loss: number;
    readonly params: Named;
    readonly gradients: Named;
    readonly after: Named;
  }[];
}

const { optimizer: settings, layers, tokens } = await golden<Golden>("lstm");
const TOLERANCE = { relative: 2e-5 };

async function assertParams(what: string, params: unknown, expected: Named): Promise<void> {
  const names = tn.tree.names(params), leaves = tn.tree.leaves(params) as Tensor[];
  assertEquals([...names].sort(), Object.keys(expected).sort());
  for (const [i, name] of names.entries()) await assertGolden(`${what} ${name}`, leaves[i], expected[name], TOLERANCE);
}

/** Checks the loss, its gradients, and where five steps of SGD lead. */
async function assertTrains<P>(
  params: P,
  loss: (params: P) => Tensor,
  expected: { readonly loss: number; readonly gradients: Named; readonly after: Named },
): Promise<void> {
  const optimizer = tn.sgd({ learningRate: settings.learningRate, momentum: settings.momentum });
  const differentiate = tn.compile((params: P) => tn.valueAndGrad(loss)(params));
  let state = optimizer.init(params);
  for (let step = 0; step < settings.steps; step++) {
    const [value, grads] = differentiate(params);
    if (step === 0) {
      await assertGolden("loss", value, { shape: [], dtype: "f32", data: [expected.loss] }, TOLERANCE);
      await assertParams("gradient of", grads, expected.gradients);
    }
    [params, state] = optimizer.update(grads, state, params);
  }
  await assertParams("trained", params, expected.after);
}

const unpackAll = (named: Named) => Object.fromEntries(Object.entries(named).map(([name, p]) => [name, unpack(p)]));

/** Where to train, by the name of a case: WebGPU's programs take seconds to make on a software adapter. */
function testTraining(name: string, f: () => Promise<void>): void {
  const slow = !/^(lstm, two layers|gru, an embedding)/.test(name);
  for (const backend of BACKENDS.filter((backend) => backend !== "webgpu" || !slow)) {
    testOn(backend, `${backend}: PyTorch's ${name}`, async () => {
      await tn.use(backend);
      await f();
    });
  }
}

for (const row of layers) {
  testTraining(row.name, async () => {
    const params: lstm.LstmParams = unpackAll(row.params), xs = unpack(row.x);
    const [hidden, cell] = row.state?.map(unpack) ?? [];
    const options = { lengths: row.lengths ? unpack(row.lengths) : undefined, state: hidden && { hidden, cell } };
    const results = (params: lstm.LstmParams) => {
      const [outputs, state] = lstm.apply(params, xs, row.config, options);
      return [outputs, state.hidden, ...state.cell ? [state.cell] : []];
    };
    for (const [i, result] of results(params).entries()) {
      await assertGolden(`result ${i}`, result, row.results[i], TOLERANCE);
    }
    const weights = row.weights.map(unpack);
    const loss = (params: lstm.LstmParams) =>
      results(params).map((y, i) => tn.mean(tn.add(tn.mul(y, weights[i]), tn.square(y)))).reduce((a, b) =>
        tn.add(a, b)
      );
    await assertTrains(params, loss, row);
  });
}

for (const row of tokens) {
  testTraining(row.name, async () => {
    const { embedding, head, layers } = tree(row.params);
    const params = { ...embedding && { embedding: embedding.weight }, layers, head } as unknown as lstm.TokenParams;
    const batch = { tokens: unpack(row.tokens), targets: unpack(row.targets), lengths: unpack(row.lengths) };
    const [logits] = lstm.applyTokens(params, batch.tokens, row.config, batch);
    await assertGolden("logits", logits, row.logits, TOLERANCE);
    const named = (values: Named) =>
      Object.fromEntries(
        Object.entries(values).map(([name, value]) => [name.replace("embedding.weight", "embedding"), value]),
      );
    const expected = { ...row, gradients: named(row.gradients), after: named(row.after) };
    await assertTrains(params, (params) => lstm.loss(params, batch, row.config), expected);
  });
}

/** `{ "a.b": x }` as `{ a: { b: x } }`. */
function tree(named: Named): Record<string, Record<string, Tensor>> {
  const made: Record<string, Record<string, Tensor>> = {};
  for (const [name, value] of Object.entries(named)) {
    const [head, rest] = name.split(".");
    (made[head] ??= {})[rest] = unpack(value);
  }
  return made;
}

const CONFIG: lstm.TokenConfig = { vocabSize: 5, hidden: 6, layers: 2, dropout: 0.5 };
const ids = (rows: number[][]) => tn.tensor(rows, { dtype: "i32" });

Deno.test("parameterCount counts what initTokens makes", async () => {
  await tn.use("cpu");
  for (const config of [CONFIG, { ...CONFIG, cell: "gru", channels: 3, bidirectional: true, outputs: 2 } as const]) {
    const leaves = tn.tree.leaves(lstm.initTokens(tn.key(0), config)) as Tensor[];
    assertEquals(lstm.parameterCount(config), leaves.reduce((sum, { size }) => sum + size, 0));
  }
});

Deno.test("forget gates begin where they are told to", async () => {
  await tn.use("cpu");
  const config: lstm.LstmConfig = { inputs: 2, hidden: 2 };
  const [plain, open] = [config, { ...config, forgetBias: 1 }].map((config) => lstm.init(tn.key(4), config));
  const difference = await tn.sub(open.bias_ih_l0, plain.bias_ih_l0).data();
  assertEquals([...difference].map(Math.round), [0, 0, 1, 1, 0, 0, 0, 0]);
});

Deno.test("a text read in two parts, the state carried over, is the text read at once", async () => {
  await tn.use("cpu");
  for (const cell of ["lstm", "gru", "rnn"] as const) {
    const config: lstm.TokenConfig = { ...CONFIG, cell };
    const params = lstm.initTokens(tn.key(1), config);
    const [whole] = lstm.applyTokens(params, ids([[1, 2, 3, 4], [0, 4, 0, 1]]), config);
    const [, state] = lstm.applyTokens(params, ids([[1, 2], [0, 4]]), config);
    const [rest] = lstm.applyTokens(params, ids([[3, 4], [0, 1]]), config, { state });
    const expected = await tn.slice(whole, 2, 4, { axis: 1 }).data();
    assertEquals((await rest.data()).map(Math.fround), expected);
  }
});

Deno.test("dropout needs a key, and the same key drops the same", async () => {
  await tn.use("cpu");
  const params = lstm.initTokens(tn.key(1), CONFIG);
  const batch = { tokens: ids([[1, 2, 3]]), targets: ids([[2, 3, 4]]) };
  const loss = (key?: tn.Key) => lstm.loss(params, { ...batch, key }, CONFIG).item();
  assertEquals(await loss(), await lstm.loss(params, batch, { ...CONFIG, dropout: 0 }).item());
  assertEquals(await loss(tn.key(1)), await loss(tn.key(1)));
  assertNotEquals(await loss(tn.key(1)), await loss(tn.key(2)));
});

Deno.test("generate takes the likeliest tokens without chance, the same ones with the same key, and stops", async () => {
  await tn.use("cpu");
  const params = lstm.initTokens(tn.key(2), CONFIG), tokens = [3, 1];
  for (let i = 0; i < 4; i++) {
    const [logits] = lstm.applyTokens(params, ids([tokens]), CONFIG);
    const last = (await logits.data()).subarray(-CONFIG.vocabSize);
    tokens.push(last.indexOf(Math.max(...last)));
  }
  assertEquals(await lstm.generate(params, [3, 1], CONFIG, { length: 4, temperature: 0 }), tokens.slice(2));
  const write = (seed: number, stop: number[] = []) =>
    lstm.generateAll(params, [[0], [1]], CONFIG, { length: 12, key: tn.key(seed), stop });
  const [first, second] = await write(1);
  assertEquals(await write(1), [first, second]);
  assertNotEquals(await write(2), [first, second]);
  const cut = (text: number[]) => text.includes(first[3]) ? text.slice(0, text.indexOf(first[3])) : text;
  assertEquals(await write(1, [first[3]]), [cut(first), cut(second)]);
});

Deno.test("mistakes are named", async () => {
  await tn.use("cpu");
  const params = lstm.initTokens(tn.key(0), CONFIG);
  assertThrows(
    () => lstm.init(tn.key(0), { inputs: 2, hidden: 0 }),
    tn.ArgumentError,
    "Cannot make a recurrent network of 0 hidden units: it takes a whole number of at least 1",
  );
  assertThrows(
    () => lstm.applyTokens(params, ids([[1]]), CONFIG, { state: { hidden: tn.zeros([1, 1, 6]) } }),
    tn.ShapeError,
    "Cannot begin with a hidden state of [1,1,6]: it must be [2,batch,6]",
  );
  assertThrows(
    () => lstm.applyTokens(params, tn.zeros([3], { dtype: "i32" }), CONFIG),
    tn.ShapeError,
    "Cannot read tokens [3]: they must be [batch, time]",
  );
  await assertRejects(
    () => lstm.generateAll(params, [[1], [1, 2]], CONFIG, { length: 1, temperature: 0 }),
    tn.ArgumentError,
    "Cannot continue prompts of 1,2 tokens: give equal ones",
  );
});
