import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import { testOnEach } from "./devices.ts";

await tn.use("cpu");

const step = (n: number) => tn.tensor(n, { dtype: "i32" });
const rates = (schedule: tn.Schedule, steps: readonly number[]) =>
  Promise.all(steps.map((n) => schedule(step(n)).item()));

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-6): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((value, i) => assertAlmostEquals(value, expected[i], tolerance));
}

/** Every optimizer, with options that exercise all of its state. */
const OPTIMIZERS: Record<string, tn.Optimizer> = {
  sgd: tn.sgd({ learningRate: 0.1 }),
  momentum: tn.sgd({ learningRate: 0.05, momentum: 0.8, nesterov: true }),
  adam: tn.adam({ learningRate: 0.1 }),
  adamw: tn.adamw({ learningRate: 0.1 }),
  rmsprop: tn.rmsprop({ learningRate: 0.05, momentum: 0.5, centered: true }),
  adadelta: tn.adadelta({ eps: 1e-2 }),
  lion: tn.lion({ learningRate: 0.05 }),
};

/** Steps down a bowl whose lowest place is (3, -1), from (0, 0). */
async function descend(optimizer: tn.Optimizer, steps: number): Promise<number> {
  const goal = tn.tensor([3, -1]);
  const loss = ({ at: [x] }: { at: tn.Tensor[] }) => tn.sum(tn.square(tn.sub(x, goal)));
  let params = { at: [tn.zeros([2])] };
  let state = optimizer.init(params);
  for (let i = 0; i < steps; i++) {
    [params, state] = tn.scope(() => optimizer.update(tn.grad(loss)(params), state, params));
  }
  return await loss(params).item();
}

for (const [name, optimizer] of Object.entries(OPTIMIZERS)) {
  Deno.test(`${name} finds the bottom of a bowl`, async () => {
    const [before, after] = [await descend(optimizer, 0), await descend(optimizer, 150)];
    if (!(after < before / 20)) throw new Error(`the loss went from ${before} to ${after}`);
  });

  Deno.test(`${name} does not change what it is given`, async () => {
    const params = [tn.tensor([1, 2])], grads = [tn.tensor([3, 4])], state = optimizer.init(params);
    const [first] = optimizer.update(grads, state, params), [second] = optimizer.update(grads, state, params);
    assertEquals(await first[0].array(), await second[0].array());
    assertEquals(await params[0].array(), [1, 2]);
  });
}

/** Three clipped AdamW steps with a schedule; `wrap` may compile the update. Returns all parameters. */
async function threeSteps(wrap: <F extends tn.Optimizer["update"]>(update: F) => F): Promise<number[]> {
  const rate = tn.schedules.warmUp(tn.schedules.cosine({ from: 0.1, steps: 10 }), { steps: 2 });
  const optimizer = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: rate, weightDecay: 0.1 }));
  const update = wrap(optimizer.update);
  const grads = { w: tn.tensor([[1, -2]]), b: [tn.tensor(3)] };
  let params = { w: tn.ones([1, 2]), b: [tn.tensor(0.5)] }, state = optimizer.init(params);
  for (let i = 0; i < 3; i++) [params, state] = update(grads, state, params);
  return [...await params.w.data(), await params.b[0].item()];
}

const onCpu = await threeSteps((update) => update);

testOnEach("updates are the same everywhere, and compiled once for all steps", async (backend) => {
  await tn.use(backend);
  try {
    assertClose(await threeSteps((update) => update), onCpu);
    let recompiled = 0;
    const compile = <F extends tn.Optimizer["update"]>(update: F) =>
      tn.compile(update, { onRecompile: () => recompiled++ }) as F;
    assertClose(await threeSteps(compile), onCpu);
    assertEquals(recompiled, 0);
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("a schedule sees how many updates came before", async () => {
  const optimizer = tn.sgd({ learningRate: (step) => tn.cast(step, "f32") });
  let params = tn.tensor(0), state = optimizer.init(params);
  const path: number[] = [];
  for (let i = 0; i < 4; i++) {
    [params, state] = optimizer.update(tn.tensor(-1), state, params);
    path.push(await params.item());
  }
  assertEquals(path, [0, 1, 3, 6]);
});

Deno.test("the decay mask is asked by parameter and by name", async () => {
  const asked: string[] = [];
  const decayMask = (parameter: tn.Tensor, name: string) =>
    asked.push(`${name} ${parameter.rank}`) > 0 && name !== "b.1";
  const params = { a: tn.ones([2, 1]), b: [tn.ones([]), tn.ones([])] };
  const optimizer = tn.adamw({ learningRate: 0.5, weightDecay: 0.5, decayMask });
  const [{ a, b }] = optimizer.update(tn.tree.map(tn.zerosLike, params), optimizer.init(params), params);
  assertEquals(asked, ["a 2", "b.0 0", "b.1 0"]);
  assertEquals([await a.array(), await b[0].item(), await b[1].item()], [[[0.75], [0.75]], 0.75, 1]);
});

Deno.test("half-precision parameters keep their dtype and full-precision state", async () => {
  const params = [tn.tensor([1, 2], { dtype: "f16" })];
  const optimizer = tn.adam({ learningRate: 0.5 });
  const [next, state] = optimizer.update([tn.tensor([1e-4, -1e-4], { dtype: "f16" })], optimizer.init(params), params);
  assertEquals(next[0].dtype, "f16");
  assertEquals((state as { square: tn.Tensor[] }).square[0].dtype, "f32");
  assertClose([...await next[0].data()], [0.5, 2.5], 1e-3);
});

Deno.test("clipping keeps short gradients as they are", async () => {
  const [next] = tn.clipByGlobalNorm(10).update([tn.tensor([3, 4])], null, [tn.zeros([2])]);
  assertEquals(await next[0].array(), [3, 4]);
});

Deno.test("mistakes are named", () => {
  const optimizer = tn.adam();
  const params = { a: tn.ones([2]) };
  assertThrows(
    () => optimizer.update({ b: tn.ones([2]) } as unknown as typeof params, optimizer.init(params), params),
    tn.ArgumentError,
    "Cannot update parameters {a:*} with gradients {b:*}: the trees differ",
  );
  assertThrows(
    () => optimizer.update(params, tn.sgd().init(params), params),
    tn.ArgumentError,
    'Cannot update parameters {a:*} with the state "mean" undefined: the trees differ',
  );
  assertThrows(
    () => tn.chain(optimizer).update(params, optimizer.init(params), params),
    tn.ArgumentError,
    "Cannot update a chain of 1 links: the state was made by another optimizer",
  );
  assertThrows(
    () => tn.sgd({ nesterov: true }),
    tn.ArgumentError,
    "Cannot make sgd with nesterov: it looks ahead along the momentum, which is 0",
  );
  assertThrows(
    () => tn.adamw({ betas: [0.9, 1] }),
    tn.ArgumentError,
    "Cannot make adamw with beta2 1: it must be at least 0 and less than 1",
  );
  assertThrows(() => tn.clipByGlobalNorm(0), tn.ArgumentError, "Cannot clip to a norm of 0: it must be more than 0");
  assertThrows(
    () => tn.schedules.join([tn.schedules.constant(1)], [3]),
    tn.ArgumentError,
    "Cannot join 1 schedules at [3]: there must be one rising boundary between each two",
  );
});

Deno.test("cosine and oneCycle go the way of PyTorch's CosineAnnealingLR and OneCycleLR", async () => {
  assertClose(
    await rates(tn.schedules.cosine({ from: 0.8, to: 0.1, steps: 10 }), [0, 1, 4, 9, 10, 11]),
    [0.8, 0.78286978, 0.55815595, 0.11713023, 0.1, 0.1],
  );
  assertClose(
    await rates(tn.schedules.oneCycle({ peak: 0.5, steps: 20 }), [0, 1, 4, 5, 6, 12, 19]),
    [0.02, 0.06583592, 0.45416408, 0.5, 0.493732, 0.250001, 0.000002],
  );
});

Deno.test("the other schedules follow their formulas", async () => {
  const { constant, inverseSquareRoot, join, linear, warmUp } = tn.schedules;
  assertClose(await rates(constant(0.25), [0, 1000]), [0.25, 0.25]);
  assertClose(await rates(linear({ from: 1, to: 0.5, steps: 5 }), [0, 1, 5, 9]), [1, 0.9, 0.5, 0.5]);
  assertClose(await rates(inverseSquareRoot({ peak: 2, warmUp: 4 }), [0, 3, 15, 63]), [0.5, 2, 1, 0.5]);
  assertClose(await rates(warmUp(constant(1), { steps: 4 }), [0, 1, 3, 4, 5]), [0.2, 0.4, 0.8, 1, 1]);
  const joined = join([constant(1), linear({ from: 3, to: 2, steps: 2 }), constant(0)], [2, 5]);
  assertClose(await rates(joined, [0, 1, 2, 3, 4, 5, 6]), [1, 1, 3, 2.5, 2, 0, 0]);
});

Deno.test("clipping scales f16 gradients in f32: a long one is not lost", async () => {
  await tn.use("cpu");
  const optimizer = tn.clipByGlobalNorm(1), grads = tn.full([1024, 64], 60000, { dtype: "f16" });
  const [clipped] = optimizer.update(grads, optimizer.init(grads), grads);
  assertEquals(clipped.dtype, "f16");
  const [value] = await tn.cast(clipped, "f32").data();
  assert(Math.abs(value - 1 / 256) < 1e-5, `${value}`);
});
