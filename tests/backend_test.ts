/** The registry: what `use` chooses and says, and what a backend without a kernel does. @module */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as tn from "../mod.ts";
import { testOn } from "./devices.ts";

await tn.use("cpu");
const cpu = tn.zeros([1]).backend;

/** The CPU backend under another name, without some kernels. */
function without(name: string, ...ops: string[]): tn.Backend {
  const kernels = Object.fromEntries(Object.entries(cpu.kernels).filter(([op]) => !ops.includes(op)));
  return {
    ...cpu,
    alloc: cpu.alloc,
    free: cpu.free,
    write: cpu.write,
    read: cpu.read,
    readSync: cpu.readSync,
    name,
    kernels,
  };
}

Deno.test("use takes the first that works and says why the others did not", async () => {
  tn.registerBackend("broken", () => {
    throw new Error("no such device here");
  });
  const choice = await tn.use("broken", "missing", "cpu");
  assertEquals(choice.backend, "cpu");
  assertEquals(choice.skipped.map(({ name }) => name), ["broken", "missing"]);
  assertEquals(choice.skipped[0].reason, "no such device here");
  assert(choice.skipped[1].reason.startsWith('Cannot use backend "missing": no such backend, known are '));
  assert(String(choice).includes("not broken: no such device here"), String(choice));
});

Deno.test("use throws every reason when nothing works", async () => {
  tn.registerBackend("broken", () => {
    throw new Error("no such device here");
  });
  await assertRejects(
    () => tn.use("broken"),
    Error,
    "Cannot use any of [broken]: broken: no such device here",
  );
  await assertRejects(() => tn.use(), Error, "Cannot use any of []: no name was given");
});

Deno.test("available lists what works, and only that", async () => {
  tn.registerBackend("broken", () => Promise.reject(new Error("no")));
  const names = await tn.available();
  assert(names.includes("cpu") && !names.includes("broken"));
});

Deno.test("a missing primitive is an error that names op and backend", async () => {
  tn.registerBackend("bare", () => without("bare", "argsort"));
  await tn.use("bare");
  assertThrows(
    () => tn.sort(tn.tensor([2, 1])),
    Error,
    'Cannot run "argsort" on backend "bare": it has no such kernel',
  );
});

Deno.test("a missing composite falls to its body", async () => {
  tn.registerBackend(
    "primitive",
    () => without("primitive", "softmax", "layerNorm", "gelu", "attention", "crossEntropy"),
  );
  await tn.use("primitive");
  const rows = await tn.sum(tn.softmax(tn.tensor([[1, 2, 3]])), { axis: 1 }).array();
  assertEquals(rows, [1]);
});

Deno.test("tensors of two backends do not mix silently; to() moves them", async () => {
  tn.registerBackend("other", () => without("other"));
  await tn.use("other");
  const there = tn.tensor([1, 2]);
  await tn.use("cpu");
  const here = tn.tensor([10, 20]);
  assertThrows(
    () => tn.add(here, there),
    Error,
    "Cannot compute add of tensors on cpu and other: move one with `await t.to(",
  );
  assertEquals(await tn.add(here, await there.to("cpu")).array(), [11, 22]);
  assertEquals((await there.to("cpu")).backend.name, "cpu");
});

Deno.test("every dtype survives a trip to the device and back", async () => {
  for (const backend of await tn.available()) {
    await tn.use(backend);
    const array = (dtype: tn.DType, values: number[]) => tn.tensor(values, { dtype }).array();
    assertEquals(await array("f32", [1.5, -2]), [1.5, -2], backend);
    assertEquals(await array("f16", [1.5, -2]), [1.5, -2], backend);
    assertEquals(await array("i32", [-7, 8]), [-7, 8], backend);
    assertEquals(await array("u32", [4294967295, 8]), [4294967295, 8], backend);
    assertEquals(await array("bool", [0, 1]), [false, true], backend);
  }
});

testOn("webgpu", "webgpu: reading synchronously is refused with the way out", async () => {
  await tn.use("webgpu");
  assertThrows(
    () => tn.tensor([1]).dataSync(),
    tn.BackendError,
    "Cannot read synchronously from webgpu: the device answers later, use `await t.data()`",
  );
  await tn.use("cpu");
});
