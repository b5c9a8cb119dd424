/** Loops: their gradients, loops of loops, and what they refuse. @module */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { f32, tensorOf } from "./cases/case.ts";
import { difference } from "./compare.ts";
import { testOn, testOnEach } from "./devices.ts";

async function assertClose(actual: Tensor, expected: Tensor, relative = 1e-5): Promise<void> {
  const problem = difference(await actual.data(), await expected.data(), { relative });
  if (problem) throw new Error(problem);
}

const T = 4, B = 3, H = 5;

/** A cell with a weight that is used twice, a linear layer, and a bias. */
function turn(params: { w: Tensor; u: Tensor; b: Tensor }, hidden: Tensor, x: Tensor): Tensor {
  const gates = tn.add(x, tn.matmul(hidden, params.w)); // [B, H]
  return tn.tanh(tn.add(tn.linear(tn.sin(gates), { weight: params.u, bias: params.b }), tn.matmul(gates, params.w)));
}

const key = (n: number) => tn.key(n);
const makeParams = () => ({
  w: tn.normal(key(1), [H, H], { std: 0.4 }),
  u: tn.normal(key(2), [H, H], { std: 0.4 }),
  b: tn.normal(key(3), [H]),
});

function looped(params: ReturnType<typeof makeParams>, xs: Tensor): Tensor {
  const [last, ys] = tn.scan(
    (hidden: Tensor, x: Tensor) => {
      const next = turn(params, hidden, x);
      return [next, next] as const;
    },
    tn.zeros([B, H]),
    xs,
  );
  return tn.add(tn.sum(tn.mul(last, 2)), tn.sum(tn.square(ys)));
}

function unrolled(params: ReturnType<typeof makeParams>, xs: Tensor): Tensor {
  let hidden = tn.zeros([B, H]), total: Tensor = tn.tensor(0);
  for (let t = 0; t < T; t++) {
    hidden = turn(params, hidden, tn.squeeze(tn.slice(xs, t, t + 1), 0));
    total = tn.add(total, tn.sum(tn.square(hidden)));
  }
  return tn.add(total, tn.sum(tn.mul(hidden, 2)));
}

testOnEach("the gradient of a loop with weights is that of the loop written out", async (backend) => {
  await tn.use(backend);
  const params = makeParams(), xs = tn.normal(key(4), [T, B, H]);
  const expected = tn.grad(unrolled, { argnums: [0, 1] })(params, xs);
  for (const wrap of [<F>(f: F) => f, tn.compile as <F>(f: F) => F]) {
    const found = wrap(tn.grad(looped, { argnums: [0, 1] }))(params, xs);
    await assertClose(found[1], expected[1]);
    for (const name of ["w", "u", "b"] as const) await assertClose(found[0][name], expected[0][name]);
  }
});

testOnEach("so is the gradient of its gradient", async (backend) => {
  await tn.use(backend);
  const params = makeParams(), xs = tn.normal(key(4), [T, B, H]);
  const second = (f: typeof looped) =>
    tn.compile(tn.grad((w: Tensor) => tn.sum(tn.square(tn.grad((w: Tensor) => f({ ...params, w }, xs))(w)))));
  await assertClose(second(looped)(params.w), second(unrolled)(params.w));
});

testOn("wasm", "a compiled gradient keeps a loop's products and adds up those of its weights outside", async () => {
  await tn.use("wasm");
  const cell = (w: Tensor, xs: Tensor) =>
    tn.sum(
      tn.scan(
        (hidden: Tensor, x: Tensor) => {
          const next = tn.tanh(tn.add(x, tn.matmul(hidden, w)));
          return [next, next] as const;
        },
        tn.zeros([B, H]),
        xs,
      )[1],
    );
  const gradient = tn.compile(tn.grad(cell));
  gradient(tn.ones([H, H]), tn.ones([T, B, H]));
  const products = tn.inspect(gradient).kernels.filter(({ name }) => name.startsWith("matmul"));
  // once a step forwards (h·w), once a step backwards (dh), and once in all for dw
  assertEquals(products.map(({ times, shape }) => [times, ...shape]), [[T, B, H], [T, B, H], [1, H, H]]);
});

/** A loop of loops: every row of `xs` is walked by a loop of its own, whose carry goes on to the next row. */
function nested(
  w: Tensor,
  xs: Tensor,
  around: <F extends (...args: never[]) => unknown>(f: F) => F = (f) => f,
): Tensor {
  const step = (c: Tensor, x: Tensor) => [tn.tanh(tn.add(tn.mul(c, w), x)), c] as const;
  const row = (c: Tensor, xs: Tensor) => tn.scan(step, c, xs);
  const [last, ys] = tn.scan((c: Tensor, xs: Tensor) => around(row)(c, xs), tn.tensor(0.5), xs);
  return tn.add(last, tn.sum(tn.square(ys)));
}

/** The same as one loop. */
function flat(w: Tensor, xs: Tensor): Tensor {
  const step = (c: Tensor, x: Tensor) => [tn.tanh(tn.add(tn.mul(c, w), x)), c] as const;
  const [last, ys] = tn.scan(step, tn.tensor(0.5), tn.reshape(xs, [-1]));
  return tn.add(last, tn.sum(tn.square(ys)));
}

testOnEach("gradients of a loop of loops, of any order, are those of one loop", async (backend) => {
  await tn.use(backend);
  const w = tn.tensor(1.3), xs = tensorOf(f32([3, 4]), 1);
  const slopes = (f: typeof nested) => tn.grad((w: Tensor, xs: Tensor) => f(w, xs), { argnums: [0, 1] });
  const curve = (f: typeof nested) => tn.grad(tn.grad((w: Tensor) => f(w, xs)));
  const [dw, dxs] = slopes(flat)(w, xs), d2w = curve(flat)(w);
  const chunked = (w: Tensor, xs: Tensor) => nested(w, xs, tn.checkpoint as never);
  const mapped = (w: Tensor, xs: Tensor) =>
    tn.sum(tn.vmap((w: Tensor) => nested(w, xs))(tn.broadcastTo(tn.div(w, 1), [1])));
  for (const f of [nested, chunked, mapped]) {
    for (const gradient of [slopes(f), tn.compile(slopes(f))]) {
      const [a, b] = gradient(w, xs);
      await assertClose(a, dw);
      await assertClose(b, dxs);
    }
    for (const gradient of [curve(f), tn.compile(curve(f))]) await assertClose(gradient(w), d2w);
  }
});

testOnEach("a loop whose steps take the gradient of a loop", async (backend) => {
  await tn.use(backend);
  const xs = tensorOf(f32([3, 4]), 1);
  const inner = (w: Tensor, x: Tensor) => flat(w, x);
  const looped = (w: Tensor) =>
    tn.scan((w: Tensor, x: Tensor) => [tn.sub(w, tn.mul(tn.grad(inner)(w, x), 0.1)), null] as const, w, xs)[0];
  const unrolled = (w: Tensor) =>
    [0, 1, 2].reduce((w, i) => tn.sub(w, tn.mul(tn.grad(inner)(w, tn.slice(xs, i, i + 1)), 0.1)), w);
  const expected = tn.valueAndGrad(unrolled)(tn.tensor(1.3));
  for (const f of [tn.valueAndGrad(looped), tn.compile(tn.valueAndGrad(looped))]) {
    const found = f(tn.tensor(1.3));
    for (const i of [0, 1]) await assertClose(found[i], expected[i]);
  }
});

testOnEach("a loop over f16 is computed like one over f32, and rounded", async (backend) => {
  await tn.use(backend);
  const x = tensorOf(f32([5, 2, 3]), 1),
    params = [[3, 16], [4, 16], [16]].map((shape, i) => tn.mul(tensorOf(f32(shape), 2 + i), 0.3));
  const run = (dtype: "f32" | "f16") => {
    const [w, u, b, xs] = [...params, x].map((tensor) => tn.cast(tensor, dtype));
    const step = (h: Tensor, x: Tensor) => {
      const next = tn.tanh(tn.slice(tn.add(tn.add(tn.matmul(x, w), tn.matmul(h, u)), b), [0, 0], [2, 4]));
      return [next, next] as const;
    };
    const loss = (h: Tensor) => tn.sum(tn.square(tn.cast(tn.scan(step, h, xs)[1], "f32")));
    return tn.valueAndGrad(loss)(tn.zeros([2, 4], { dtype }));
  };
  const [value, slope] = run("f16"), [wide, wideSlope] = run("f32");
  assertEquals(slope.dtype, "f16");
  await assertClose(value, wide, 3e-3);
  await assertClose(tn.cast(slope, "f32"), wideSlope, 1e-2);
});

testOnEach("a loop of no steps returns what it was given", async (backend) => {
  await tn.use(backend);
  const loop = (c: Tensor, xs: Tensor) => tn.scan((c: Tensor, x: Tensor) => [tn.add(c, x), c] as const, c, xs);
  for (const f of [loop, tn.compile(loop)]) {
    const [c, ys] = f(tn.tensor([1, 2]), tn.zeros([0, 2]));
    assertEquals([await c.array(), ys.shape], [[1, 2], [0, 2]]);
  }
  const [c] = tn.scan((c: Tensor) => [tn.add(c, 1), null] as const, tn.tensor(1), null, { length: 0 });
  assertEquals(await c.item(), 1);
  assertEquals(await tn.sum(tn.ones([5])).item(), 5); // and left memory as it was
});

testOn("wasm", "checkpoint by chunks keeps the carries of chunks, not those of all steps", async () => {
  await tn.use("wasm");
  const w = tn.mul(tn.normal(tn.key(0), [32, 32]), 0.1), xs = tn.normal(tn.key(1), [16, 16, 4, 32]);
  const step = (h: Tensor, [x, w]: [Tensor, Tensor]) => tn.tanh(tn.add(tn.matmul(h, w), x));
  const chunk = (h: Tensor, xs: Tensor, w: Tensor) =>
    tn.scan((h: Tensor, x: Tensor) => [step(h, [x, w]), null] as const, h, xs)[0];
  const loss = (run: typeof chunk) => (w: Tensor, xs: Tensor) =>
    tn.sum(tn.scan((h: Tensor, xs: Tensor) => [run(h, xs, w), null] as const, tn.zeros([4, 32]), xs)[0]);
  const [plain, chunked] = [chunk, tn.checkpoint(chunk)].map((run) => tn.compile(tn.grad(loss(run))));
  await assertClose(chunked(w, xs), plain(w, xs), 1e-4);
  const [all, few] = [plain, chunked].map((f) => tn.inspect(f).arenaBytes);
  assert(few < 0.5 * all, `${few} bytes with chunks, ${all} without`);
});

Deno.test("scan says what it cannot do", async () => {
  await tn.use("cpu");
  const one = tn.tensor(1), xs = tn.ones([3]);
  for (const length of [-1, 1.5, NaN]) {
    assertThrows(
      () => tn.scan((c: Tensor) => [c, null] as const, one, null, { length }),
      tn.ArgumentError,
      `Cannot scan ${length} steps: it must be a whole number of at least 0`,
    );
  }
  // deno-lint-ignore no-explicit-any -- steps that the types refuse
  const scan = (f: (c: any, x: any) => unknown, init: unknown = one) => () => tn.scan(f as any, init, xs);
  assertThrows(scan((c) => c), tn.ArgumentError, "Cannot scan: a step must return [carry, y], it returned a tensor");
  assertThrows(scan((c) => [c, c, c]), tn.ArgumentError, "a step must return [carry, y], it returned 3 values");
  assertThrows(scan((c) => Promise.resolve([c, c])), tn.ArgumentError, "it returned a promise");
  assertThrows(scan(({ a }) => [{ b: a }, a], { a: one }), tn.ArgumentError, "a step returned");
  assertThrows(
    scan(({ n, s }) => [{ n: n + 1, s }, s], { n: 0, s: one }),
    tn.ArgumentError,
    "Cannot scan: leaf 0 of the carry is 0, a step returned 1; what changes must be a tensor",
  );
  assertThrows(
    scan((c) => [tn.cast(c, "i32"), c]),
    tn.DTypeError,
    "Cannot scan: leaf 0 of the carry is f32[], a step made it i32[]",
  );
});
