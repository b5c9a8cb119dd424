/** Shapes with work to share: backends against the oracle, and several threads against one, bit by bit. @module */
import { assert, assertEquals } from "@std/assert";
import { createWasm } from "../backends/wasm/mod.ts";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { f32, i32, type Input, tensorOf } from "./cases/case.ts";
import { difference } from "./compare.ts";
import { testOn } from "./devices.ts";
import { wave } from "./random_graphs.ts";

const THREADS = [1, 2, 3];
for (const threads of THREADS) {
  tn.registerBackend(`wasm${threads}`, () => ({ ...createWasm({ threads }), name: `wasm${threads}` }));
}
const ignore = !(await tn.available()).includes("wasm");

interface Work {
  readonly inputs: readonly Input[];
  run(...inputs: Tensor[]): Tensor;
}

/** Enough of everything that there is something to share. */
const works: Record<string, Work> = {
  matmul: { inputs: [f32([131, 257]), f32([257, 66])], run: (a, b) => tn.gelu(tn.matmul(a, b)) },
  "a large matmul": {
    inputs: [f32([483, 396]), f32([396, 389]), f32([389])],
    run: (a, b, bias) => tn.gelu(tn.add(tn.matmul(a, b), bias)),
  },
  "batched matmul": { inputs: [f32([7, 33, 65]), f32([7, 65, 34])], run: (a, b) => tn.matmul(a, b) },
  "one row times a matrix": { inputs: [f32([1, 401]), f32([401, 807])], run: (a, b) => tn.add(tn.matmul(a, b), 1) },
  "few rows times a wide matrix": { inputs: [f32([3, 33]), f32([33, 4203])], run: (a, b) => tn.matmul(a, b) },
  "rows times matrices": { inputs: [f32([5, 2, 1030]), f32([5, 1030, 133])], run: (a, b) => tn.matmul(a, b) },
  elementwise: { inputs: [f32([50_001]), f32([50_001])], run: (a, b) => tn.mul(tn.exp(tn.sin(a)), tn.cos(b)) },
  sum: { inputs: [f32([200_003])], run: (x) => tn.sum(tn.sin(x)) },
  "sum of columns": { inputs: [f32([1030, 67])], run: (x) => tn.sum(x, { axis: 0 }) },
  softmax: { inputs: [f32([301, 129])], run: (x) => tn.softmax(x) },
  layerNorm: { inputs: [f32([301, 129]), f32([129])], run: (x, scale) => tn.layerNorm(x, { scale }) },
  transpose: { inputs: [f32([33, 65, 40])], run: (x) => tn.add(tn.transpose(x), 1) },
  conv: { inputs: [f32([3, 8, 33, 31]), f32([12, 8, 3, 3])], run: (x, w) => tn.relu(tn.conv(x, w, { padding: 1 })) },
  maxPool: { inputs: [f32([3, 8, 33, 31])], run: (x) => tn.maxPool(x, 2) },
  "maxPool with ties": {
    inputs: [f32([3, 8, 17, 19])],
    run: (x) => tn.concat([1, 3].map((stride) => tn.reshape(tn.maxPool(tn.relu(x), 3, { stride }), [3, 8, -1])), 2),
  },
  attention: {
    inputs: [f32([4, 130, 16]), f32([4, 130, 16]), f32([4, 130, 16])],
    run: (q, k, v) => tn.attention(q, k, v, { causal: true }),
  },
  embedding: { inputs: [f32([97, 33]), i32([40, 50], [0, 97])], run: (table, ids) => tn.embedding(table, ids) },
  crossEntropy: { inputs: [f32([257, 101]), i32([257], [0, 101])], run: (x, y) => tn.crossEntropy(x, y) },
  cumulativeSum: { inputs: [f32([70, 301])], run: (x) => tn.cumulativeSum(x, { axis: 1 }) },
  sort: { inputs: [f32([70, 301])], run: (x) => tn.sort(x) },
};

/** Output and gradients. */
async function compute({ inputs, run }: Work, backend: string): Promise<Float32Array[]> {
  await tn.use(backend);
  const results = tn.scope(() => {
    const all = inputs.map((input, i) => tensorOf(input, i + 1));
    const floats = all.filter(({ dtype }) => dtype === "f32"), rest = all.slice(floats.length);
    return tn.compile((xs: Tensor[], rest: Tensor[]) => {
      const [y, back] = tn.vjp((...xs: Tensor[]) => run(...xs, ...rest), xs);
      return [y, ...back(wave(y.shape))];
    })(floats, rest);
  });
  const data = await Promise.all(results.map((result) => result.data()));
  for (const result of results) result.dispose();
  return data as Float32Array[];
}

const references = new Map<Work, Float32Array[]>();

async function reference(work: Work): Promise<Float32Array[]> {
  const known = references.get(work) ?? await compute(work, "cpu");
  references.set(work, known);
  return known;
}

for (const backend of ["wasm", "webgpu"]) {
  for (const [name, work] of Object.entries(works)) {
    testOn(backend, `${backend}: ${name} of some size`, async () => {
      const expected = await reference(work), actual = await compute(work, backend);
      for (const [i, values] of expected.entries()) {
        const problem = difference(actual[i], values, { relative: 2e-5 });
        if (problem) throw new Error(`${i === 0 ? "output" : `gradient ${i - 1}`}: ${problem}`);
      }
    });
  }
}

const bits = ({ buffer }: Float32Array) => new Uint32Array(buffer);

for (const [name, work] of Object.entries(works)) {
  Deno.test({
    name: `wasm: ${THREADS.join(", ")} threads compute the same bits of ${name}`,
    ignore,
    async fn() {
      const expected = await compute(work, "wasm1");
      for (const threads of [...THREADS, 2, 3]) {
        const actual = await compute(work, `wasm${threads}`);
        for (const [i, values] of expected.entries()) {
          const other = bits(actual[i]), off = bits(values).findIndex((value, k) => value !== other[k]);
          assert(off < 0, `${threads} threads: result ${i} differs at element ${off}`);
        }
      }
    },
  });
}

Deno.test({
  name: "wasm: a program ends although its threads wait",
  ignore,
  async fn() {
    const script = `
      import * as tn from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
      import { createWasm } from ${JSON.stringify(new URL("../backends/wasm/mod.ts", import.meta.url).href)};
      tn.registerBackend("wasm", () => createWasm({ threads: 2 }));
      await tn.use("wasm");
      console.log(await tn.sum(tn.matmul(tn.ones([200, 300]), tn.ones([300, 200]))).item());
    `;
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(file, script);
      const args = ["run", "-A", "--no-lock", "--no-check", file];
      const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", signal: AbortSignal.timeout(20_000) });
      const { code, stdout } = await child.output();
      assertEquals([code, new TextDecoder().decode(stdout).trim()], [0, "12000000"]);
    } finally {
      await Deno.remove(file);
    }
  },
});
