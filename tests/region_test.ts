/** What generated code must not depend on: the order of independent statements, and where in a vector a value lies. @module */
import { assertEquals } from "@std/assert";
import { Assembler } from "../backends/wasm/assembler.ts";
import { i32 } from "../backends/wasm/instructions.ts";
import * as tn from "../mod.ts";
import { testOn } from "./devices.ts";

Deno.test("wasm: lockstep takes a statement of each part in turn, whatever their lengths", () => {
  const module = new Assembler({ relaxedSimd: false, sharedMemory: false });
  const f = module.func("order", []);
  const next = f.let(i32.const(0));
  const write = (digit: number) => f.set(next, i32.add(i32.mul(next, 10), digit));
  f.lockstep([
    () => [1, 2, 3].forEach(write),
    () => f.if(i32.const(1), () => [4, 5].forEach(write)), // one statement
    () => [6, 7].forEach(write),
  ]);
  f.do(i32.store(i32.const(0), next));
  module.export("order", f);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory } });
  (exports.order as () => void)();
  assertEquals(new Int32Array(memory.buffer)[0], 1456273);
});

const ops: Record<string, (x: tn.Tensor) => tn.Tensor> = {
  exp: tn.exp,
  expm1: tn.expm1,
  log: tn.log,
  log1p: tn.log1p,
  log2: tn.log2,
  sin: tn.sin,
  cos: tn.cos,
  tan: tn.tan,
  tanh: tn.tanh,
  sigmoid: tn.sigmoid,
  erf: tn.erf,
  gelu: tn.gelu,
  softplus: tn.softplus,
  pow: (x) => tn.pow(x, 2.5),
};
/** Ends of what the polynomials are for, and what lies beyond. */
const EDGES = [0, -0, 1e-40, 1e-20, -87.5, -88, -104, -1e30, 88.5, 88.73, 89, 1e30, 8.2, -8.3, 3.8, -3.9, 2 ** 21];

for (const [name, op] of Object.entries(ops)) {
  testOn("wasm", `wasm: ${name} of a value is the same wherever it stands`, async () => {
    await tn.use("wasm");
    const xs = Float32Array.from([...EDGES, NaN, Infinity, -Infinity, ...EDGES.map((x) => -x / 3)]);
    const values = async (x: Float32Array) => [...await op(tn.tensor(x)).data()];
    const whole = await values(Float32Array.from({ length: 16 * xs.length }, (_, i) => xs[i % xs.length]));
    for (const length of [1, 2, 3, 4, 7, 15, 16, 19, xs.length]) {
      assertEquals(await values(xs.slice(0, length)), whole.slice(0, length), `${length} values`);
      assertEquals(await values(xs.slice(-length)), whole.slice(-length), `the last ${length} values`);
    }
  });
}
