/** Gradients of any order, forward mode, and rules of one's own. @module */
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { f32, fromValues, tensorOf } from "./cases/case.ts";
import { difference } from "./compare.ts";
import { testOnEach } from "./devices.ts";

async function assertClose(actual: Tensor, expected: Tensor | readonly number[], relative = 1e-5): Promise<void> {
  const wanted = expected instanceof tn.Tensor ? await expected.data() : expected;
  const problem = difference(await actual.data(), wanted, { relative });
  if (problem) throw new Error(problem);
}

const cube = (x: Tensor) => tn.mul(x, tn.mul(x, x));

testOnEach("the third derivative of x³ is 6, the fourth 0", async (backend) => {
  await tn.use(backend);
  const third = tn.grad(tn.grad(tn.grad(cube)));
  assertEquals(await third(tn.tensor(2)).item(), 6);
  assertEquals(await tn.grad(third)(tn.tensor(2)).item(), 0);
});

testOnEach("the third derivative of a composite", async (backend) => {
  await tn.use(backend);
  const third = tn.grad(tn.grad(tn.grad((x: Tensor) => tn.sum(tn.softplus(x)))));
  // softplus''' = s(1-s)(1-2s)
  const s = 1 / (1 + Math.exp(-0.7));
  assertAlmostEquals(await third(tn.tensor(0.7)).item(), s * (1 - s) * (1 - 2 * s), 1e-6);
});

/** H·v two ways: reverse over reverse, and forward over reverse. */
async function hessianVector(loss: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Promise<[Tensor, Tensor]> {
  const gradient = tn.grad(loss);
  const reverse = tn.grad((x: Tensor) => tn.sum(tn.mul(gradient(x), v)))(x);
  const [, forward] = tn.jvp(gradient, [x], [v]);
  await forward.data();
  return [reverse, forward];
}

testOnEach("Hessian-vector product through conv and attention", async (backend) => {
  const run = async (name: string) => {
    await tn.use(name);
    const w = tensorOf(f32([4, 2, 3, 2]), 1);
    const loss = (x: Tensor) => {
      const features = tn.tanh(tn.conv(x, w, { stride: [1, 2], padding: [1, 0] })); // [3, 4, 5, 3]
      const tokens = tn.reshape(tn.transpose(features, [0, 2, 3, 1]), [3, 15, 4]);
      return tn.sum(tn.square(tn.attention(tokens, tokens, tokens, { causal: true })));
    };
    return hessianVector(loss, tensorOf(f32([3, 2, 5, 6]), 2), tensorOf(f32([3, 2, 5, 6]), 3));
  };
  const [expected] = (await run("cpu")).map((t) => t.data());
  const [reverse, forward] = await run(backend);
  await assertClose(reverse, Array.from(await expected), 2e-5);
  await assertClose(forward, reverse, 2e-5);
});

testOnEach("jvp is the directional derivative", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([0.3, -0.7, 1.1]), v = tn.tensor([1, 2, -0.5]);
  const [y, dy] = tn.jvp((x: Tensor) => tn.mul(tn.sin(x), x), [x], [v]);
  await assertClose(y, [0.3, -0.7, 1.1].map((a) => Math.sin(a) * a));
  await assertClose(dy, [[0.3, 1], [-0.7, 2], [1.1, -0.5]].map(([a, b]) => (Math.cos(a) * a + Math.sin(a)) * b));
});

testOnEach("jvp of trees", async (backend) => {
  await tn.use(backend);
  const f = ({ a, b }: { a: Tensor; b: Tensor }) => ({ product: tn.mul(a, b), sum: tn.add(a, b) });
  const point = { a: tn.tensor([2]), b: tn.tensor([3]) }, along = { a: tn.tensor([1]), b: tn.tensor([10]) };
  const [, tangent] = tn.jvp(f, [point], [along]);
  assertEquals(await tangent.product.array(), [23]);
  assertEquals(await tangent.sum.array(), [11]);
});

Deno.test("perturbation confusion: an inner gradient does not see the outer variable", async () => {
  await tn.use("cpu");
  // d/dx [x · d/dy (x + y)] = d/dx [x · 1] = 1 (Siskind and Pearlmutter 2005); a confused tape answers 2
  const f = (x: Tensor) => tn.mul(x, tn.grad((y: Tensor) => tn.add(x, y))(tn.tensor(1)));
  assertEquals(await tn.grad(f)(tn.tensor(1)).item(), 1);
  // d/dx [x · d/dy (x·y)] = d/dx [x²] = 2x
  const g = (x: Tensor) => tn.mul(x, tn.grad((y: Tensor) => tn.mul(x, y))(tn.tensor(5)));
  assertEquals(await tn.grad(g)(tn.tensor(3)).item(), 6);
  // the same tensor inside and outside: d/dx [x · d/dx x³] = d/dx [3x³] = 9x²
  const h = (x: Tensor) => tn.mul(x, tn.grad(cube)(x));
  assertEquals(await tn.grad(h)(tn.tensor(2)).item(), 36);
});

Deno.test("jvp inside grad and grad inside jvp", async () => {
  await tn.use("cpu");
  const slope = (x: Tensor) => tn.jvp(cube, [x], [tn.onesLike(x)])[1]; // 3x²
  assertEquals(await tn.grad((x: Tensor) => tn.sum(slope(x)))(tn.tensor(2)).item(), 12);
  assertEquals(await tn.jvp(tn.grad(cube), [tn.tensor(2)], [tn.tensor(1)])[1].item(), 12);
});

Deno.test("argnums: one argument, or several", async () => {
  await tn.use("cpu");
  const f = (a: Tensor, b: { w: Tensor }, scale: number) => tn.sum(tn.mul(tn.mul(a, b.w), scale));
  const a = tn.tensor([1, 2]), b = { w: tn.tensor([3, 4]) };
  assertEquals(await tn.grad(f)(a, b, 10).array(), [30, 40]);
  assertEquals(await tn.grad(f, { argnums: 1 })(a, b, 10).w.array(), [10, 20]);
  const [da, db] = tn.grad(f, { argnums: [0, 1] })(a, b, 2);
  assertEquals([await da.array(), await db.w.array()], [[6, 8], [2, 4]]);
  assertThrows(() => tn.grad(f, { argnums: 7 })(a, b, 1), Error, "Cannot differentiate argument 7: the function got 3");
});

Deno.test("hasAux passes what the function returns besides the loss", async () => {
  await tn.use("cpu");
  const f = (x: Tensor) => [tn.sum(tn.square(x)), { doubled: tn.mul(x, 2), note: "kept" }] as const;
  const [[loss, aux], grads] = tn.valueAndGrad(f, { hasAux: true })(tn.tensor([3]));
  assertEquals([await loss.item(), await aux.doubled.item(), aux.note, await grads.item()], [9, 6, "kept", 6]);
  const [again, kept] = tn.grad(f, { hasAux: true })(tn.tensor([3]));
  assertEquals([await again.item(), await kept.doubled.item()], [6, 6]);
});

Deno.test("trees with null, arrays and a tensor that is not used", async () => {
  await tn.use("cpu");
  const params = { layers: [tn.tensor([1, 2]), null, tn.tensor([3])], unused: tn.tensor([[5]]) };
  const grads = tn.grad((p: typeof params) => tn.sum(tn.square(p.layers[0]!)))(params);
  assertEquals(await grads.layers[0]!.array(), [2, 4]);
  assertEquals(grads.layers[1], null);
  assertEquals([await grads.layers[2]!.array(), await grads.unused.array()], [[0], [[0]]]);
});

Deno.test("the same tensor in two places gets one gradient in each", async () => {
  await tn.use("cpu");
  const x = tn.tensor([2]);
  const [a, b] = tn.grad((a: Tensor, b: Tensor) => tn.sum(tn.mul(a, cube(b))), { argnums: [0, 1] })(x, x);
  assertEquals([await a.item(), await b.item()], [8, 24]);
});

Deno.test("vjp pulls back outputs of any tree, as often as asked", async () => {
  await tn.use("cpu");
  const [out, back] = tn.vjp((x: Tensor) => ({ a: tn.mul(x, 2), b: tn.square(x) }), [tn.tensor([3])]);
  assertEquals([await out.a.item(), await out.b.item()], [6, 9]);
  const pull = (a: number, b: number) => back({ a: tn.tensor([a]), b: tn.tensor([b]) })[0].item();
  assertEquals([await pull(1, 0), await pull(0, 1), await pull(10, 10)], [2, 6, 80]);
});

Deno.test("customVjp replaces the gradient, also under another gradient", async () => {
  await tn.use("cpu");
  const square = tn.customVjp((x: Tensor) => tn.square(x), {
    forward: (x) => [tn.square(x), x],
    backward: (x, dy) => [tn.mul(dy, tn.mul(x, 20))], // ten times the truth
  });
  const x = tn.tensor([1, 2]);
  assertEquals(await square(x).array(), [1, 4]);
  assertEquals(await tn.grad((x: Tensor) => tn.sum(square(x)))(x).array(), [20, 40]);
  const second = tn.grad((x: Tensor) => tn.sum(tn.grad((x: Tensor) => tn.sum(square(x)))(x)));
  assertEquals(await second(x).array(), [20, 20]);
});

/** Rounds; its gradient is that of the identity. */
const straightThrough = tn.customVjp((x: Tensor) => tn.round(x), {
  forward: (x) => [tn.round(x), null],
  backward: (_, dy) => [dy],
});

testOnEach("customVjp keeps its rule inside scan, vmap and compile", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([0.4, 0.6]);
  const loop = (x: Tensor) =>
    tn.scan((c: Tensor, y: Tensor) => [tn.add(c, straightThrough(y)), c] as const, tn.tensor(0), x)[0];
  const all = (x: Tensor) => tn.sum(tn.vmap(straightThrough)(x));
  for (const f of [loop, all]) {
    for (const slope of [tn.grad(f), tn.compile(tn.grad(f)), tn.grad(tn.compile(f))]) {
      assertEquals(await slope(x).array(), [1, 1]);
    }
  }
});

testOnEach("stopGradient stays constant inside scan, vmap and compile", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([1, 2, 3]), half = (x: Tensor) => tn.mul(tn.stopGradient(x), x);
  const loop = (x: Tensor) => tn.scan((c: Tensor, y: Tensor) => [tn.add(c, half(y)), c] as const, tn.tensor(0), x)[0];
  for (const f of [loop, (x: Tensor) => tn.sum(tn.vmap(half)(x)), (x: Tensor) => tn.sum(tn.checkpoint(half)(x))]) {
    for (const slope of [tn.grad(f), tn.compile(tn.grad(f)), tn.grad(tn.compile(f))]) {
      assertEquals(await slope(x).array(), [1, 2, 3]);
    }
  }
});

testOnEach("checkpoints inside checkpoints give gradients of what they close over", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([1, 2, 3]), w = tn.tensor([4, 5, 6]);
  const product = tn.compile((y: Tensor, w: Tensor) => tn.mul(y, w));
  const bodies = [
    (w: Tensor) => tn.checkpoint((x: Tensor) => tn.checkpoint((y: Tensor) => tn.mul(y, w))(x)),
    (w: Tensor) => tn.checkpoint((x: Tensor) => product(x, w)),
    (w: Tensor) => tn.checkpoint((x: Tensor) => tn.compile((y: Tensor) => tn.mul(y, w))(x)),
  ];
  for (const body of bodies) {
    const f = (w: Tensor) => tn.sum(body(w)(x));
    for (const slope of [tn.grad(f), tn.compile(tn.grad(f))]) assertEquals(await slope(w).array(), [1, 2, 3]);
  }
});

testOnEach(
  "rules count every gradient once: outputs that are arguments, twice the same, or closed over",
  async (backend) => {
    await tn.use(backend);
    const x = tn.tensor([1, 2]), sum = (x: Tensor) => tn.sum(x);
    const reverse = tn.customVjp((x: Tensor) => x, { forward: (x) => [x, null], backward: (_, dy) => [tn.neg(dy)] });
    const twice = tn.checkpoint((x: Tensor) => {
      const y = tn.square(x);
      return [y, y];
    });
    const handedOn = tn.checkpoint((x: Tensor) => [tn.square(x), x]);
    const programs: [(x: Tensor) => Tensor, number[]][] = [
      [(x) => sum(reverse(x)), [-1, -1]],
      [(x) => sum(tn.add(reverse(x), x)), [0, 0]],
      [(x) => sum(tn.mul(twice(x)[0], 3)), [6, 12]],
      [(x) => sum(tn.add(twice(x)[0], twice(x)[1])), [4, 8]],
      [(x) => sum(tn.add(...handedOn(x) as [Tensor, Tensor])), [3, 5]],
      [(x) => sum(tn.checkpoint((y: Tensor) => tn.mul(y, tn.square(x)))(x)), [3, 12]], // closed over, and the argument
      [(x) => {
        const s = tn.square(x);
        return sum(tn.mul(x, tn.checkpoint((_: Tensor) => s)(x)));
      }, [3, 12]],
    ];
    for (const [f, expected] of programs) {
      for (const slope of [tn.grad(f), tn.compile(tn.grad(f)), tn.grad(tn.compile(f))]) {
        assertEquals(await slope(x).array(), expected, String(f));
      }
    }
  },
);

testOnEach("the gradient of a custom gradient sees how its residuals came about", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([1, 2]);
  const cube = tn.customVjp((x: Tensor) => tn.mul(x, tn.square(x)), {
    forward: (x) => [tn.mul(x, tn.square(x)), tn.square(x)],
    backward: (square, dy) => [tn.mul(dy, tn.mul(square, 3))],
  });
  const slope = (x: Tensor) => tn.sum(tn.grad((x: Tensor) => tn.sum(cube(x)))(x));
  const along = (x: Tensor) => tn.sum(tn.jvp(cube, [x], [tn.onesLike(x)])[1]);
  for (const f of [slope, along]) {
    for (const second of [tn.grad(f), tn.compile(tn.grad(f))]) assertEquals(await second(x).array(), [6, 12]);
  }
});

testOnEach("customVjp closes over what its loop has computed", async (backend) => {
  await tn.use(backend);
  const step = (sum: Tensor, y: Tensor) => {
    const k = tn.mul(y, 3);
    // residuals of any nesting, a gradient ten times too large for one argument and none for the other
    const scaled = tn.customVjp((z: Tensor, { w }: { w: Tensor }) => tn.mul(tn.mul(z, k), w), {
      forward: (z, { w }) => [tn.mul(tn.mul(z, k), w), { tenfold: tn.mul(k, 10), note: "residual" }],
      backward: ({ tenfold }, dy) => [tn.mul(dy, tenfold), null],
    });
    return [tn.add(sum, scaled(y, { w: sum })), sum] as const;
  };
  const loop = (x: Tensor) => tn.scan(step, tn.tensor(1), x)[0];
  const x = tn.tensor([1, 2]);
  assertEquals(await loop(x).item(), 1 + 3 + 12 * 4);
  for (const slope of [tn.grad(loop), tn.compile(tn.grad(loop))]) assertEquals(await slope(x).array(), [30, 60]);
});

testOnEach("a composite's body may close over tensors, in a loop and for every example", async (backend) => {
  await tn.use(backend);
  const scaleOp: tn.Op<1, null> = {
    name: "scaleForTest",
    infer: ([x]) => x,
    body: ([x]) => tn.mul(x, tn.tensor([5, 7])),
  };
  const scale = (x: Tensor) => tn.bind(scaleOp, [x], null);
  const loop = (x: Tensor) => tn.scan((c: Tensor, y: Tensor) => [tn.add(c, scale(y)), c] as const, tn.zeros([2]), x)[0];
  const x = tn.tensor([[1, 2], [3, 4], [5, 6]]);
  for (const f of [loop, tn.compile(loop)]) assertEquals(await f(x).array(), [45, 84]);
  const slope = tn.grad((x: Tensor) => tn.sum(loop(x)));
  for (const f of [slope, tn.compile(slope)]) assertEquals(await f(x).array(), [[5, 7], [5, 7], [5, 7]]);
  assertEquals(await tn.vmap(scale)(x).array(), [[5, 14], [15, 28], [25, 42]]);
});

Deno.test("customVjp wants one gradient for each tensor, of its shape", async () => {
  await tn.use("cpu");
  const withGradient = (gradient: (dy: Tensor) => unknown) => (x: Tensor) => {
    const f = tn.customVjp(({ a, b }: { a: Tensor; b: Tensor }) => tn.mul(a, b), {
      forward: ({ a, b }) => [tn.mul(a, b), null],
      backward: (_, dy) => [gradient(dy)],
    });
    return tn.sum(f({ a: x, b: x }));
  };
  const x = tn.ones([2]);
  assertThrows(
    () => tn.grad(withGradient((dy) => ({ a: dy })))(x),
    tn.ArgumentError,
    "Cannot use 1 gradients for argument 0 of a customVjp: it holds 2 tensors",
  );
  assertThrows(
    () => tn.grad(withGradient((dy) => ({ a: dy, b: tn.sum(dy) })))(x),
    tn.ShapeError,
    "Cannot use a gradient [] for argument 0 of a customVjp: it is [2]",
  );
});

Deno.test("customVjp with trees, several arguments and null", async () => {
  await tn.use("cpu");
  const scaled = tn.customVjp((p: { w: Tensor }, x: Tensor) => tn.mul(p.w, x), {
    forward: (p, x) => [tn.mul(p.w, x), { w: p.w, x }],
    backward: ({ x }, dy) => [{ w: tn.mul(dy, x) }, null],
  });
  const f = (p: { w: Tensor }, x: Tensor) => tn.sum(scaled(p, x));
  const [dp, dx] = tn.grad(f, { argnums: [0, 1] })({ w: tn.tensor([2]) }, tn.tensor([5]));
  assertEquals([await dp.w.array(), await dx.array()], [[5], [0]]);
});

testOnEach("checkpoint: the same gradients, also of what is closed over and of higher order", async (backend) => {
  await tn.use(backend);
  const w = tn.tensor([[0.5, -0.3], [0.8, 0.1]]), x = tn.tensor([[1, 2]]);
  const layer = (x: Tensor, w: Tensor) => tn.tanh(tn.matmul(x, w));
  const loss = (wrap: typeof tn.checkpoint) => (w: Tensor) => {
    const block = wrap((x: Tensor) => layer(layer(x, w), w));
    return tn.sum(tn.square(block(block(x))));
  };
  const plain = loss(<A extends unknown[], R>(f: (...args: A) => R) => f);
  await assertClose(tn.grad(loss(tn.checkpoint))(w), tn.grad(plain)(w));
  const second = (f: (w: Tensor) => Tensor) => tn.grad((w: Tensor) => tn.sum(tn.square(tn.grad(f)(w))))(w);
  await assertClose(second(loss(tn.checkpoint)), second(plain));
});

Deno.test("stopGradient is constant to gradients of every order and to trees", async () => {
  await tn.use("cpu");
  const f = (x: Tensor) => tn.sum(tn.mul(x, tn.stopGradient(tn.square(x)))); // as if x²'s factor were a constant
  assertEquals(await tn.grad(f)(tn.tensor([3])).item(), 9);
  assertEquals(await tn.grad((x: Tensor) => tn.sum(tn.grad(f)(x)))(tn.tensor([3])).item(), 0);
  const { a, note } = tn.stopGradient({ a: tn.tensor([1]), note: "x" });
  assertEquals([await a.item(), note], [1, "x"]);
});

testOnEach("scan: a running sum of products, and its gradient", async (backend) => {
  await tn.use(backend);
  const xs = tn.tensor([0.5, 2, -1, 3]);
  const step = (carry: Tensor, x: Tensor) => {
    const next = tn.add(tn.mul(carry, x), 1);
    return [next, tn.square(next)] as const;
  };
  const [last, ys] = tn.scan(step, tn.tensor(1), xs);
  // 1·0.5+1 = 1.5, 1.5·2+1 = 4, 4·-1+1 = -3, -3·3+1 = -8
  assertEquals(await last.item(), -8);
  assertEquals(await ys.array(), [2.25, 16, 9, 64]);
  const byHand = (xs: Tensor) => {
    let carry = tn.tensor(1), total = tn.tensor(0);
    for (let t = 0; t < 4; t++) {
      const [next, y] = step(carry, tn.reshape(tn.slice(xs, t, t + 1), []));
      [carry, total] = [next, tn.add(total, y)];
    }
    return total;
  };
  const scanned = (xs: Tensor) => tn.sum(tn.scan(step, tn.tensor(1), xs)[1]);
  await assertClose(tn.grad(scanned)(xs), tn.grad(byHand)(xs));
});

Deno.test("a gradient of something that is no scalar, no float or no tensor is refused", async () => {
  await tn.use("cpu");
  assertThrows(
    () => tn.grad((x: Tensor) => x)(tn.tensor([1, 2])),
    Error,
    "Cannot differentiate an output of shape [2]: it must be a scalar",
  );
  assertThrows(
    () => tn.grad((x: Tensor) => tn.sum(x))(tn.tensor([1], { dtype: "i32" })),
    Error,
    "Cannot differentiate with respect to i32[1]: only f32 and f16 have gradients",
  );
  assertThrows(
    () => tn.grad((() => 3) as unknown as (x: Tensor) => Tensor)(tn.tensor(1)),
    Error,
    "Cannot differentiate a function that returns number: it must return a tensor",
  );
  assertThrows(
    () => tn.tensor([1, 2]).item(),
    Error,
    "Cannot take the item of a tensor of shape [2]: it holds 2",
  );
});

Deno.test("gradients through a non-differentiable step are zero, not an error", async () => {
  await tn.use("cpu");
  assertEquals(await tn.grad((x: Tensor) => tn.sum(tn.round(x)))(tn.tensor([0.3, 1.6])).array(), [0, 0]);
  const picked = (x: Tensor) => tn.sum(tn.gather(x, tn.argmax(x)));
  assertEquals(await tn.grad(picked)(tn.tensor([1, 5, 2])).array(), [0, 1, 0]);
});

Deno.test("f16: gradients arrive in f16", async () => {
  await tn.use("cpu");
  const x = fromValues([1, 2, 3], { shape: [3], dtype: "f16" });
  const dx = tn.grad((x: Tensor) => tn.sum(tn.cast(tn.square(x), "f32")))(x);
  assertEquals([dx.dtype, await dx.array()], ["f16", [2, 4, 6]]);
});
