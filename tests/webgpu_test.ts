/** What only a GPU can get wrong: limits of dispatches and loops, packed halves, memory, and a device that goes. @module */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createWebgpu } from "../backends/webgpu/mod.ts";
import * as tn from "../mod.ts";
import { difference } from "./compare.ts";
import { testOn } from "./devices.ts";

/** Values in [-1, 1) that look random and are the same on every run. */
function noise(count: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Runs `f` on the GPU and on the oracle, and compares every output. */
async function agrees(f: () => tn.Tensor[], relative = 1e-5): Promise<void> {
  await tn.use("cpu");
  const expected = tn.scope(f);
  await tn.use("webgpu");
  const actual = tn.scope(f);
  for (const [i, tensor] of actual.entries()) {
    const problem = difference(await tensor.data(), await expected[i].data(), { relative });
    assertEquals(problem, null, `output ${i}, ${tensor}`);
    tensor.dispose();
    expected[i].dispose();
  }
}

const gpu = (name: string, f: () => Promise<void>) => testOn("webgpu", `webgpu: ${name}`, f);

gpu("maps over more than 65,535 workgroups", async () => {
  await tn.use("webgpu");
  const n = 65535 * 64 * 4 + 5;
  const ends = tn.scope(() => {
    const x = tn.add(tn.mod(tn.arange(n, { dtype: "i32" }), 1000), 1);
    return [tn.slice(x, 0, 3), tn.slice(x, n - 3), tn.sum(tn.equal(x, 1))];
  });
  assertEquals(await ends[0].array(), [1, 2, 3]);
  assertEquals(await ends[1].array(), [3, 2, 1].map((back) => (n - back) % 1000 + 1));
  assertEquals(await ends[2].item(), Math.ceil(n / 1000));
});

gpu("reduces rows, columns and everything, however long", async () => {
  const long = 70_001;
  await agrees(() => {
    const x = tn.tensor(noise(3 * long), { shape: [3, long] });
    const tall = tn.tensor(noise(4 * long, 2), { shape: [long, 4] });
    return [
      tn.max(x, { axis: 1 }),
      tn.sum(tn.abs(x), { axis: 1 }),
      tn.sum(tn.abs(tall), { axis: 0 }),
      tn.min(tall, { axis: 0 }),
      tn.sum(tn.square(x)),
      tn.softmax(x),
      tn.softmax(tall, { axis: 0 }),
      tn.variance(tall, { axis: 0 }),
      tn.argmax(x, { axis: 1 }),
      tn.argmin(tall, { axis: 0 }),
      tn.any(tn.greater(x, 0.99999), { axis: 1 }),
    ];
  });
  await tn.use("webgpu");
  const n = 5_000_001;
  assertEquals(await tn.sum(tn.ones([n])).item(), n);
  assertEquals(await tn.sum(tn.ones([n], { dtype: "i32" })).item(), n);
});

gpu("adds long running sums and many updates to few places", async () => {
  const n = 130_001;
  await agrees(() => {
    const x = tn.tensor(Int32Array.from(noise(n), (v) => v * 100));
    const places = tn.tensor(Int32Array.from(noise(n, 2), (v) => (v + 1) * 4));
    const zeros = tn.zeros([7], { dtype: "i32" });
    return [
      tn.cumulativeSum(x),
      tn.cumulativeSum(x, { exclusive: true, reverse: true }),
      tn.indexAdd(zeros, places, x),
      tn.scatterAdd(zeros, places, x),
    ];
  });
});

gpu("sorts long rows stably", async () => {
  const n = 3_000;
  await agrees(() => {
    const x = tn.tensor(noise(2 * n).map((v) => v > 0.9 ? NaN : Math.round(v * 50)), { shape: [2, n] });
    return [
      tn.argsort(x),
      tn.argsort(x, { descending: true }),
      tn.argsort(tn.transpose(x), { axis: 0 }),
      tn.argsort(tn.cast(tn.slice(x, 0, 300, { axis: 1 }), "i32"), { descending: true }),
    ];
  }, 0);
});

gpu("multiplies along a k longer than a loop may be", async () => {
  await agrees(() => {
    const a = tn.tensor(noise(3 * 300_001), { shape: [3, 300_001] });
    const b = tn.tensor(noise(2 * 300_001, 2), { shape: [2, 300_001] });
    return [tn.matmul(a, b, { transposeB: true })];
  }, 1e-4);
});

gpu("multiplies operands of every size and view, read from images where that is faster", async () => {
  await agrees(() => {
    const a = tn.tensor(noise(3 * 132 * 260), { shape: [3, 132, 260] });
    const b = tn.tensor(noise(3 * 260 * 100, 2), { shape: [3, 260, 100] });
    const wide = tn.tensor(noise(300 * 404, 3), { shape: [300, 404] });
    const tall = tn.tensor(noise(404 * 71, 4), { shape: [404, 71] });
    const [left, right] = [tn.slice(wide, 4, 132, { axis: 1 }), tn.slice(wide, 136, 400, { axis: 1 })];
    return [
      tn.matmul(a, b),
      tn.relu(tn.add(tn.matmul(wide, tall), 1)),
      tn.matmul(tall, wide, { transposeA: true, transposeB: true }),
      tn.matmul(left, right, { transposeA: true }),
      tn.matmul(left, left, { transposeB: true }),
    ];
  });
  const product = tn.compile((x: tn.Tensor) => tn.matmul(tn.relu(tn.matmul(x, x)), x, { transposeB: true }));
  for (const n of [160, 516, 132]) {
    await agrees(() => {
      const x = tn.tensor(noise(n * n), { shape: [n, n] });
      return [product(x), tn.scan((w: tn.Tensor) => [tn.mul(tn.matmul(w, x), 0.1), null], x, null, { length: 3 })[0]];
    });
  }
});

gpu("attends over many rows, with every kind of mask, and back", async () => {
  const [T, S, D, E] = [101, 119, 12, 20];
  const bools = (count: number) => noise(count, 7).map((x) => Number(x > -0.5));
  const options: (() => tn.AttentionOptions)[] = [
    () => ({ causal: true }),
    () => ({ mask: tn.cast(tn.tensor(bools(T * S), { shape: [T, S] }), "bool") }),
    () => ({ mask: tn.tensor(noise(2 * T * S, 8), { shape: [2, 1, T, S] }), scale: 0.5 }),
  ];
  for (const option of options) {
    await agrees(() => {
      const q = tn.tensor(noise(2 * 4 * T * D, 1), { shape: [2, 4, T, D] });
      const k = tn.tensor(noise(2 * 4 * S * D, 2), { shape: [2, 4, S, D] });
      const v = tn.tensor(noise(2 * 4 * S * E, 3), { shape: [2, 4, S, E] });
      const dy = tn.tensor(noise(2 * 4 * T * E, 4), { shape: [2, 4, T, E] });
      const attend = (q: tn.Tensor, k: tn.Tensor, v: tn.Tensor) => tn.attention(q, k, v, option());
      const [y, back] = tn.vjp(attend, [q, k, v]);
      return [y, ...back(dy)];
    });
  }
});

gpu("normalizes many rows of many terms", async () => {
  const shape = [132, 260];
  const rows = (count: number) => Array.from({ length: count }, (_, i) => tn.tensor(noise(132 * 260, i), { shape }));
  const total = (terms: tn.Tensor[]) => terms.reduce((sum, term) => tn.add(sum, term));
  const normalize = tn.compile((terms: tn.Tensor[]) => [tn.softmax(total(terms)), tn.layerNorm(total(terms))]);
  for (const count of [1, 3, 6]) await agrees(() => normalize(rows(count))); // 6: more than a kernel may see images of
});

gpu("convolves many channels, and back", async () => {
  const options: tn.ConvOptions[] = [{ padding: 1 }, { stride: 2, padding: [[1, 2], [0, 1]], groups: 2 }, {
    dilation: 2,
  }];
  for (const option of options) {
    await agrees(() => {
      const x = tn.tensor(noise(3 * 34 * 15 * 17), { shape: [3, 34, 15, 17] });
      const w = tn.tensor(noise(38 * 34 * 9, 2), { shape: [38, 34, 3, 3] });
      const filters = option.groups ? tn.slice(w, [0, 0], [null, 17]) : w;
      const [y, back] = tn.vjp((x: tn.Tensor, w: tn.Tensor) => tn.conv(x, w, option), [x, filters]);
      return [y, ...back(tn.tensor(noise(y.size, 3), { shape: y.shape }))];
    });
  }
});

/** A product of f16 on an adapter with the option, and what every element may be off by. */
async function halfProduct(m: number, n: number, k: number): Promise<{ actual: Float32Array; exact: Float64Array }> {
  const a = noise(m * k), b = noise(k * n, 2);
  const [left, right] = [tn.tensor(a, { shape: [m, k], dtype: "f16" }), tn.tensor(b, { shape: [k, n], dtype: "f16" })];
  const [x, y] = [await tn.cast(left, "f32").data(), await tn.cast(right, "f32").data()];
  const exact = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      for (let j = 0; j < n; j++) exact[i * n + j] += Number(x[i * k + p]) * Number(y[p * n + j]);
    }
  }
  return { actual: await tn.cast(tn.matmul(left, right), "f32").data() as Float32Array, exact };
}

gpu("multiplies f16 in f16 where it is asked to", async () => {
  const rounded = [[1 + 2 ** -10, -1, 0, 0]], other = [[1 + 2 ** -10], [1 + 2 ** -9], [0], [0]];
  const product = () => tn.matmul(tn.tensor(rounded, { dtype: "f16" }), tn.tensor(other, { dtype: "f16" }));
  await tn.use("webgpu");
  assertEquals(await product().item(), 2 ** -20);
  tn.registerBackend("halves", async () => ({ ...await createWebgpu({ f16Arithmetic: true }), name: "halves" }));
  await tn.use("halves");
  assertEquals(await product().item(), 0); // the first product is rounded to 1 + 2^-9
  for (const [m, n, k] of [[9, 21, 40], [33, 70, 260], [5, 3, 7], [130, 131, 132]]) {
    const { actual, exact } = await halfProduct(m, n, k);
    const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - exact[i])), 0);
    assert(worst < k * 2 ** -11, `[${m}, ${k}] by [${k}, ${n}] is off by ${worst}`);
  }
});

gpu("refuses to compute in f16 on an adapter that cannot", async () => {
  const { gpu } = navigator, { requestAdapter } = gpu;
  const adapter = (await gpu.requestAdapter())!;
  const without = { info: { description: "old" }, limits: adapter.limits, features: new Set() };
  try {
    Object.defineProperty(gpu, "requestAdapter", { value: () => Promise.resolve(without), configurable: true });
    await assertRejects(
      () => createWebgpu({ f16Arithmetic: true }),
      tn.BackendError,
      "Cannot compute in f16 on webgpu: old has no shader-f16",
    );
  } finally {
    Object.defineProperty(gpu, "requestAdapter", { value: requestAdapter, configurable: true });
  }
});

gpu("packs halves without touching their neighbours", async () => {
  await agrees(() => {
    const half = (count: number, seed: number) => tn.cast(tn.tensor(noise(count, seed)), "f16");
    const [a, b, c] = [half(5, 1), half(3, 2), half(7, 3)];
    const square = tn.reshape(half(35, 4), [5, 7]);
    return [
      tn.concat([a, b, c]),
      tn.flip(c),
      tn.transpose(square),
      tn.sum(square, { axis: 1 }),
      tn.slice(tn.concat([c, a, b]), 1, 14, { step: 3 }),
      tn.softmax(square),
      tn.pad(square, 1),
      tn.matmul(square, tn.transpose(square)),
    ].map((x) => tn.cast(x, "f32"));
  }, 2e-3);
});

gpu("makes infinities and NaNs, and tells them apart", async () => {
  await agrees(() => {
    const x = tn.tensor([0, -0, 1, -1, Infinity, -Infinity, NaN, 3e38, -3e38, 1e-40]);
    const unary = [tn.exp, tn.log, tn.tanh, tn.sigmoid, tn.erf, tn.sqrt, tn.reciprocal, tn.isNaN, tn.isFinite, tn.neg];
    const grid = tn.reshape(x, [10, 1]);
    return [
      ...unary.map((f) => f(x)),
      tn.pow(grid, x),
      tn.max(grid, x),
      tn.less(grid, x),
      tn.not(tn.less(grid, x)),
      tn.notEqual(grid, x),
      tn.mul(x, Infinity),
      tn.max(x),
      tn.cast(x, "i32"),
      tn.cast(x, "bool"),
    ];
  }, 1e-6);
});

gpu("scans over slices of odd size, nested", async () => {
  await agrees(() => {
    const xs = tn.tensor(noise(50 * 3 * 5), { shape: [50, 3, 5] });
    const run = tn.compile((xs: tn.Tensor) => {
      const inner = (carry: tn.Tensor, row: tn.Tensor) => {
        const next = tn.tanh(tn.add(tn.mul(carry, 0.5), row));
        return [next, tn.mul(next, 2)] as const;
      };
      const outer = (carry: tn.Tensor, block: tn.Tensor) => {
        const [last, ys] = tn.scan(inner, carry, block);
        return [last, ys] as const;
      };
      const [last, ys] = tn.scan(outer, tn.zeros([5]), xs);
      return [last as tn.Tensor, ys as tn.Tensor];
    });
    return run(xs) as tn.Tensor[];
  });
});

gpu("writes nothing over what is still to be computed with", async () => {
  await tn.use("webgpu");
  for (let i = 0; i < 20; i++) {
    const a = tn.tensor(noise(100, i));
    const b = tn.add(a, 1);
    a.dispose();
    const c = tn.tensor(noise(100, i + 100));
    assertEquals(difference(await b.data(), noise(100, i).map((v) => v + 1), { relative: 1e-6 }), null);
    for (const tensor of [b, c]) tensor.dispose();
  }
});

gpu("computes the same bits on every run", async () => {
  await tn.use("webgpu");
  const once = () =>
    tn.scope(() => {
      const x = tn.tensor(noise(300 * 700), { shape: [300, 700] });
      return tn.sum(tn.softmax(tn.matmul(x, x, { transposeB: true })), { axis: 0 });
    }).data();
  assertEquals(await once(), await once());
});

gpu("refuses what is larger than the device allows", async () => {
  await tn.use("webgpu");
  assertThrows(() => tn.zeros([2 ** 31]), tn.BackendError, "on webgpu: it writes 8589934592 bytes, ");
  const x = tn.tensor([1, 2]), n = 2 ** 14;
  const between = tn.compile((x: tn.Tensor) => tn.sum(tn.cumulativeSum(tn.broadcastTo(tn.slice(x, 0, 1), [n, n]))));
  assertThrows(() => between(x), tn.BackendError, `on webgpu: it writes ${4 * n * n} bytes, `);
  assertEquals(await x.array(), [1, 2]); // and nothing else is wrong
});

gpu("says that the device is lost, and never waits for it", async () => {
  let mortal: Awaited<ReturnType<typeof createWebgpu>> | undefined;
  tn.registerBackend("mortal", async () => mortal = { ...await createWebgpu(), name: "mortal" });
  await tn.use("mortal");
  const x = tn.add(tn.tensor([1, 2]), 1);
  assertEquals(await x.array(), [2, 3]);
  const pending = x.data();
  mortal!.destroy();
  await pending.catch((error) => assert(error instanceof tn.DeviceLostError, String(error)));
  await assertRejects(() => x.data(), tn.DeviceLostError, "Cannot use the GPU any more: the device was lost");
  assertThrows(() => tn.add(x, 1), tn.DeviceLostError);
  assertThrows(() => tn.tensor([1]), tn.DeviceLostError);

  await tn.use("mortal"); // another device
  assertEquals(await tn.add(tn.tensor([1, 2]), 1).array(), [2, 3]);
  await assertRejects(() => x.data(), tn.DeviceLostError);
  mortal!.destroy();
  await tn.use("webgpu");
});
