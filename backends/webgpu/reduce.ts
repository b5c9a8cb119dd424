/**
 * Reductions that are no sums of scalars: where the extreme of a row is, and running sums.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { ArgAttrs } from "../../ops/argmax.ts";
import type { CumulativeAttrs } from "../../ops/cumulative.ts";
import { laneOf } from "./scalar.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

const MOST_THREADS = 256;

/** One row per `threads` invocations of a workgroup. */
interface Rows {
  readonly count: number;
  readonly n: number;
  readonly inner: number;
  readonly threads: number;
  /** Rows of one workgroup. */
  readonly perGroup: number;
}

function rowsOf(step: OpStep, axis: number, context: Context): Rows {
  const [{ shape }] = step.inputs;
  const n = shape[axis];
  const count = n === 0 ? 0 : size(shape) / n;
  const many = context.software ? 32 : 1024;
  const threads = (count >= many || n <= 256) && n <= MAX_TURNS / 4
    ? 1
    : Math.min(MOST_THREADS, 2 ** Math.ceil(Math.log2(Math.max(16, n / 1024))));
  if (Math.ceil(n / threads) * 2 + threads > MAX_TURNS) {
    throw new BackendError(`Cannot run ${step.name} on webgpu: rows of ${n} are too long for one workgroup`);
  }
  return {
    count,
    n,
    inner: size(shape.slice(axis + 1)),
    threads,
    perGroup: threads === 1 ? (context.software ? 8 : 64) : 1,
  };
}

/** Names `row`, `thread` and the row's first element; a single-threaded invocation beyond the rows ends. */
function begin(shader: Shader, { count, n, inner, threads, perGroup }: Rows): { at: (j: string) => string } {
  shader.add("let workgroup = group.y * groups.x + group.x;");
  if (threads === 1) shader.add(`let row = workgroup * ${perGroup}u + local.x;`, "let thread = 0u;");
  else shader.add("let row = workgroup;", "let thread = local.x;");
  shader.add(`if (row >= ${shader.num(count)}) { return; }`);
  const stride = shader.num(inner);
  const start = shader.let(`row / ${stride} * ${shader.num(n)} * ${stride} + row % ${stride}`, "start");
  return { at: (j) => `${start} + (${j}) * ${stride}` };
}

function finish(shader: Shader, { count, threads, perGroup }: Rows): Kernel {
  return shader.finish(spread(Math.ceil(count / perGroup)), [threads * perGroup, 1]);
}

/** The first place whose element is NaN, or else beats all others. */
function lowerArg(op: "greater" | "less") {
  return (step: OpStep, context: Context): Kernel[] => {
    const [{ buffer, dtype }] = step.inputs;
    const rows = rowsOf(step, (step.attrs as ArgAttrs).axis, context);
    if (rows.count === 0) return [];
    const shader = new Shader(step.name, context);
    const lane = laneOf(dtype) === "bool" ? "i32" : laneOf(dtype);
    const nan = (x: string) => lane === "f32" ? `${shader.library.use("isNaN", 1)}(${x})` : "false";
    const compare = (a: string, b: string) => shader.scalar(op, [a, b], lane, "bool", 1);
    shader.globals.push(
      `fn beats(a: ${lane}, i: u32, b: ${lane}, j: u32) -> bool {`,
      `  let better = !${nan("b")} && (${nan("a")} || ${compare("a", "b")});`,
      `  let worse = !${nan("a")} && (${nan("b")} || ${compare("b", "a")});`,
      `  return better || (!worse && i < j);`,
      `}`,
    );
    const { at } = begin(shader, rows);
    const stored = dtype === "bool" ? "i32" : dtype;
    const load = (j: string) => shader.load(context.buffer(buffer), stored, at(j), 1);
    const n = shader.num(rows.n);
    shader.add(`var best = min(thread, ${n} - 1u);`, `var value = ${load("best")};`);
    shader.add(`for (var j = thread + ${rows.threads}u; j < ${n}; j += ${rows.threads}u) {`);
    shader.add(`let next = ${load("j")};`, "if (beats(next, j, value, best)) { value = next; best = j; }", "}");
    if (rows.threads > 1) {
      shader.globals.push(`var<workgroup> values: array<${lane}, ${rows.threads}>;`);
      shader.globals.push(`var<workgroup> places: array<u32, ${rows.threads}>;`);
      shader.add("values[thread] = value;", "places[thread] = best;", "workgroupBarrier();");
      for (let half = rows.threads / 2; half >= 1; half /= 2) {
        shader.add(
          `if (thread < ${half}u && beats(values[thread + ${half}u], places[thread + ${half}u], values[thread], places[thread])) {`,
        );
        shader.add(`values[thread] = values[thread + ${half}u];`, `places[thread] = places[thread + ${half}u];`, "}");
        shader.add("workgroupBarrier();");
      }
      shader.add("best = places[0];", "if (thread != 0u) { return; }");
    }
    shader.add(shader.store(context.buffer(step.outputs[0]), "i32", "row", "i32(best)", 1));
    return [finish(shader, rows)];
  };
}

/** Where the largest element of each row is. */
export const lowerArgmax: (step: OpStep, context: Context) => Kernel[] = lowerArg("greater");
/** Where the smallest element of each row is. */
export const lowerArgmin: (step: OpStep, context: Context) => Kernel[] = lowerArg("less");

/** Running sums: every invocation adds up its piece of the row, then goes over it again from where others end. */
export function lowerCumulativeSum(step: OpStep, context: Context): Kernel[] {
  const [{ buffer, dtype }] = step.inputs;
  const { axis, exclusive, reverse } = step.attrs as CumulativeAttrs;
  const rows = rowsOf(step, axis, context);
  if (rows.count === 0) return [];
  const shader = new Shader(step.name, context);
  const lane = laneOf(dtype);
  const { at } = begin(shader, rows);
  const n = shader.num(rows.n);
  const address = (j: string) => at(reverse ? `${n} - 1u - ${j}` : j);
  const load = (j: string) => shader.load(context.buffer(buffer), dtype, address(j), 1);
  const add = (a: string, b: string) => shader.scalar("add", [a, b], lane, dtype, 1);
  const length = shader.num(Math.ceil(rows.n / rows.threads));
  shader.add(`let start_j = min(thread * ${length}, ${n});`, `let end_j = min(start_j + ${length}, ${n});`);
  shader.add(`var sum = ${lane}(0);`);
  if (rows.threads > 1) {
    shader.globals.push(`var<workgroup> sums: array<${lane}, ${rows.threads}>;`);
    shader.add("for (var j = start_j; j < end_j; j++) {", `sum = ${add("sum", load("j"))};`, "}");
    shader.add("sums[thread] = sum;", "workgroupBarrier();", `sum = ${lane}(0);`);
    shader.add("for (var k = 0u; k < thread; k++) {", `sum = ${add("sum", "sums[k]")};`, "}");
  }
  shader.add("for (var j = start_j; j < end_j; j++) {", `let next = ${add("sum", load("j"))};`);
  const output = context.buffer(step.outputs[0]);
  shader.add(shader.store(output, dtype, address("j"), exclusive ? "sum" : "next", 1), "sum = next;", "}");
  return [finish(shader, rows)];
}
