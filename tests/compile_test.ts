/** Compiled functions: when they are traced, what composes with them, what they refuse, what they leave behind. @module */
import { assert, assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { createWasm } from "../backends/wasm/mod.ts";
import * as gpt from "../models/gpt.ts";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { difference } from "./compare.ts";
import { testOn, testOnEach } from "./devices.ts";

async function assertClose(actual: Tensor, expected: Tensor, relative = 1e-5): Promise<void> {
  const problem = difference(await actual.data(), await expected.data(), { relative });
  if (problem) throw new Error(problem);
}

const cube = (x: Tensor) => tn.mul(x, tn.mul(x, x));

testOnEach("traced once per signature", async (backend) => {
  await tn.use(backend);
  let traces = 0;
  const reasons: string[] = [];
  const f = tn.compile((x: Tensor, options: { scale: number; list: Tensor[] }) => {
    traces++;
    return { y: tn.mul(tn.add(x, options.list[0]), options.scale), same: x };
  }, { onRecompile: (reason) => reasons.push(reason) });
  const call = (shape: number[], scale: number) => f(tn.ones(shape), { scale, list: [tn.ones([1])] });
  assertEquals(await call([3], 2).y.array(), [4, 4, 4]);
  assertEquals(await call([3], 2).y.array(), [4, 4, 4]);
  assertEquals(traces, 1);
  assertEquals(await call([2], 2).y.array(), [4, 4]); // another shape
  assertEquals(await call([2], 3).y.array(), [6, 6]); // another number
  assertEquals(await call([3], 2).same.array(), [1, 1, 1]); // known already
  assertEquals(traces, 3);
  assertEquals(reasons.length, 2);
  assertMatch(reasons[0], /argument 0 was .*f32\[3\].*, is .*f32\[2\]/);
  assertStringIncludes(reasons[0], "compile_test.ts");
});

Deno.test("the cache is bounded: the least recently used signature goes first", async () => {
  await tn.use("cpu");
  let traces = 0;
  const f = tn.compile((x: Tensor) => {
    traces++;
    return tn.neg(x);
  }, { capacity: 2 });
  for (const n of [1, 2, 1, 3, 1, 2]) await f(tn.ones([n])).data(); // 3 drives out 2
  assertEquals(traces, 4);
});

Deno.test("static arguments belong to the signature", async () => {
  await tn.use("cpu");
  let traces = 0;
  const f = tn.compile((x: Tensor, mode: { power: number }) => {
    traces++;
    return tn.pow(x, mode.power);
  }, { static: [1] });
  const two = { power: 2 };
  assertEquals(await f(tn.tensor(3), two).item(), 9);
  assertEquals(await f(tn.tensor(4), two).item(), 16);
  assertEquals(await f(tn.tensor(2), { power: 3 }).item(), 8);
  assertEquals(traces, 2);
});

Deno.test("reading a value while tracing names what made it", async () => {
  await tn.use("cpu");
  const reads: ((x: Tensor) => unknown)[] = [(x) => x.dataSync(), (x) => x.data(), (x) => x.item(), (x) => x.array()];
  for (const read of reads) {
    const f = tn.compile((x: Tensor) => {
      read(tn.exp(x));
      return x;
    });
    const error = assertThrows(() => f(tn.tensor(1)), tn.TraceError);
    assertStringIncludes(error.message, "Cannot read a traced value");
    assertStringIncludes(error.message, "exp");
    assertStringIncludes(error.message, "use where() or scan()");
  }
});

Deno.test("an async function and a traced value kept for later are refused", async () => {
  await tn.use("cpu");
  assertThrows(
    () => tn.compile((x: Tensor) => Promise.resolve(x))(tn.tensor(1)),
    tn.TraceError,
    "Cannot compile an async function: it returns before its ops are known",
  );
  let kept: Tensor | undefined;
  await tn.compile((x: Tensor) => kept = tn.exp(x))(tn.tensor(1)).data();
  assertThrows(() => tn.neg(kept!).dataSync(), tn.TraceError);
  assertThrows(() => tn.compile((x: Tensor) => tn.add(x, kept!))(tn.tensor(1)), tn.TraceError);
});

testOnEach("compile of grad, grad of compile, compile in compile", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor(2);
  assertEquals(await tn.compile(tn.grad(cube))(x).item(), 12);
  assertEquals(await tn.grad(tn.compile(cube))(x).item(), 12);
  assertEquals(await tn.grad(tn.grad(tn.compile(cube)))(x).item(), 12);
  assertEquals(await tn.compile(tn.grad(tn.grad(tn.compile(tn.grad(cube)))))(x).item(), 6);
  const inner = tn.compile(cube);
  assertEquals(await tn.compile((x: Tensor) => tn.add(inner(x), inner(tn.neg(x))))(x).item(), 0);
  assertEquals(await tn.jvp(tn.compile(cube), [x], [tn.tensor(1)])[1].item(), 12);
});

testOnEach("checkpoint, customVjp, stopGradient and scan inside compile", async (backend) => {
  await tn.use(backend);
  const x = tn.tensor([0.3, -0.8, 1.2]);
  const clipped = tn.customVjp((x: Tensor) => tn.square(x), {
    forward: (x) => [tn.square(x), x],
    backward: (x, dy) => [tn.clamp(tn.mul(dy, tn.mul(x, 2)), { min: -1, max: 1 })],
  });
  const block = tn.checkpoint((x: Tensor) => tn.tanh(tn.exp(x)));
  const loss = (x: Tensor) => {
    const [, ys] = tn.scan(
      (carry: Tensor, x: Tensor) => {
        const next = tn.tanh(tn.add(tn.mul(carry, 0.5), x));
        return [next, next] as const;
      },
      tn.tensor(0.1),
      x,
    );
    return tn.sum(tn.mul(tn.add(clipped(block(x)), ys), tn.stopGradient(x)));
  };
  const [eagerValue, eagerGrad] = tn.valueAndGrad(loss)(x);
  const [value, grad] = tn.compile(tn.valueAndGrad(loss))(x);
  await assertClose(value, eagerValue);
  await assertClose(grad, eagerGrad);
});

testOnEach("tensors closed over are captured, also those made while tracing", async (backend) => {
  await tn.use(backend);
  const weight = tn.tensor([1, 2]);
  const f = tn.compile((x: Tensor) => tn.add(tn.mul(x, weight), tn.uniform(tn.key(1), [2])));
  const expected = tn.add(weight, tn.uniform(tn.key(1), [2]));
  await assertClose(tn.scope(() => f(tn.ones([2]))), expected); // traced inside a scope
  await assertClose(f(tn.ones([2])), expected);
  const slope = tn.grad((w: Tensor) => tn.sum(tn.compile((x: Tensor) => tn.mul(x, w))(tn.tensor([3, 4]))))(weight);
  assertEquals(await slope.array(), [3, 4]);
});

testOnEach("inputs returned as they are, constants, and outputs twice", async (backend) => {
  await tn.use(backend);
  const f = tn.compile((x: Tensor) => {
    const y = tn.neg(x);
    return { x, y, again: y, view: tn.reshape(y, [2, 1]), constant: tn.full([2], 7), none: null, text: "kept" };
  });
  const result = f(tn.tensor([1, 2]));
  assertEquals(await result.x.array(), [1, 2]);
  assertEquals(await result.y.array(), [-1, -2]);
  result.y.dispose();
  assertEquals([await result.again.array(), await result.view.array()], [[-1, -2], [[-1], [-2]]]);
  assertEquals([await result.constant.array(), result.none, result.text], [[7, 7], null, "kept"]);
});

testOnEach(
  "donated arguments are disposed, and their memory is protected where something else needs it",
  async (backend) => {
    await tn.use(backend);
    const step = tn.compile((w: Tensor, x: Tensor) => tn.sub(w, tn.mul(x, 0.5)), { donate: [0] });
    let w = tn.tensor([1, 2, 3]);
    const twin = tn.reshape(w, [3]); // shares the memory
    w = step(w, tn.ones([3]));
    assertEquals(await w.array(), [0.5, 1.5, 2.5]);
    assertEquals(await twin.array(), [1, 2, 3]);
    const donated = w;
    w = step(w, tn.ones([3]));
    assertEquals(await w.array(), [0, 1, 2]);
    assertThrows(() => tn.neg(donated), tn.DisposedError);
    assertThrows(() => donated.data(), tn.DisposedError);
    const both = tn.tensor([4, 4, 4]);
    assertEquals(await step(both, both).array(), [2, 2, 2]); // the same tensor donated and read
  },
);

testOnEach("swapped donated buffers keep their values", async (backend) => {
  await tn.use(backend);
  const swap = tn.compile((a: Tensor, b: Tensor) => [tn.add(b, 0), tn.add(a, 0), tn.sub(a, b)] as const, {
    donate: [0, 1],
  });
  const [b, a, d] = swap(tn.tensor([1, 2]), tn.tensor([10, 20]));
  assertEquals([await b.array(), await a.array(), await d.array()], [[10, 20], [1, 2], [-9, -18]]);
});

testOnEach("arguments of every dtype, empty ones and scalars", async (backend) => {
  await tn.use(backend);
  const f = tn.compile((i: Tensor, b: Tensor, h: Tensor, none: Tensor) => [
    tn.where(b, tn.cast(i, "f32"), tn.cast(h, "f32")),
    tn.sum(none),
    tn.not(b),
    tn.concat([none, tn.ones([1, 3])]),
  ]);
  const [chosen, zero, inverse, row] = f(
    tn.tensor([1, 2], { dtype: "i32" }),
    tn.tensor([true, false]),
    tn.tensor([0.5, 0.25], { dtype: "f16" }),
    tn.zeros([0, 3]),
  );
  assertEquals([await chosen.array(), await zero.item()], [[1, 0.25], 0]);
  assertEquals([await inverse.array(), await row.array()], [[false, true], [[1, 1, 1]]]);
});

const config: gpt.GptConfig = { vocabSize: 13, context: 8, layers: 1, heads: 2, channels: 16 };

/** Losses of a few training steps of a tiny GPT. */
async function losses(steps: number, compiled: boolean): Promise<number[]> {
  const optimizer = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: 3e-3 }));
  let params = gpt.init(tn.key(1), config);
  let state = optimizer.init(params);
  const plain = (params: gpt.GptParams, state: tn.OptimizerState, batch: gpt.GptBatch) => {
    const [loss, grads] = tn.valueAndGrad(gpt.loss)(params, batch, config);
    return [loss, ...optimizer.update(grads, state, params)] as const;
  };
  const step = compiled ? tn.compile(plain, { donate: [0, 1] }) : plain;
  const result: number[] = [];
  for (let i = 0; i < steps; i++) {
    const tokens = tn.randint(tn.key(i % 3), [2, 8], { min: 0, max: 13 });
    const targets = tn.mod(tn.add(tokens, 1), 13);
    const [loss, nextParams, nextState] = tn.scope(() => step(params, state, { tokens, targets }));
    [params, state] = [nextParams, nextState];
    result.push(await loss.item());
  }
  return result;
}

testOnEach("20 steps of a GPT: compiled losses are eager losses", async (backend) => {
  await tn.use(backend);
  const steps = backend === "webgpu" ? 4 : 20;
  const eager = await losses(steps, false), compiled = await losses(steps, true);
  for (const [i, loss] of eager.entries()) assertAlmostEquals(compiled[i], loss, 1e-4 * loss);
  assert(compiled[steps - 1] < compiled[0]);
});

testOnEach("two runs of the same program are bit-equal", async (backend) => {
  await tn.use(backend);
  const steps = backend === "webgpu" ? 3 : 10;
  assertEquals(await losses(steps, true), await losses(steps, true));
});

testOnEach("compiled steps leave memory() where it was", async (backend) => {
  await tn.use(backend);
  const step = tn.compile((w: Tensor, x: Tensor) => {
    const [loss, slope] = tn.valueAndGrad((w: Tensor) => tn.mean(tn.square(tn.sub(tn.matmul(x, w), 1))))(w);
    return [loss, tn.sub(w, tn.mul(slope, 0.1))] as const;
  }, { donate: [0] });
  const x = tn.normal(tn.key(0), [5, 3]);
  let w = tn.zeros([3, 1]), memory = tn.memory();
  for (let i = 0; i < (backend === "webgpu" ? 200 : 2000); i++) {
    const [loss, next] = step(w, x);
    w = next;
    loss.dispose();
    if (i === 10) memory = tn.memory();
    if (i % 100 === 0) await w.data();
  }
  assertEquals([tn.memory().tensors, tn.memory().bytes], [memory.tensors, memory.bytes]);
});

testOn("wasm", "inspect: softmax is one kernel, forward and backward", async () => {
  await tn.use("wasm");
  const f = tn.compile((x: Tensor) => tn.softmax(x));
  await f(tn.ones([5, 7])).data();
  const report = tn.inspect(f);
  assertEquals(report.kernels.length, 1);
  assertStringIncludes(report.mermaid, "flowchart");
  assertStringIncludes(String(report), "exp");
  const g = tn.compile((x: Tensor) => tn.grad((x: Tensor) => tn.sum(tn.square(tn.softmax(x))))(x));
  await g(tn.ones([5, 7])).data();
  assert(tn.inspect(g).kernels.length <= 2, String(tn.inspect(g)));
});

testOn("wasm", "inspect: the flowchart tells arguments from tensors closed over", async () => {
  await tn.use("wasm");
  const weight = tn.ones([7, 3]);
  const f = tn.compile((x: Tensor) => tn.relu(tn.matmul(x, weight)));
  await f(tn.ones([5, 7])).data();
  const { mermaid, program } = tn.inspect(f);
  assertEquals(mermaid.split("\n").slice(1), [
    '  k0["matmul max [5,3]"]',
    "  in0([argument 0]) --> k0",
    "  in1([captured 0]) --> k0",
  ]);
  assertEquals(program.steps.map(({ kind }) => kind), ["op"]);
});

testOn("wasm", "an eager scan written again is not compiled again, and its body is traced once", async () => {
  let programs = 0, traces = 0;
  const wasm = createWasm({ threads: 1 });
  tn.registerBackend("counting", () => ({
    ...wasm,
    name: "counting",
    compile: (program) => (programs++, wasm.compile!(program)),
  }));
  await tn.use("counting");
  const total = (x: Tensor) =>
    tn.sum(
      tn.scan(
        (sum: Tensor, row: Tensor) => {
          traces++;
          const next = tn.tanh(tn.add(sum, row));
          return [next, next] as const;
        },
        tn.zeros([2]),
        x,
      )[1],
    );
  const x = tn.ones([4, 2]);
  const first = await tn.grad(total)(x).data();
  const compiled = programs, traced = traces;
  assertEquals(await tn.grad(total)(x).data(), first);
  assertEquals(programs, compiled);
  assertEquals(traces, traced + 1);
});

testOnEach("a tensor in a static argument belongs to the signature by its identity", async (backend) => {
  await tn.use(backend);
  const scaled = tn.compile((x: Tensor, { by }: { by: Tensor }) => tn.mul(x, by), { static: [1] });
  const x = tn.tensor(3), two = tn.tensor(2), three = tn.tensor(3);
  assertEquals(await scaled(x, { by: two }).item(), 6);
  assertEquals(await scaled(x, { by: three }).item(), 9);
  assertEquals(await scaled(x, { by: two }).item(), 6);
});

Deno.test("donate and static name arguments that are there", async () => {
  await tn.use("cpu");
  const one = (x: Tensor) => tn.neg(x);
  for (const name of ["donate", "static"]) {
    assertThrows(
      () => tn.compile(one, { [name]: [3] })(tn.tensor(1)),
      tn.ArgumentError,
      `Cannot call a compiled function: ${name} names argument 3, there are 1`,
    );
  }
});

Deno.test("compile refuses what makes no sense", () => {
  const f = (x: Tensor) => tn.neg(x);
  // deno-lint-ignore no-explicit-any -- what the types refuse
  assertThrows(() => tn.compile(undefined as any), tn.ArgumentError, "Cannot compile undefined: it is not a function");
  assertThrows(() => tn.compile(f, { capacity: 0 }), tn.ArgumentError, "Cannot compile with capacity 0");
  assertThrows(
    () => tn.compile(f, { donate: [0], static: [0] }),
    tn.ArgumentError,
    "Cannot compile: argument 0 is donated and static",
  );
});
