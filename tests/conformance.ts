/**
 * The suite that every backend must pass, ours and a stranger's alike.
 *
 * Each case of the table (`cases.ts`) is run on the backend: dtypes and shapes of the results, values and gradients
 * against the `cpu` backend, eager against compiled, no memory left behind, and the exact text of errors.
 *
 * ```ts ignore
 * import { registerBackend } from "@tenon/ml";
 * import { register } from "@tenon/ml/testing";
 * import { createMine } from "./mine.ts";
 *
 * registerBackend("mine", createMine);
 * register("mine", { skip: [{ reason: "no sorting network yet", ops: ["sort", "argsort", "topK", "permutation"] }] });
 * ```
 *
 * @module
 */
import { compile, type DType, memory, scope, type Tensor, use } from "../mod.ts";
import {
  type Case,
  type Domain,
  type ErrorCase,
  type Input,
  tensorOf,
  type Tolerance,
  type ValueCase,
} from "./cases/case.ts";
import { cases, type OpName } from "./cases.ts";
import { difference } from "./compare.ts";
import { derive, differentiated, parseSpecs } from "./derive.ts";

export type { Case, Domain, ErrorCase, Input, OpName, Tolerance, ValueCase };
export { cases };

/** What a backend cannot do, and why. */
export interface Skip {
  /** Shown beside each test left out. */
  readonly reason: string;
  /** Public ops left out. */
  readonly ops?: readonly OpName[];
  /** Cases with an input or output of these dtypes are left out. */
  readonly dtypes?: readonly DType[];
}

/** What to leave out. */
export interface ConformanceOptions {
  /** Every entry shows as ignored tests, with its reason. */
  readonly skip?: readonly Skip[];
}

/** One case on one backend. */
export interface ConformanceTest {
  /** `mine: matmul, [3,5] by [5,4]` */
  readonly name: string;
  /** Why it is not run, if it is not. */
  readonly skipped?: string;
  /** Throws an `Error` that says what is wrong. */
  run(): Promise<void>;
}

/** The elements of a tensor, read back. */
interface Result {
  readonly spec: string;
  readonly data: ArrayLike<number>;
}

interface Results {
  readonly outputs: readonly Result[];
  readonly grads: readonly Result[];
}

/** Every case of the table as a test of `backend`, which must be registered. */
export function conformance(backend: string, { skip = [] }: ConformanceOptions = {}): ConformanceTest[] {
  return (Object.keys(cases) as OpName[]).flatMap((op) =>
    cases[op].map((row) => ({
      name: `${backend}: ${op}, ${row.name}`,
      skipped: skip.find((entry) => entry.ops?.includes(op) || entry.dtypes?.some((dtype) => mentions(row, dtype)))
        ?.reason,
      run: () => "throws" in row ? refuses(backend, row) : computes(backend, row),
    }))
  );
}

/** Registers every case with `Deno.test`; what is skipped shows as ignored, with its reason. */
export function register(backend: string, options: ConformanceOptions = {}): void {
  for (const { name, skipped, run } of conformance(backend, options)) {
    Deno.test({ name: skipped ? `${name} (${skipped})` : name, ignore: skipped !== undefined, fn: run });
  }
}

function mentions(row: Case, dtype: DType): boolean {
  return row.inputs.some((input) => input.dtype === dtype) || ("gives" in row && row.gives.includes(dtype));
}

/** Gradients of the outputs that a case starts from; read only where an output is f32. */
function seedsOf(row: ValueCase): Tensor[] {
  return parseSpecs(row.gives).map(({ shape }, i) => tensorOf({ shape, dtype: "f32", domain: "normal" }, 1000 + i));
}

const specOf = ({ dtype, shape }: Tensor): string => `${dtype}[${shape.join(",")}]`;

async function readAll(tensors: readonly Tensor[]): Promise<Result[]> {
  const read = tensors.map(async (tensor) => ({ spec: specOf(tensor), data: await tensor.data() }));
  const results = await Promise.all(read);
  for (const tensor of tensors) tensor.dispose();
  return results;
}

/** Runs a case on the backend in use. */
async function evaluate(row: ValueCase, compiled: boolean): Promise<Results> {
  const by = differentiated(row);
  const [outputs, grads] = scope(() => {
    const inputs = row.inputs.map((input, i) => tensorOf(input, i + 1));
    const f = (xs: Tensor[], seeds: Tensor[]) => derive(row, by, xs, seeds);
    const [outputs, grads] = (compiled ? compile(f) : f)(inputs, seedsOf(row));
    const specs = outputs.map(specOf).join(" ");
    if (specs !== row.gives) throw new Error(`gives ${specs}, expected ${row.gives}`);
    return [outputs, grads];
  });
  return { outputs: await readAll(outputs), grads: await readAll(grads) };
}

const references = new WeakMap<ValueCase, Results>();

/** What the `cpu` backend computes. */
async function reference(row: ValueCase): Promise<Results> {
  let results = references.get(row);
  if (!results) {
    await use("cpu");
    results = await evaluate(row, false);
    references.set(row, results);
  }
  return results;
}

/** Sums of a few dozen f32 products, in any order. */
const ORDINARY: Tolerance = { relative: 1e-5 };

function compareResults(
  what: string,
  actual: readonly Result[],
  expected: readonly Result[],
  tolerance: Tolerance,
): string[] {
  return expected.flatMap(({ spec, data }, i) => {
    const given = actual[i].spec === spec
      ? difference(actual[i].data, data, /^(f32|f16)/.test(spec) ? tolerance : { relative: 0 })
      : actual[i].spec;
    return given === null ? [] : [`${what} ${i} (${spec}): ${given}`];
  });
}

async function computes(backend: string, row: ValueCase): Promise<void> {
  const expected = await reference(row);
  await use(backend);
  const before = memory().tensors;
  const eager = await evaluate(row, false);
  const left = memory().tensors - before;
  const tolerance = row.tolerance ?? ORDINARY;
  const gradTolerance: Tolerance = { relative: Math.max(ORDINARY.relative, 2 * tolerance.relative) };
  const problems: string[] = left > 0 ? [`${left} tensors are left behind`] : [];
  if (backend !== "cpu") {
    problems.push(...compareResults("output", eager.outputs, expected.outputs, tolerance));
    problems.push(...compareResults("gradient", eager.grads, expected.grads, gradTolerance));
  }
  const compiled = await evaluate(row, true);
  problems.push(...compareResults("compiled output", compiled.outputs, expected.outputs, tolerance));
  problems.push(...compareResults("compiled gradient", compiled.grads, expected.grads, gradTolerance));
  if (problems.length > 0) throw new Error(problems.join("\n"));
}

async function refuses(backend: string, row: ErrorCase): Promise<void> {
  await use(backend);
  const inputs = row.inputs.map((input, i) => tensorOf(input, i + 1));
  try {
    row.run(...inputs);
  } catch (error) {
    if (String(error) === row.throws) return;
    throw new Error(`throws\n  ${error}\nexpected\n  ${row.throws}`);
  } finally {
    for (const input of inputs) input.dispose();
  }
  throw new Error(`throws nothing, expected\n  ${row.throws}`);
}
