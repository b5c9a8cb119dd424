/** Who frees what: scopes, `using`, the collector, and the debugging aids. @module */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { testOn, testOnEach } from "./devices.ts";

/** Live tensors that `f` leaves behind. */
function left(f: () => void): number {
  const before = tn.memory().tensors;
  f();
  return tn.memory().tensors - before;
}

Deno.test("scope frees all but what it returns, in any tree", async () => {
  await tn.use("cpu");
  let kept: { a: Tensor; list: Tensor[] } | undefined;
  assertEquals(
    left(() =>
      kept = tn.scope(() => {
        const x = tn.tensor([1, 2]);
        return { a: tn.mul(x, 2), list: [tn.add(x, 1)] };
      })
    ),
    2,
  );
  assertEquals([await kept!.a.array(), await kept!.list[0].array()], [[2, 4], [2, 3]]);
  kept!.a.dispose();
  kept!.list[0].dispose();
});

Deno.test("scopes nest: what an inner one returns belongs to the outer one", async () => {
  await tn.use("cpu");
  assertEquals(left(() => tn.scope(() => void tn.scope(() => tn.ones([3])))), 0);
  assertEquals(left(() => tn.scope(() => void tn.ones([3]))), 0);
});

Deno.test("scope frees when its function throws", async () => {
  await tn.use("cpu");
  assertEquals(
    left(() =>
      assertThrows(() =>
        tn.scope(() => {
          tn.ones([3]);
          throw new Error("stop");
        })
      )
    ),
    0,
  );
});

Deno.test("scope refuses an async function", async () => {
  await tn.use("cpu");
  assertThrows(
    () => tn.scope(() => Promise.resolve(tn.ones([3]))),
    Error,
    "Cannot scope an async function: it returns before its tensors are done, await outside",
  );
});

Deno.test("using frees at the block's end, dispose once is enough", async () => {
  await tn.use("cpu");
  assertEquals(
    left(() => {
      using x = tn.ones([3]);
      using y = tn.mul(x, 2);
      y.dispose();
      y.dispose();
    }),
    0,
  );
});

Deno.test("a disposed tensor says so", async () => {
  await tn.use("cpu");
  const x = tn.ones([2, 3]);
  x.dispose();
  assertThrows(() => tn.neg(x), Error, "Cannot use a disposed tensor of shape [2,3]");
  assertThrows(() => x.data(), Error, "Cannot use a disposed tensor of shape [2,3]");
});

Deno.test("tensors that differ only in shape share memory until the last is freed", async () => {
  await tn.use("cpu");
  const before = tn.memory();
  const x = tn.ones([6]);
  const y = tn.reshape(x, [2, 3]);
  assertEquals(tn.memory().tensors - before.tensors, 1);
  x.dispose();
  assertEquals(await y.array(), [[1, 1, 1], [1, 1, 1]]);
  y.dispose();
  assertEquals(tn.memory().bytes, before.bytes);
});

Deno.test("memory counts bytes and remembers the peak", async () => {
  await tn.use("cpu");
  const before = tn.memory();
  tn.resetPeak();
  using _keep = tn.zeros([100]);
  tn.zeros([1000]).dispose();
  const after = tn.memory();
  assertEquals(after.bytes - before.bytes, 400);
  assertEquals(after.peakBytes - before.bytes, 4400);
});

Deno.test("grad frees what it computed on the way", async () => {
  await tn.use("cpu");
  const x = tn.ones([5]);
  let dx: Tensor | undefined;
  assertEquals(left(() => dx = tn.grad((x: Tensor) => tn.sum(tn.exp(tn.sin(x))))(x)), 1);
  dx!.dispose();
  assertEquals(
    left(() => {
      const [value, grads] = tn.valueAndGrad((x: Tensor) => tn.sum(tn.softmax(tn.square(x))))(x);
      value.dispose();
      grads.dispose();
    }),
    0,
  );
  x.dispose();
});

Deno.test("debug({ leaks }) names the line that made each survivor", async () => {
  await tn.use("cpu");
  tn.debug({ leaks: true });
  try {
    using _x = tn.zeros([5]);
    const [site] = tn.memory().survivors;
    assert(site.site.includes("memory_test.ts"), site.site);
    assertEquals([site.tensors, site.bytes], [1, 20]);
  } finally {
    tn.debug();
  }
});

testOnEach("debug({ checkNumerics }) names the op that first made a NaN or an infinity", async (backend) => {
  await tn.use(backend);
  tn.debug({ checkNumerics: true });
  try {
    const made = async () => {
      const x = tn.log(tn.tensor([1, 0, 2]));
      await tn.add(x, 1).data();
    };
    await assertRejects(made, Error, "log made the first -Infinity, at element 1 of 3");
  } finally {
    tn.debug();
  }
});

/** Functions of several ops, with no scope around them; `x` is `[2, 2, 3]`. */
const several: Record<string, (x: Tensor) => unknown> = {
  conv: (x) => tn.conv(x, x),
  convTranspose: (x) => tn.convTranspose(x, x),
  maxPool: (x) => tn.maxPool(x, 2),
  avgPool: (x) => tn.avgPool(x, 2),
  attention: (x) => tn.attention(x, x, x),
  klDivergence: (x) => tn.klDivergence(x, x, { reduction: "batchMean" }),
  lstm: (x) => {
    const params = { input: tn.ones([3, 8]), hidden: tn.ones([2, 8]), bias: tn.ones([8]) };
    return [params, tn.lstm(x, params)];
  },
  gruCell: () => {
    const params = { input: tn.ones([3, 6]), hidden: tn.ones([2, 6]), hiddenBias: tn.ones([6]) };
    const x = tn.ones([1, 3]), hidden = tn.ones([1, 2]);
    return [params, x, hidden, tn.gruCell(x, hidden, params)];
  },
  globalNorm: (x) => tn.globalNorm({ a: x, b: x }),
  grad: (x) => tn.grad((x: Tensor) => tn.sum(tn.exp(tn.mul(x, x))))(x),
  jvp: (x) => tn.jvp(tn.exp, [x], [x]),
  update: (x) => {
    const optimizer = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: tn.schedules.constant(1) }));
    const state = optimizer.init(x);
    return [state, optimizer.update(x, state, x)];
  },
};

for (const [name, f] of Object.entries(several)) {
  Deno.test(`${name} frees all but what it returns`, async () => {
    await tn.use("cpu");
    const behind = left(() => {
      const x = tn.ones([2, 2, 3]);
      for (const leaf of new Set([x, ...tn.tree.leaves(f(x))])) (leaf as Tensor).dispose();
    });
    assertEquals(behind, 0);
  });
}

/** One training step of a small MLP, as a user writes it. */
function train(
  params: { w1: Tensor; w2: Tensor },
  x: Tensor,
  y: Tensor,
  optimizer: tn.Optimizer,
  state: tn.OptimizerState,
) {
  const loss = (p: typeof params) => tn.meanSquaredError(tn.matmul(tn.relu(tn.matmul(x, p.w1)), p.w2), y);
  const [value, grads] = tn.valueAndGrad(loss)(params);
  return [value, ...optimizer.update(grads, state, params)] as const;
}

for (const [backend, steps] of [["cpu", 2000], ["wasm", 2000], ["webgpu", 100]] as const) {
  testOn(backend, `${backend}: ${steps} eager steps of an MLP leave memory() where it was`, async () => {
    await tn.use(backend);
    const optimizer = tn.adamw({ learningRate: 1e-2 });
    const key = tn.key(0);
    const x = tn.normal(key, [8, 3]), y = tn.sum(tn.square(x), { axis: 1, keepDims: true });
    let params = { w1: tn.mul(tn.normal(key, [3, 16]), 0.5), w2: tn.mul(tn.normal(key, [16, 1]), 0.3) };
    let state = optimizer.init(params);
    let first = 0, last = 0, memory = tn.memory();
    for (let i = 0; i < steps; i++) {
      const [loss, nextParams, nextState] = tn.scope(() => train(params, x, y, optimizer, state));
      for (const old of [...tn.tree.leaves(params), ...tn.tree.leaves(state)]) (old as Tensor).dispose();
      [params, state] = [nextParams, nextState];
      if (i === 0) first = await loss.item();
      if (i === steps - 1) last = await loss.item();
      loss.dispose();
      if (i === 10) memory = tn.memory();
    }
    const { tensors, bytes } = tn.memory(); // garbage from before may be collected, nothing may be added
    assert(tensors <= memory.tensors && bytes <= memory.bytes, `${tensors} tensors, ${memory.tensors} before`);
    assert(last < first, `the loss went from ${first} to ${last}`);
    if (steps === 2000) assert(last < first / 20, `the loss went from ${first} to ${last}`);
  });
}

/** What a program prints that may call `gc()`. */
async function runWithCollector(body: string): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const mod = new URL("../mod.ts", import.meta.url).href;
    await Deno.writeTextFile(file, `import * as tn from ${JSON.stringify(mod)};\n${body}`);
    const args = ["run", "-A", "--no-lock", "--v8-flags=--expose-gc", "--no-check", file];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim();
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("the collector is the backstop: what nobody holds is freed", async () => {
  const output = await runWithCollector(`
    await tn.use("cpu");
    for (let i = 0; i < 200; i++) tn.zeros([1000]);
    for (let i = 0; i < 50 && tn.memory().tensors > 0; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    console.log(tn.memory().tensors);
  `);
  assertEquals(output, "0");
});

testOn("wasm", "wasm: 5,000 compiled steps leave the heap where it was", async () => {
  const output = await runWithCollector(`
    await tn.use("wasm");
    const step = tn.compile((w, x) => {
      const [loss, slope] = tn.valueAndGrad((w) => tn.mean(tn.square(tn.sub(tn.matmul(x, w), 1))))(w);
      return [loss, tn.sub(w, tn.mul(slope, 0.1))];
    }, { donate: [0] });
    const x = tn.normal(tn.key(0), [5, 3]);
    let w = tn.zeros([3, 1]), start = 0;
    for (let i = 0; i < 5000; i++) {
      const [loss, next] = step(w, x);
      loss.dispose();
      w = next;
      if (i === 100) { gc(); start = Deno.memoryUsage().heapUsed; }
    }
    await w.data();
    gc();
    console.log(Deno.memoryUsage().heapUsed - start);
  `);
  assert(Number(output) < 2e6, `${output} bytes more`);
});
