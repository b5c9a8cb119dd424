import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import * as tn from "../mod.ts";
import { writeSafetensors } from "../io/safetensors.ts";
import { loadCheckpoint, saveCheckpoint } from "../train/checkpoint.ts";
import { batches, type HostArray, hostArray, type Position, random, randomShift, toFloat } from "../train/data.ts";
import { testOnEach } from "./devices.ts";

await tn.use("cpu");

/** A path that is removed with its folder. */
async function temporary(): Promise<{ readonly path: string; readonly folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  const dispose = () => Deno.remove(folder, { recursive: true });
  return { folder, path: join(folder, "checkpoint.safetensors"), [Symbol.asyncDispose]: dispose };
}

interface Training {
  readonly params: { readonly kernel: tn.Tensor; readonly weight: tn.Tensor; readonly bias: tn.Tensor };
  readonly state: tn.OptimizerState;
  readonly key: tn.Key;
}

/** A training and where it stands. */
interface Checkpoint extends Training {
  readonly position: Position;
}

const EPOCHS = 2, SIZE = 4, EXAMPLES = 14;

const drawn = random(3);
const DATASET = {
  images: hostArray(Uint8Array.from({ length: EXAMPLES * 36 }, () => drawn.integer(256)), {
    shape: [EXAMPLES, 1, 6, 6],
  }),
  labels: hostArray(Uint8Array.from({ length: EXAMPLES }, (_, i) => i % 3)),
};

type Images = { readonly images: tn.Tensor; readonly labels: tn.Tensor };

/** A convolution, pooling, dropout and a dense layer. */
function loss(
  { kernel, weight, bias }: Training["params"],
  { images, labels }: Record<string, tn.Tensor>,
  key: tn.Key,
) {
  const maps = tn.maxPool(tn.relu(tn.conv(images, kernel, { padding: 1 })), 2); // [B, 5, 3, 3]
  const flat = tn.dropout(tn.reshape(maps, [images.shape[0], 45]), key, { rate: 0.25 });
  return tn.crossEntropy(tn.linear(flat, { weight, bias }), labels);
}

function begin(): Checkpoint {
  const [k1, k2, key] = tn.split(tn.key(1), 3);
  const params = {
    kernel: tn.normal(k1, [5, 1, 3, 3], { std: 0.3 }),
    weight: tn.normal(k2, [45, 3], { std: 0.1 }),
    bias: tn.zeros([3]),
  };
  return { params, state: optimizer.init(params), key, position: { epoch: 0, step: 0 } };
}

const optimizer = tn.chain(
  tn.clipByGlobalNorm(1),
  tn.adamw({ learningRate: tn.schedules.oneCycle({ peak: 0.02, steps: 8 }) }),
);

function makeStep() {
  return tn.compile(({ params, state, key }: Training, batch: Images) => {
    const [next, own] = tn.split(key);
    const [value, grads] = tn.valueAndGrad(loss)(params, batch, own);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return [value, { params: nextParams, state: nextState, key: next } as Training] as const;
  }, { donate: [0] });
}

/** Trains on from a checkpoint to the end, or for a number of steps. */
async function train(from: Checkpoint, limit = Infinity): Promise<Checkpoint> {
  const step = makeStep();
  let { position, ...training } = from, done = 0;
  const map = (
    { images, labels }: Record<"images" | "labels", HostArray>,
    random: Parameters<typeof randomShift>[1]["random"],
  ) => ({
    images: randomShift(toFloat(images, { scale: 1 / 255 }), { random, pixels: 1 }),
    labels,
  });
  for (; position.epoch < EPOCHS; position = { epoch: position.epoch + 1, step: 0 }) {
    for await (using batch of batches(DATASET, { size: SIZE, key: 5, at: position, map })) {
      if (done++ === limit) return { ...training, position };
      const [value, next] = step(training, batch);
      value.dispose();
      training = next;
      position = { ...position, step: position.step + 1 };
    }
  }
  return { ...training, position };
}

/** All parameters as bits. */
async function bits({ params }: Training): Promise<string[]> {
  return await Promise.all(
    Object.values(params).map(async (param: tn.Tensor) =>
      new Uint8Array((await param.data()).buffer as ArrayBuffer).toHex()
    ),
  );
}

testOnEach("a training that was stopped at any step ends with the same weights, bit for bit", async (backend) => {
  await tn.use(backend);
  try {
    await using file = await temporary();
    const expected = await bits(await train(begin()));
    assert(expected.join() !== (await bits(begin())).join());
    const stops = backend === "webgpu" ? [5] : [0, 1, 2, 3, 4, 5, 6, 7, 8]; // a software adapter compiles slowly
    for (const steps of stops) {
      const stopped = await train(begin(), steps);
      await saveCheckpoint(file.path, stopped);
      const resumed = await loadCheckpoint<Checkpoint>(file.path, { like: begin() });
      assertEquals(resumed.position, stopped.position);
      assertEquals(await bits(await train(resumed)), expected, `stopped after ${steps} steps`);
    }
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("everything comes back as it was", async () => {
  await using file = await temporary();
  const state = {
    tensors: [tn.tensor([1, 2], { dtype: "f16" }), tn.tensor(true), tn.tensor([-1], { dtype: "i32" })],
    key: tn.key(7),
    values: [0.1, -0, NaN, Infinity, -Infinity, "text", true, null, undefined],
    empty: { list: [], object: {}, "0": 1, "a.b": "dotted" },
  };
  await saveCheckpoint(file.path, state);
  const read = await loadCheckpoint<typeof state>(file.path, { like: state });
  assertEquals(await Promise.all(read.tensors.map((tensor) => tensor.array())), [[1, 2], true, [-1]]);
  assertEquals(read.tensors.map(({ dtype }) => dtype), ["f16", "bool", "i32"]);
  assertEquals(await read.key.threefry.array(), [0, 7]);
  assertEquals(read.values, state.values);
  assert(Object.is(read.values[1], -0));
  assertEquals(read.empty, state.empty);
  assertEquals([...Deno.readDirSync(file.folder)].length, 1);

  await saveCheckpoint(file.path, tn.tensor(3));
  assertEquals(await (await loadCheckpoint<tn.Tensor>(file.path)).item(), 3);
});

Deno.test("keys come in the order of the state that is expected", async () => {
  await using file = await temporary();
  await saveCheckpoint(file.path, { "1": "first", b: { d: tn.tensor([1]), c: [2] }, a: 3 });
  const like = { a: 0, b: { c: [0], d: tn.tensor([0]) }, "1": "" };
  const read = await loadCheckpoint(file.path, { like });
  assertEquals(tn.tree.names(read), tn.tree.names(like));
  assertEquals([read.a, read.b.c, await read.b.d.array(), read["1"]], [3, [2], [1], "first"]);
  await assertRejects(
    () => loadCheckpoint(file.path, { like: { ...like, b: { ...like.b, empty: [] } } }),
    tn.FormatError,
    "the nesting is",
  );
});

Deno.test("a file that does not fit is named, with the place", async () => {
  await using file = await temporary();
  const { path } = file, state = { params: [tn.ones([2, 3])], epoch: 1 };
  await saveCheckpoint(path, state);
  const before = tn.memory().tensors;
  const message = async (like?: unknown) => {
    const error = await assertRejects(() => loadCheckpoint(path, { like }), tn.FormatError);
    assert(error.message.startsWith(`Cannot load a checkpoint from ${path}: `), error.message);
    return error.message.slice(path.length + 32);
  };
  const wrong = tn.ones([2, 4]);
  assertEquals(
    await message({ params: [wrong], epoch: 1 }),
    '"params.0" is f32[2,3] in the file, f32[2,4] was expected',
  );
  assertEquals(await message({ ...state, best: 1 }), '"best" is missing in the file, a number was expected');
  assertEquals(await message({ params: state.params }), '"epoch", a number, was not expected');
  assertEquals(await message({ ...state, epoch: "1" }), '"epoch" is a number in the file, a string was expected');
  wrong.dispose();

  const bytes = await Deno.readFile(path);
  await Deno.writeFile(path, bytes.subarray(0, bytes.length - 4));
  assertEquals(await message(), "Cannot read safetensors: truncated: the tensors take 24 bytes, 20 are there");
  await writeSafetensors(path, state.params);
  assertEquals(await message(), "it holds tensors, but saveCheckpoint did not write it");
  assert(tn.memory().tensors <= before); // less where the collector frees what an earlier test forgot

  await Deno.remove(path);
  await assertRejects(
    () => loadCheckpoint(path),
    Error,
    `Cannot load a checkpoint from ${path}: there is no such file`,
  );
});

Deno.test("a state that cannot be saved leaves the file before it as it is", async () => {
  await using file = await temporary();
  const { path } = file;
  await saveCheckpoint(path, { epoch: 1 });
  await assertRejects(
    () => saveCheckpoint(path, { epoch: 2, when: new Date(0) }),
    tn.ArgumentError,
    'Cannot save a checkpoint: "when" is [object Date]; it takes tensors, numbers, strings and booleans',
  );
  const clash = { "a.b": tn.tensor(1), a: { b: tn.tensor(2) } };
  await assertRejects(() => saveCheckpoint(path, clash), tn.ArgumentError, 'two tensors are at "a.b"');
  const gone = tn.tensor(1);
  gone.dispose();
  await assertRejects(() => saveCheckpoint(path, { gone }), Error, `Cannot save a checkpoint to ${path}`);
  assertEquals(await loadCheckpoint(path), { epoch: 1 });
  assertEquals([...Deno.readDirSync(file.folder)].length, 1);
});

Deno.test("an array with holes comes back with undefined in them", async () => {
  await using file = await temporary();
  const holes: unknown[] = [1];
  holes[2] = 3;
  await saveCheckpoint(file.path, { holes });
  assertEquals(await loadCheckpoint(file.path), { holes: [1, undefined, 3] });
});

Deno.test("damaged nesting is told, and leaves no tensors", async () => {
  await using file = await temporary();
  const before = tn.memory().tensors, weight = tn.ones([2]);
  for (
    const checkpoint of [
      "{",
      "{}",
      '{"structure":{"kind":"tower"},"leaves":[]}',
      '{"structure":{"kind":"leaf"},"leaves":[]}',
    ]
  ) {
    await writeSafetensors(file.path, { weight }, { metadata: { format: "tenon checkpoint", checkpoint } });
    await assertRejects(() => loadCheckpoint(file.path), tn.FormatError, "Cannot load a checkpoint from");
  }
  weight.dispose();
  assert(tn.memory().tensors <= before);
});
