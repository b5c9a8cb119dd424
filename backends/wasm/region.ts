/**
 * Lowers a region: chooses the loops, names the structure, and makes the calls.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import { bytesPerElement } from "../../core/dtype.ts";
import type { Region } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { stepOf } from "./access.ts";
import { type Access, extent, mergeAxes, planLoops } from "./axes.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, floatWord, type Kernel, kernel, type Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { RegionWriter } from "./region_code.ts";
import { analyze, type RegionAnalysis, weightOf } from "./region_analysis.ts";
import { lanesOf } from "./scalar.ts";
import { splitReduction, splitRows } from "./split.ts";

function accessKey({ rows, nest, vector }: Access): string {
  return [...rows, "/", ...nest, "/"].map((s) => s === "/" ? s : s === 0 ? "0" : "s").join("") + stepOf(vector);
}

/** Names a region's structure. */
export function keyOf(analysis: RegionAnalysis): string {
  const { plan, storeTypes, shiftCounts } = analysis;
  const { rows, nest, along } = plan.loops;
  const instrs = plan.body.map((instr, i) => {
    switch (instr.kind) {
      case "load":
      case "index":
      case "result":
        return `${instr.kind}:${instr.dtype}:${accessKey(instr.access)}`;
      case "const":
        return `const:${instr.dtype}`;
      case "reduce":
        return `${instr.op}!:${instr.dtype}(${instr.arg})`;
      case "scalar":
        return `${instr.op}:${instr.dtype}(${instr.args})${shiftCounts.get(i) ?? ""}`;
    }
  });
  const stores = plan.stores.map(({ value, access }, k) => `${value}>${storeTypes[k]}:${accessKey(access)}`);
  const kept = analysis.kept.size > 0 ? "keep" : "";
  const loops = `${along ? "along" : "across"}${rows.length}.${nest.length}x${analysis.copies}u${analysis.unit}${kept}${
    analysis.transposed.length > 0 ? `tiled${analysis.transposed}` : ""
  }`;
  return `${loops} ${instrs.join(" ")} ${stores.join(" ")}`;
}

/** Adds the strides of one operand to an argument block. */
function addStrides(args: Record<string, Arg>, name: string, access: Access, unit: number): void {
  access.rows.forEach((stride, k) => {
    if (stride !== 0) args[`${name}r${k}`] = stride * unit;
  });
  access.nest.forEach((stride, k) => {
    if (stride !== 0) args[`${name}n${k}`] = stride * unit;
  });
  if (stepOf(access.vector) === "s") args[`${name}v`] = access.vector * unit;
}

/** The argument block: sizes, then each operand's place and strides. */
export function argsFor(
  analysis: RegionAnalysis,
  inputs: readonly Ref[],
  outputs: readonly Ref[],
): Record<string, Arg> {
  const { plan, storeTypes } = analysis;
  const args: Record<string, Arg> = { vector: plan.loops.vector };
  plan.loops.rows.forEach((n, k) => args[`row${k}`] = n);
  plan.loops.nest.forEach((n, k) => args[`nest${k}`] = n);
  const place = (ref: Ref, elements: number, bytes: number) => ({ ...ref, offset: ref.offset + elements * bytes });
  plan.body.forEach((instr, i) => {
    const name = `i${i}`;
    if (instr.kind === "const") args[name] = constantWord(instr.value, instr.dtype);
    if (instr.kind === "index") {
      args[name] = instr.offset;
      addStrides(args, name, instr.access, 1);
    }
    if (instr.kind === "load") {
      const bytes = bytesPerElement(instr.dtype);
      args[name] = place(inputs[instr.input], instr.offset, bytes);
      addStrides(args, name, instr.access, bytes);
    }
  });
  plan.stores.forEach((store, k) => {
    const bytes = bytesPerElement(storeTypes[k]);
    args[`s${k}`] = place(outputs[store.output], store.offset, bytes);
    addStrides(args, `s${k}`, store.access, bytes);
  });
  return args;
}

function constantWord(value: number, dtype: DType): number {
  const lanes = lanesOf(dtype);
  if (lanes === "f32") return floatWord(value);
  return lanes === "bool" ? (value ? -1 : 0) : value | 0;
}

function kernelFor(analysis: RegionAnalysis, args: readonly string[]): Kernel {
  return kernel(`region ${keyOf(analysis)}`, args, ({ f, args, begin, end }) => {
    const { rows, along } = analysis.plan.loops;
    const wholeRows = along || rows.length > 0;
    new RegionWriter(f, args, analysis).write({
      rowBegin: wholeRows ? begin : i32.const(0),
      rowEnd: wholeRows ? end : i32.const(1),
      columnBegin: wholeRows ? i32.const(0) : begin,
      columnEnd: wholeRows ? args.vector : end,
    });
  });
}

/** A region with the places that it reads and writes. */
export interface BoundRegion {
  readonly name: string;
  readonly region: Region;
  readonly inputs: readonly Ref[];
  readonly outputs: readonly Ref[];
  /** Types of the output buffers. */
  readonly outputTypes: readonly DType[];
}

/** The calls that compute a region. `temporary` gives memory that lives until the step ends. */
export function lowerRegion(bound: BoundRegion, temporary: (bytes: number) => Ref): Call[] {
  const region = mergeAxes(bound.region);
  if (size(region.outer) === 0 || region.stores.length === 0) return [];
  const parts = splitReduction({ ...bound, region }, temporary);
  if (parts) return parts.map((part) => callFor({ ...part, region: mergeAxes(part.region) }));
  return [callFor({ ...bound, region: splitRows(region) })];
}

/** Elements in memory: where the first is, and strides in elements. */
export interface Strided {
  readonly ref: Ref;
  readonly strides: readonly number[];
}

/** What to copy where; f32 if the type is not given. */
export interface Copy {
  readonly shape: readonly number[];
  readonly from: Strided;
  readonly to: Strided;
  readonly dtype?: DType;
}

/** The calls that copy elements of an op's operand. */
export function lowerCopy({ name, temporary }: OpCall, { shape, from, to, dtype = "f32" }: Copy): Call[] {
  const region: Region = {
    outer: shape,
    inner: [],
    body: [{ kind: "load", input: 0, strides: from.strides, offset: 0, dtype }],
    stores: [{ value: 0, output: 0, strides: to.strides, offset: 0 }],
  };
  return lowerRegion({ name, region, inputs: [from.ref], outputs: [to.ref], outputTypes: [dtype] }, temporary);
}

/** Nanoseconds that a vector instruction takes for one element. */
const INSTRUCTION = 0.12;

function callFor(bound: BoundRegion): Call {
  const { region } = bound;
  const storeTypes = region.stores.map((store) => bound.outputTypes[store.output]);
  const analysis = analyze(planLoops(region), storeTypes);
  const args = argsFor(analysis, bound.inputs, bound.outputs);
  const { rows, along, vector } = analysis.plan.loops;
  const wholeRows = along || rows.length > 0;
  const total = wholeRows ? size(rows) : vector;
  const cost = weightOf(analysis.plan) * INSTRUCTION * extent(region) / total;
  const chunk = chunkOf(total, cost, wholeRows && analysis.transposed.length === 0 ? 1 : 16);
  return { name: bound.name, kernel: kernelFor(analysis, Object.keys(args)), args, total, chunk };
}
