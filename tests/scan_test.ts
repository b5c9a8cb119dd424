/** The gradient of a loop: what it keeps, and what it moves out of the loop. @module */
import { assertEquals } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { difference } from "./compare.ts";
import { testOn, testOnEach } from "./devices.ts";

async function assertClose(actual: Tensor, expected: Tensor): Promise<void> {
  const problem = difference(await actual.data(), await expected.data(), { relative: 1e-5 });
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
