/** Tensors that share memory, are gone, or live elsewhere: nothing changes, and nothing is computed with them, unsaid. @module */
import { assertEquals, assertThrows } from "@std/assert";
import { createWasm } from "../backends/wasm/mod.ts";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { testOn, testOnEach } from "./devices.ts";

testOnEach("what a compiled function closes over stays as it is, although it is donated", async (backend) => {
  await tn.use(backend);
  const w = tn.arange(8);
  const f = tn.compile((x: Tensor) => tn.add(tn.mul(x, 100), tn.flip(w)), { donate: [0] });
  assertEquals(await f(w).array(), [7, 106, 205, 304, 403, 502, 601, 700]);
});

testOnEach("a disposed tensor is not donated: a view of it may be alive", async (backend) => {
  await tn.use(backend);
  const x = tn.ones([2, 1]), view = tn.reshape(x, [2]);
  x.dispose();
  const f = tn.compile((x: Tensor) => tn.add(x, 1), { donate: [0] });
  assertThrows(() => f(x), tn.DisposedError, "Cannot donate f32[2,1]: it is disposed");
  assertEquals(await view.array(), [1, 1]);
});

testOnEach("a carry returned untouched is a tensor of its own, with a gradient of its own", async (backend) => {
  await tn.use(backend);
  const xs = tn.tensor([1, 2, 3]), w = tn.tensor(2);
  const run = (w: Tensor) => tn.scan((c: Tensor, x: Tensor) => [c, tn.mul(c, x)] as const, w, xs);
  assertEquals(await tn.grad((w: Tensor) => tn.sum(run(w)[0]))(w).item(), 1);
  assertEquals(await tn.grad((w: Tensor) => tn.sum(run(w)[1]))(w).item(), 6);
  run(w)[0].dispose();
  assertEquals(await w.item(), 2);
});

testOnEach("a result returned twice is two tensors", async (backend) => {
  await tn.use(backend);
  const [a, b] = tn.compile((x: Tensor) => {
    const y = tn.neg(x);
    return [y, y];
  })(tn.tensor([1]));
  a.dispose();
  assertEquals(await b.array(), [-1]);
});

testOnEach("a pullback that outlives its scope says so", async (backend) => {
  await tn.use(backend);
  const back = tn.scope(() => tn.vjp(tn.square, [tn.ones([2])])[1]);
  assertThrows(() => back(tn.ones([2])), tn.DisposedError, "Cannot pull back: the scope around the vjp has ended");
});

testOn("wasm", "a compiled function refuses tensors of two backends, and runs where its arguments are", async () => {
  await tn.use("cpu");
  const there = tn.tensor([10, 20]);
  tn.registerBackend("again", () => ({ ...createWasm({ threads: 1 }), name: "again" }));
  await tn.use("again");
  const x = tn.tensor([1, 2]), add = tn.compile((a: Tensor, b: Tensor) => tn.add(a, b));
  assertThrows(
    () => add(x, there),
    tn.BackendError,
    'Cannot call a compiled function with tensors on again and cpu: move one with `await t.to("again")`',
  );
  const closed = tn.compile((x: Tensor) => tn.add(x, there));
  assertThrows(() => closed(x), tn.BackendError, "tensors on again and cpu");
  assertEquals(await add(x, x).array(), [2, 4]);

  tn.registerBackend("again", () => ({ ...createWasm({ threads: 1 }), name: "again" }));
  await tn.use("again");
  const y = tn.tensor([3, 4]);
  assertEquals(await add(y, y).array(), [6, 8]);
  assertThrows(() => add(x, y), tn.BackendError, 'tensors on again and an earlier "again"');
  assertThrows(() => tn.add(x, y), tn.BackendError, 'tensors on again and an earlier "again"');
  await tn.use("cpu");
});
