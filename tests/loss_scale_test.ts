import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import { testOnEach } from "./devices.ts";

await tn.use("cpu");

type Params = { readonly w: tn.Tensor; readonly b: tn.Tensor };

const start = (): Params => ({ w: tn.tensor([1, -2]), b: tn.tensor(0.5) });
const gradients = (w: number[], b = 1): Params => ({ w: tn.tensor(w), b: tn.tensor(b) });
const valuesOf = async ({ w, b }: Params) => [...await w.data(), await b.item()];

/** What changes from update to update: scale, updates since it did, updates left out. */
async function figures(state: tn.OptimizerState): Promise<number[]> {
  const { scale, streak, skipped } = state as tn.LossScaleState;
  return await Promise.all([scale, streak, skipped].map((figure) => figure.item()));
}

Deno.test("gradients are scaled back before the optimizer sees them", async () => {
  const inner = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: 0.1 }));
  const outer = tn.lossScaled(inner, { initial: 4 });
  const params = start();
  const [plain] = inner.update(gradients([3, 4]), inner.init(params), params);
  const [scaled] = outer.update(gradients([12, 16], 4), outer.init(params), params);
  assertEquals(await valuesOf(scaled), await valuesOf(plain));
});

testOnEach("an update with a gradient that is not finite leaves everything but the scale", async (backend) => {
  await tn.use(backend);
  try {
    const rate = tn.schedules.linear({ from: 1, to: 0, steps: 2 });
    const optimizer = tn.lossScaled(tn.sgd({ learningRate: rate, momentum: 0.9 }), { initial: 8, interval: 2 });
    const update = tn.compile(optimizer.update, { donate: [1, 2] }) as typeof optimizer.update;
    let params = start(), state = optimizer.init(params);
    const step = async (w: number[]) => {
      [params, state] = update(gradients(w, 0), state, params);
      return [...(await valuesOf(params)).slice(0, 2), ...await figures(state)];
    };
    assertEquals(await step([8, 0]), [0, -2, 8, 1, 0]); // rate 1: x - 8 / 8
    assertEquals(await step([NaN, 0]), [0, -2, 4, 0, 1]); // neither the parameters nor the schedule move
    assertEquals(await step([0, -Infinity]), [0, -2, 2, 0, 2]);
    const [w, , ...rest] = await step([2, 0]); // rate 1/2, momentum 0.9 + 1
    assertAlmostEquals(w, -0.95, 1e-6);
    assertEquals(rest, [2, 1, 2]);
    assertEquals((await step([0, 0])).slice(2), [4, 0, 2]); // two good ones in a row raise the scale
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("a scale stays between its bounds", async () => {
  const optimizer = tn.lossScaled(tn.sgd(), { initial: 8, factor: 4, interval: 1, min: 4, max: 16 });
  const params = start();
  const next = async (w: number[], state: tn.OptimizerState) => {
    const [, after] = optimizer.update(gradients(w), state, params);
    return { after, scale: (await figures(after))[0] };
  };
  const up = await next([1, 1], optimizer.init(params));
  assertEquals([up.scale, (await next([1, 1], up.after)).scale], [16, 16]);
  const down = await next([NaN, 1], up.after);
  assertEquals([down.scale, (await next([NaN, 1], down.after)).scale], [4, 4]);
});

testOnEach("f16 learns what f32 learns, where gradients would vanish without a scale", async (backend) => {
  await tn.use(backend);
  try {
    // gradients of about 1e-9: below the smallest number of f16
    const loss = (dtype: "f32" | "f16") => (params: Params, x: tn.Tensor) => {
      const { w, b } = tn.castFloats(params, dtype);
      const y = tn.add(tn.mul(w, tn.cast(x, dtype)), b);
      return tn.mul(tn.sum(tn.square(tn.cast(y, "f32"))), 1e-9);
    };
    const learn = async (dtype: "f32" | "f16", initial: number) => {
      const optimizer = tn.lossScaled(tn.sgd({ learningRate: 1e8 }), { initial });
      const step = tn.compile((params: Params, state: tn.OptimizerState, x: tn.Tensor) => {
        const [value, grads] = tn.scaledValueAndGrad(loss(dtype), state)(params, x);
        return [value, ...optimizer.update(grads, state, params)] as const;
      }, { donate: [0, 1] });
      let params = start(), state = optimizer.init(params);
      const x = tn.tensor([0.5, 1]);
      for (let i = 0; i < 5; i++) [, params, state] = step(params, state, x);
      return await valuesOf(params);
    };
    const wanted = await learn("f32", 1), found = await learn("f16", 2 ** 16);
    found.forEach((value, i) => assertAlmostEquals(value, wanted[i], 2e-3));
    assertEquals(await learn("f16", 1), await valuesOf(start())); // nothing moved
  } finally {
    await tn.use("cpu");
  }
});

Deno.test("a scale that is too high finds its level, and no update is lost on the way", async () => {
  const loss = (params: Params) => tn.sum(tn.cast(tn.mul(tn.castFloats(params, "f16").w, 100), "f32"));
  const optimizer = tn.lossScaled(tn.sgd({ learningRate: 1e-3 }), { initial: 2 ** 12 });
  let params = start(), state = optimizer.init(params);
  for (let i = 0; i < 5; i++) {
    const [, grads] = tn.scaledValueAndGrad(loss, state)(params);
    assertEquals(grads.w.dtype, "f32");
    [params, state] = optimizer.update(grads, state, params);
  }
  assertEquals(await figures(state), [2 ** 9, 2, 3]); // 100 · 2⁹ is the highest below 65,504
  assertAlmostEquals((await params.w.data())[0], 1 - 2 * 0.1, 1e-6);
});

Deno.test("gradients of a batch in parts can be scaled, too", async () => {
  const params = start(), state = tn.lossScaled(tn.sgd(), { initial: 8 }).init(params);
  const loss = ({ w, b }: Params, { x }: { x: tn.Tensor }) => tn.mean(tn.square(tn.add(tn.mul(w, x), b)));
  const batch = { x: tn.tensor([[1, 2], [3, 4], [5, 6], [7, 8]]) };
  const differentiate = (f: typeof loss) => tn.accumulate(f, { steps: 2 });
  const [value, grads] = tn.scaledValueAndGrad(loss, state, { differentiate })(params, batch);
  const [plainValue, plain] = tn.valueAndGrad(loss)(params, batch);
  assertAlmostEquals(await value.item(), await plainValue.item(), 1e-4);
  const wanted = await valuesOf(plain);
  (await valuesOf(grads)).forEach((grad, i) => assertAlmostEquals(grad, 8 * wanted[i], 1e-3));
});

Deno.test("castFloats casts floats alone, and allFinite looks at floats alone", async () => {
  const tree = { a: tn.ones([2]), b: [tn.tensor([1], { dtype: "i32" }), null], name: "x" };
  const { a, b: [b, empty], name } = tn.castFloats(tree, "f16");
  assertEquals([a.dtype, (b as tn.Tensor).dtype, empty, name], ["f16", "i32", null, "x"]);
  for (const [value, finite] of [[1, 1], [-Infinity, 0], [NaN, 0]]) {
    assertEquals(await tn.allFinite({ ...tree, c: tn.tensor([0, value]) }).item(), finite);
  }
  assertEquals(await tn.allFinite(tn.cast(tn.tensor(65520), "f16")).item(), 0); // past the end of f16
});

Deno.test("scales without sense are refused", () => {
  const cases: [tn.LossScaleOptions, string][] = [
    [{ initial: 0 }, "Cannot scale a loss by 0, from 1 to 16777216: it takes 0 < min <= initial <= max"],
    [{ factor: 1 }, "Cannot scale a loss with factor 1: it must be more than 1"],
    [{ interval: 0.5 }, "Cannot scale a loss with interval 0.5: it must be a whole number of at least 1"],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => tn.lossScaled(tn.sgd(), options), tn.ArgumentError, message);
  }
  assertThrows(
    () => tn.scaledValueAndGrad(tn.sum, tn.adam().init(start())),
    tn.ArgumentError,
    "Cannot scale a loss: the state was not made by lossScaled",
  );
  assertThrows(
    () => tn.allFinite([]),
    tn.ArgumentError,
    "Cannot tell whether a tree without floats is finite",
  );
});

Deno.test("updates free what they do not return", () => {
  const optimizer = tn.lossScaled(tn.adam()), params = start(), state = optimizer.init(params);
  const grads = gradients([1, 2]);
  const before = tn.memory().tensors;
  const [next, after] = optimizer.update(grads, state, params);
  const made = [...tn.tree.leaves(next), ...tn.tree.leaves(after)].length;
  assert(tn.memory().tensors <= before + made);
});
