/**
 * Looking inside compiled functions: what they became, and where their time goes.
 *
 * @module
 */
import type { KernelTime } from "../core/backend.ts";
import { profileProgram, programsOf } from "./compile.ts";
import { bytesPerElement } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { type Program, sharePlace, type Step } from "../core/program.ts";
import { show, size } from "../core/shape.ts";

/** One kernel of a compiled function. */
export interface KernelReport {
  /** The ops fused into it, in order. */
  readonly name: string;
  /** How often it runs in one call: more than once inside a scan. */
  readonly times: number;
  /** What it iterates over, or computes. */
  readonly shape: readonly number[];
  /** Bytes read and written if nothing stays in a cache. */
  readonly bytes: number;
  /** Floating-point operations, a multiply-add counted as two. */
  readonly flops: number;
}

/** What a compiled function became for one signature. */
export interface Report {
  /** The arguments that it was compiled for: trees, shapes and dtypes. */
  readonly signature: string;
  /** The kernels, in the order in which they run. */
  readonly kernels: readonly KernelReport[];
  /** Bytes that all intermediates share. */
  readonly arenaBytes: number;
  /** Bytes of arguments, captured tensors and results. */
  readonly argumentBytes: number;
  /** Bytes that all kernels of one call read and write. */
  readonly bytes: number;
  /** Floating-point operations of one call. */
  readonly flops: number;
  /** The kernels and what flows between them, as a Mermaid flowchart. */
  readonly mermaid: string;
  /** What the backend was given: steps over buffers, fused ops as data. */
  readonly program: Program;
  /** The report as a table. */
  toString(): string;
}

/** A step that runs a kernel, and how many times it runs. */
interface Run {
  readonly step: Exclude<Step, { kind: "loop" }>;
  readonly times: number;
}

/** The kernels of a program in order, loops opened. */
function runsOf(steps: readonly Step[], times = 1): Run[] {
  return steps.flatMap((step) => step.kind === "loop" ? runsOf(step.steps, times * step.length) : [{ step, times }]);
}

function shapeOf(step: Run["step"]): readonly number[] {
  return step.kind === "region" ? [...step.region.outer, ...step.region.inner] : step.outputSpecs[0].shape;
}

function flopsOf(step: Run["step"]): number {
  const region = step.kind === "region" ? step.region : step.epilogue?.region;
  let flops = 0;
  if (region) {
    const places = size(region.outer) * size(region.inner);
    flops += places * region.body.filter(({ kind }) => kind === "scalar" || kind === "reduce").length;
  }
  if (step.kind === "op") flops += wholeFlops(step);
  return flops;
}

function wholeFlops({ op, inputs, outputSpecs, attrs }: Extract<Step, { kind: "op" }>): number {
  const out = size(outputSpecs[0].shape);
  switch (op) {
    case "matmul": {
      const { transposeA } = attrs as { transposeA: boolean };
      return 2 * out * inputs[0].shape.at(transposeA ? -2 : -1)!;
    }
    case "conv":
      return 2 * out * size(inputs[1].shape.slice(1));
    case "convInputGrad":
    case "convFilterGrad": {
      const dy = op === "convInputGrad" ? inputs[0] : inputs[1];
      const kernel = op === "convInputGrad" ? inputs[1].shape : outputSpecs[0].shape;
      return 2 * size(dy.shape) * size(kernel.slice(1));
    }
    case "attention":
    case "attentionGrad": { // products with the queries' and keys' channels, and with the values'
      const [q, , v] = inputs, [many, few] = op === "attention" ? [1, 1] : [3, 2];
      const [keys, channels] = v.shape.slice(-2);
      return 2 * keys * (many * size(q.shape) + few * size(q.shape.slice(0, -1)) * channels);
    }
    default:
      return out;
  }
}

function bytesOf(step: Run["step"], program: Program): number {
  const touched = step.kind === "region"
    ? [...step.inputs, ...step.outputs]
    : [...step.inputs.map(({ buffer }) => buffer), ...step.outputs, ...step.epilogue?.inputs ?? []];
  const total = (buffers: readonly number[]) =>
    [...new Set(buffers)].reduce((sum, i) => sum + program.buffers[i].bytes, 0);
  if (step.kind === "region" || step.inPlace === undefined) return total(touched);
  const { buffer } = step.inputs[step.inPlace], [output] = step.outputs;
  if (!sharePlace(program.buffers[buffer], program.buffers[output])) return total(touched);
  return 2 * total(touched.filter((i) => i !== buffer && i !== output)); // what is read is what is written
}

/** Inputs from number `own` on are tensors that the function closed over. */
function mermaidOf({ steps, inputs, buffers }: Program, own: number): string {
  // inside a loop, a piece of a buffer stands for the whole
  const whole = (buffer: number): number => {
    const { place } = buffers[buffer];
    return place.kind === "slice" ? whole(place.of) : buffer;
  };
  const labelOf = (input: number) => input < own ? `argument ${input}` : `captured ${input - own}`;
  const writer = new Map<number, string>();
  const lines = ["flowchart TD"];
  runsOf(steps).forEach(({ step, times }, i) => {
    const reads = step.kind === "region"
      ? step.inputs
      : [...step.inputs.map(({ buffer }) => buffer), ...step.epilogue?.inputs ?? []];
    lines.push(`  k${i}["${step.name} ${show(shapeOf(step))}${times > 1 ? ` × ${times}` : ""}"]`);
    for (const buffer of new Set(reads.map(whole))) {
      const from = writer.get(buffer);
      if (from) lines.push(`  ${from} --> k${i}`);
      else if (buffer < inputs.length) lines.push(`  in${buffer}([${labelOf(buffer)}]) --> k${i}`);
    }
    for (const buffer of step.outputs) writer.set(whole(buffer), `k${i}`);
  });
  return lines.join("\n");
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ").trimEnd()
  ).join("\n");
}

const mega = (n: number) => (n / 1e6).toFixed(2);
const short = (text: string) => text.length > 60 ? `${text.slice(0, 57)}...` : text;

/**
 * What a compiled function became, for the signature it was called with last.
 *
 * @param compiled A function made by `compile`, called at least once.
 * @returns The report; `String(report)` is a table.
 * @throws {ArgumentError} If `compile` did not make it, it was not called yet, or its backend runs graphs node by node.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("wasm");
 * const f = tn.compile((x: tn.Tensor) => tn.softmax(x));
 * f(tn.ones([8, 16]));
 * const { kernels } = tn.inspect(f);
 * assertEquals(kernels.map(({ name, shape }) => [name, shape]), [["reduceMax sub exp sum div mul", [8, 16]]]);
 * ```
 */
// deno-lint-ignore no-explicit-any -- any compiled function will do
export function inspect(compiled: (...args: any[]) => unknown): Report {
  const latest = programsOf(compiled).at(-1);
  if (!latest) throw new ArgumentError("Cannot inspect a compiled function before its first call");
  if (latest.lowered === null) {
    throw new ArgumentError("Cannot inspect this program: its backend runs graphs node by node");
  }
  const { lowered: { program }, graph, captured } = latest;
  const kernels = runsOf(program.steps).map(({ step, times }) => ({
    name: step.name,
    times,
    shape: shapeOf(step),
    bytes: times * bytesOf(step, program),
    flops: times * flopsOf(step),
  }));
  const total = (pick: (kernel: KernelReport) => number) => kernels.reduce((sum, kernel) => sum + pick(kernel), 0);
  const bytes = total((kernel) => kernel.bytes), flops = total((kernel) => kernel.flops);
  const argumentBytes = [...program.inputs, ...program.outputs]
    .reduce((sum, { shape, dtype }) => sum + size(shape) * bytesPerElement(dtype), 0);
  const text = () =>
    table([
      ["kernel", "times", "shape", "MB", "MFLOP"],
      ...kernels.map(({ name, times, shape, bytes, flops }) => [
        short(name),
        `${times}`,
        show(shape),
        mega(bytes),
        mega(flops),
      ]),
      [
        `${kernels.length} kernel${kernels.length === 1 ? "" : "s"}, arena ${mega(program.arenaBytes)} MB`,
        "",
        "",
        mega(bytes),
        mega(flops),
      ],
    ]);
  const report = {
    signature: latest.signature,
    kernels,
    arenaBytes: program.arenaBytes,
    argumentBytes,
    bytes,
    flops,
    mermaid: mermaidOf(program, graph.inputs.length - captured.length),
    program,
  };
  return Object.defineProperty(report, "toString", { value: text });
}

/** Where the time of one call went. */
export interface Profile {
  /** When each kernel began and how long it took, in the order in which they ran. */
  readonly times: readonly KernelTime[];
  /** Milliseconds from the first kernel's start to the last one's end. */
  readonly total: number;
  /** Chrome trace events as JSON: open it in Perfetto. */
  readonly trace: string;
  /** Kernels by time, as a table. */
  toString(): string;
}

/**
 * Runs a compiled function once and says how long each kernel took. Donated arguments stay alive.
 *
 * @param compiled A function made by `compile`; it need not have been called before.
 * @param args What to call it with.
 * @returns Times in milliseconds; `String(profile)` is a table, `trace` opens in Perfetto.
 * @throws {ArgumentError} If `compile` did not make it.
 * @throws {BackendError} If the backend keeps no times.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("wasm");
 * const f = tn.compile((x: tn.Tensor) => tn.matmul(tn.softmax(x), x));
 * const profile = await tn.profile(f, tn.ones([64, 64]));
 * assertEquals(profile.times.map(({ name }) => name), ["reduceMax sub exp sum div mul", "matmul"]);
 * ```
 */
export async function profile<A extends unknown[]>(compiled: (...args: A) => unknown, ...args: A): Promise<Profile> {
  const times = await profileProgram(compiled, args);
  const total = times.reduce((end, { start, duration }) => Math.max(end, start + duration), 0);
  const byName = new Map<string, { count: number; duration: number }>();
  for (const { name, duration } of times) {
    const entry = byName.get(name) ?? { count: 0, duration: 0 };
    byName.set(name, { count: entry.count + 1, duration: entry.duration + duration });
  }
  const rows = [...byName].sort(([, a], [, b]) => b.duration - a.duration);
  const text = () =>
    table([
      ["kernel", "calls", "ms", "share"],
      ...rows.map(([name, { count, duration }]) => [
        short(name),
        `${count}`,
        duration.toFixed(3),
        `${(100 * duration / total).toFixed(1)}%`,
      ]),
      ["total", `${times.length}`, total.toFixed(3), ""],
    ]);
  const events = times.map(({ name, start, duration }) => ({
    name,
    ph: "X",
    ts: start * 1e3,
    dur: duration * 1e3,
    pid: 1,
    tid: 1,
  }));
  const trace = JSON.stringify({ traceEvents: events, displayTimeUnit: "ms" });
  return Object.defineProperty({ times, total, trace }, "toString", { value: text });
}
