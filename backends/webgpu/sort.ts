/**
 * Stable sorting: short rows by counting what comes before each element, long ones by a bitonic network on indices.
 *
 * @module
 */
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { SortAttrs } from "../../ops/sort.ts";
import { laneOf } from "./scalar.ts";
import { type Context, type Kernel, Shader } from "./shader.ts";

/** Rows up to this length are sorted by counting. */
const COUNTED = 512;

/** Rows of `n` elements `inner` apart. */
interface Rows {
  readonly count: number;
  readonly n: number;
  readonly inner: number;
}

/** The order that makes an argument sort: indices into each row. */
export function lowerArgsort(step: OpStep, context: Context): Kernel[] {
  const [{ shape }] = step.inputs;
  const { axis } = step.attrs as SortAttrs;
  const n = shape[axis];
  if (size(shape) === 0) return [];
  const rows = { count: size(shape) / n, n, inner: size(shape.slice(axis + 1)) };
  return n <= COUNTED ? [countRanks(step, context, rows)] : bitonic(step, context, rows);
}

/** Declares `before(start, i, j)`: whether element i of a row comes before element j; NaNs come last. */
function declareOrder(shader: Shader, step: OpStep, { n, inner }: Rows): void {
  const [{ buffer, dtype }] = step.inputs;
  const { descending } = step.attrs as SortAttrs;
  const lane = laneOf(dtype) === "bool" ? "i32" : laneOf(dtype);
  const stored = dtype === "bool" ? "i32" : dtype;
  const nan = (x: string) => lane === "f32" ? `${shader.library.use("isNaN", 1)}(${x})` : "false";
  const compare = (a: string, b: string) => shader.scalar(descending ? "greater" : "less", [a, b], lane, "bool", 1);
  const load = (i: string) =>
    shader.load(
      shader.context.buffer(buffer),
      stored,
      `start + min(${i}, ${shader.num(n)} - 1u) * ${shader.num(inner)}`,
      1,
    );
  shader.globals.push(
    `fn before(start: u32, i: u32, j: u32) -> bool {`,
    `  let a = ${load("i")};`,
    `  let b = ${load("j")};`,
    `  let first = !${nan("a")} && (${nan("b")} || ${compare("a", "b")});`,
    `  let last = !${nan("b")} && (${nan("a")} || ${compare("b", "a")});`,
    `  return first || (!last && i < j);`,
    `}`,
  );
}

/** First element of a row. */
function startOf(shader: Shader, row: string, { n, inner }: Rows): string {
  const stride = shader.num(inner);
  return shader.let(`${row} / ${stride} * ${shader.num(n)} * ${stride} + ${row} % ${stride}`, "start");
}

function countRanks(step: OpStep, context: Context, rows: Rows): Kernel {
  const { count, n, inner } = rows;
  const shader = new Shader(step.name, context);
  declareOrder(shader, step, rows);
  const { index, groups } = shader.linear(count * n);
  const row = shader.let(`${index} / ${shader.num(n)}`, "row");
  const own = shader.let(`${index} - ${row} * ${shader.num(n)}`, "own");
  const start = startOf(shader, row, rows);
  shader.add("var rank = 0u;", `for (var j = 0u; j < ${shader.num(n)}; j++) {`);
  shader.add(`if (j != ${own} && before(${start}, j, ${own})) { rank++; }`, "}");
  const at = `${start} + rank * ${shader.num(inner)}`;
  shader.add(shader.store(context.buffer(step.outputs[0]), "i32", at, `i32(${own})`, 1));
  return shader.finish(groups);
}

/** K. E. Batcher, Sorting networks and their applications, 1968; padding sorts behind everything. */
function bitonic(step: OpStep, context: Context, rows: Rows): Kernel[] {
  const { count, n, inner } = rows;
  const padded = 2 ** Math.ceil(Math.log2(n));
  const order = context.scratch("u32", count * padded);
  const kernels = [startOrder(step, context, count * padded, padded, order)];
  for (let block = 2; block <= padded; block *= 2) {
    for (let apart = block / 2; apart >= 1; apart /= 2) {
      kernels.push(exchange(step, context, rows, { padded, block, apart, order }));
    }
  }
  const shader = new Shader(`${step.name} end`, context);
  const { index, groups } = shader.linear(count * n);
  const row = shader.let(`${index} / ${shader.num(n)}`, "row");
  const own = shader.let(`${index} - ${row} * ${shader.num(n)}`, "own");
  const value = shader.load(order, "u32", `${row} * ${shader.num(padded)} + ${own}`, 1);
  const at = `${startOf(shader, row, rows)} + ${own} * ${shader.num(inner)}`;
  shader.add(shader.store(context.buffer(step.outputs[0]), "i32", at, `i32(${value})`, 1));
  return [...kernels, shader.finish(groups)];
}

function startOrder(step: OpStep, context: Context, count: number, padded: number, order: BufferPlan): Kernel {
  const shader = new Shader(`${step.name} begin`, context);
  const { index, groups } = shader.linear(count);
  shader.add(shader.store(order, "u32", index, `${index} % ${shader.num(padded)}`, 1));
  return shader.finish(groups);
}

interface Exchange {
  readonly padded: number;
  readonly block: number;
  readonly apart: number;
  readonly order: BufferPlan;
}

/** One column of the network: pairs `apart` from each other, in blocks that run up and down in turn. */
function exchange(step: OpStep, context: Context, rows: Rows, { padded, block, apart, order }: Exchange): Kernel {
  const { count } = rows;
  const shader = new Shader(step.name, context);
  declareOrder(shader, step, rows);
  const { index, groups } = shader.linear((count * padded) / 2);
  const half = shader.uniform(padded / 2);
  const distance = shader.let(shader.uniform(apart), "apart");
  const row = shader.let(`${index} / ${half}`, "row");
  const pair = shader.let(`${index} - ${row} * ${half}`, "pair");
  const low = shader.let(`${pair} / ${distance} * 2u * ${distance} + ${pair} % ${distance}`, "low");
  const at = shader.let(`${row} * ${shader.uniform(padded)} + ${low}`, "at");
  const start = startOf(shader, row, rows);
  shader.add(`let first = ${shader.load(order, "u32", at, 1)};`);
  shader.add(`let second = ${shader.load(order, "u32", `${at} + ${distance}`, 1)};`);
  const n = shader.num(rows.n);
  shader.add(`let ordered = first < ${n} && (second >= ${n} || before(${start}, first, second));`);
  shader.add(`let padding = first >= ${n} && second >= ${n} && first < second;`);
  shader.add(`if ((ordered || padding) != ((${low} & ${shader.uniform(block)}) == 0u)) {`);
  shader.add(
    shader.store(order, "u32", at, "second", 1),
    shader.store(order, "u32", `${at} + ${distance}`, "first", 1),
    "}",
  );
  return shader.finish(groups);
}
