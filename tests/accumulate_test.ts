import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import { testOn, testOnEach } from "./devices.ts";

await tn.use("cpu");

interface Params {
  readonly hidden: { readonly weight: tn.Tensor; readonly bias: tn.Tensor };
  readonly out: { readonly weight: tn.Tensor };
}

interface Batch {
  readonly x: tn.Tensor;
  readonly labels: tn.Tensor;
  readonly key?: tn.Key;
}

function begin(): Params {
  const [k1, k2, k3] = tn.split(tn.key(3), 3);
  return {
    hidden: { weight: tn.normal(k1, [5, 7], { std: 0.5 }), bias: tn.normal(k2, [7]) },
    out: { weight: tn.normal(k3, [7, 3], { std: 0.5 }) },
  };
}

function makeBatch(size: number): Batch {
  return { x: tn.normal(tn.key(4), [size, 5]), labels: tn.randint(tn.key(5), [size], { max: 3 }) };
}

function loss({ hidden, out }: Params, { x, labels, key }: Batch, options: { readonly rate: number }): tn.Tensor {
  const h = tn.tanh(tn.linear(x, hidden)); // [B, 7]
  return tn.crossEntropy(tn.linear(key ? tn.dropout(h, key, options) : h, out), labels);
}

const numbers = (tree: unknown) => Promise.all((tn.tree.leaves(tree) as tn.Tensor[]).map((leaf) => leaf.data()));

async function assertClose(actual: unknown, expected: unknown, tolerance = 1e-6): Promise<void> {
  const [a, b] = [await numbers(actual), await numbers(expected)];
  assertEquals(a.map(({ length }) => length), b.map(({ length }) => length));
  a.forEach((values, i) => values.forEach((value, k) => assertAlmostEquals(value, b[i][k], tolerance)));
}

testOnEach("the gradients of the parts are those of the whole batch, eager and compiled", async (backend) => {
  await tn.use(backend);
  try {
    const params = begin(), batch = makeBatch(12), options = { rate: 0 };
    const whole = tn.valueAndGrad(loss)(params, batch, options);
    for (const steps of backend === "webgpu" ? [3] : [1, 2, 3, 12]) { // a software adapter compiles slowly
      const parts = tn.accumulate(loss, { steps });
      await assertClose(parts(params, batch, options), whole);
      await assertClose(tn.compile(parts)(params, batch, options), whole);
    }
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("each part drops out by a key of its own", async () => {
  const params = begin(), batch = makeBatch(6), options = { rate: 0.5 }, key = tn.key(9);
  const keys = tn.split(key, 3);
  const each = keys.map((key, i) => {
    const part = (tensor: tn.Tensor) => tn.slice(tensor, 2 * i, 2 * i + 2);
    return tn.valueAndGrad(loss)(params, { x: part(batch.x), labels: part(batch.labels), key }, options);
  });
  const mean = tn.tree.map(
    (...parts: tn.Tensor[]) => tn.div(parts.reduce((a, b) => tn.add(a, b)), 3),
    each[0],
    ...each.slice(1),
  );
  const parts = tn.accumulate(loss, { steps: 3 });
  await assertClose(parts(params, { ...batch, key }, options), mean);
  await assertClose(tn.compile(parts)(params, { ...batch, key }, options), mean);
});

testOn("wasm", "a compiled step needs the memory of a part", async () => {
  await tn.use("wasm");
  try {
    const params = begin(), batch = makeBatch(960);
    const [whole, parts] = [1, 16].map((steps) => {
      const f = tn.compile(tn.accumulate(loss, { steps }));
      f(params, batch, { rate: 0 });
      return tn.inspect(f).arenaBytes;
    });
    assert(parts < whole / 3, `${parts} bytes for a part, ${whole} for all`);
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("half-precision gradients are summed in f32, and come in their own dtype", async () => {
  const w = tn.tensor([1], { dtype: "f16" }), x = tn.tensor([2048, 1, 1, 1], { dtype: "f16", shape: [4, 1] });
  const f = (w: tn.Tensor, { x }: { x: tn.Tensor }) => tn.sum(tn.mul(x, w));
  const [value, grads] = tn.accumulate(f, { steps: 4 })(w, { x });
  assertEquals([value.dtype, grads.dtype], ["f32", "f16"]);
  assertEquals([await value.item(), await grads.item()], [2051 / 4, 513]); // f16 holds 512.75 as 513
});

Deno.test("it is what differentiates a scaled loss", async () => {
  const params = begin(), batch = makeBatch(4), options = { rate: 0 };
  const state = tn.lossScaled(tn.sgd(), { initial: 8 }).init(params);
  const differentiate = (f: typeof loss) => tn.accumulate(f, { steps: 2 });
  const scaled = tn.scaledValueAndGrad(loss, state, { differentiate })(params, batch, options);
  const [value, grads] = tn.valueAndGrad(loss)(params, batch, options);
  await assertClose(scaled, [value, tn.tree.map((grad: tn.Tensor) => tn.mul(grad, 8), grads)], 1e-5);
});

Deno.test("batches that cannot be cut are named", () => {
  const params = begin(), options = { rate: 0 };
  const parts = tn.accumulate(loss, { steps: 4 });
  assertThrows(
    () => parts(params, makeBatch(6), options),
    tn.ShapeError,
    'Cannot cut "x" of shape [6,5] into 4 equal parts',
  );
  assertThrows(() => parts(params, {} as Batch, options), tn.ArgumentError, "the batch holds no tensors");
  assertThrows(() => tn.accumulate(loss, { steps: 0 }), tn.ArgumentError, "over 0 steps");
});
