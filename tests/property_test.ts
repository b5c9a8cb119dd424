/** Random graphs: compiled, outputs and gradients, against the oracle run op by op. @module */
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { fromValues, normal, random } from "./cases/case.ts";
import { difference, rootMeanSquare } from "./compare.ts";
import { testOn } from "./devices.ts";
import { graphOf, inputShapes, wave } from "./random_graphs.ts";

async function run(seed: number, backend: string, compiled: boolean, log?: string[]): Promise<ArrayLike<number>[]> {
  await tn.use(backend);
  const results = tn.scope(() => {
    const next = random(seed + 2e6);
    const inputs = inputShapes(seed).map((shape) => {
      const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => normal(next));
      return fromValues(values, { shape, dtype: "f32" });
    });
    const graph = graphOf(seed, log);
    const f = (xs: Tensor[]) => {
      const [outputs, back] = tn.vjp((...xs: Tensor[]) => graph(xs), xs);
      return [...outputs, ...back(outputs.map((y) => wave(y.shape)))];
    };
    return (compiled ? tn.compile(f) : f)(inputs);
  });
  const data = await Promise.all(results.map((result) => result.data()));
  for (const result of results) result.dispose();
  return data;
}

async function check(seed: number, backend: string): Promise<void> {
  const log: string[] = [];
  const expected = await run(seed, "cpu", false, log);
  const describe = () => `graph ${seed} of ${JSON.stringify(inputShapes(seed))}: ${log.join(", ")}`;
  const actual = await run(seed, backend, true).catch((error) => {
    throw new Error(`${describe()}\n${error}`, { cause: error });
  });
  for (const [i, values] of expected.entries()) {
    const floor = Math.max(rootMeanSquare(values), 0.01); // a gradient may be zero but for rounding
    const problem = difference(actual[i], values, { relative: 2e-5, floor });
    if (problem) throw new Error(`${describe()}\n${i < 2 ? "output" : "gradient"} ${i < 2 ? i : i - 2}: ${problem}`);
  }
}

for (const [backend, count] of [["cpu", 300], ["wasm", 300], ["webgpu", 40]] as const) {
  testOn(backend, `${backend}: ${count} random graphs, compiled`, async () => {
    const problems: string[] = [];
    for (let seed = 0; seed < count; seed++) {
      await check(seed, backend).catch((error) => problems.push(error.message));
    }
    if (problems.length > 0) {
      throw new Error(`${problems.length} of ${count} differ\n${problems.slice(0, 5).join("\n\n")}`);
    }
  });
}
