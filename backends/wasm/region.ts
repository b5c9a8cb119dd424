/**
 * Lowers a region: chooses the loops, names the structure, and makes the calls.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import { bytesPerElement } from "../../core/dtype.ts";
import type { Instr, Region } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { stepOf } from "./access.ts";
import { type Access, extent, mergeAxes, planLoops, type RegionPlan } from "./axes.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, floatWord, type Kernel, kernel, type Ref } from "./kernel.ts";
import { RegionWriter } from "./region_code.ts";
import { costOf, lanesOf } from "./scalar.ts";
import { splitReduction } from "./split.ts";

/** Which loops an instruction's value changes in. */
export interface Depends {
  readonly rows: boolean;
  readonly nest: boolean;
  readonly vector: boolean;
}

/** One sweep over the inner axes. */
export interface Pass {
  /** Reductions made in it. */
  readonly reduces: readonly number[];
  /** Stores made in it. */
  readonly stores: readonly number[];
}

/** Everything that a region's code depends on. */
export interface RegionShape {
  readonly plan: RegionPlan;
  readonly storeTypes: readonly DType[];
  /** Instructions that some store rests on. */
  readonly needed: ReadonlySet<number>;
  readonly depends: readonly Depends[];
  readonly passes: readonly Pass[];
  /** Stores with an element for every inner place. */
  readonly fullStores: ReadonlySet<number>;
  /** What moves through memory: loads, indices and results by number, stores by its complement. */
  readonly operands: readonly number[];
  /** Vectors done at once by the main loop. */
  readonly copies: number;
  /** Whether the vector axis is a multiple of 4, so that no elements are left over. */
  readonly even: boolean;
  /** Counts of shifts by constants: they are part of the code. */
  readonly shiftCounts: ReadonlyMap<number, number>;
  /** Costly values that a later pass reads again: the pass that makes them, and their place in scratch memory. */
  readonly kept: ReadonlyMap<number, { readonly pass: number; readonly slot: number }>;
}

/** Scratch memory for one kept value, in elements. */
const KEPT_ELEMENTS = 1 << 15;
const MOST_KEPT = 4;

function argsOf(instr: Instr): readonly number[] {
  return instr.kind === "scalar" ? instr.args : instr.kind === "reduce" ? [instr.arg] : [];
}

function neededOf(plan: RegionPlan): Set<number> {
  const needed = new Set(plan.stores.map((store) => store.value));
  for (let i = plan.body.length - 1; i >= 0; i--) {
    if (needed.has(i)) { for (const arg of argsOf(plan.body[i])) needed.add(arg); }
  }
  return needed;
}

function moves(access: Access): Depends {
  const any = (strides: readonly number[]) => strides.some((stride) => stride !== 0);
  return { rows: any(access.rows), nest: any(access.nest), vector: access.vector !== 0 };
}

function dependsOf(plan: RegionPlan): Depends[] {
  const depends: Depends[] = [];
  for (const instr of plan.body) {
    const own = moves(instr.access);
    const args = argsOf(instr).map((arg) => depends[arg]);
    const any = (key: keyof Depends) => own[key] || args.some((arg) => arg[key]);
    const value = { rows: any("rows"), nest: any("nest"), vector: any("vector") };
    depends.push(
      instr.kind === "reduce" ? { ...value, nest: false, vector: value.vector && !plan.loops.along } : value,
    );
  }
  return depends;
}

/** The number of passes that come before a value is known. */
function stagesOf(plan: RegionPlan): number[] {
  const stages: number[] = [];
  for (const instr of plan.body) {
    const before = Math.max(0, ...argsOf(instr).map((arg) => stages[arg]));
    stages.push(instr.kind === "reduce" ? before + 1 : before);
  }
  return stages;
}

/** Whether a store has an element for every inner place. */
function isFull(plan: RegionPlan, store: RegionPlan["stores"][number], depends: readonly Depends[]): boolean {
  const { along } = plan.loops;
  const moved = moves(store.access), value = depends[store.value];
  return moved.nest || value.nest || (along && (moved.vector || value.vector));
}

function passesOf(plan: RegionPlan, fullStores: ReadonlySet<number>, stages: readonly number[]): Pass[] {
  const stores = [...fullStores];
  const reduces = plan.body.flatMap((instr, i) => instr.kind === "reduce" ? [i] : []);
  const count = Math.max(0, ...reduces.map((i) => stages[i]), ...stores.map((k) => stages[plan.stores[k].value] + 1));
  return Array.from({ length: count }, (_, pass) => ({
    reduces: reduces.filter((i) => stages[i] === pass + 1),
    stores: pass === count - 1 ? stores : [],
  }));
}

/** Costly values that two passes need are kept, if rows are short enough. */
function keptOf(plan: RegionPlan, passes: readonly Pass[], depends: readonly Depends[]) {
  const kept = new Map<number, { pass: number; slot: number }>();
  const { along, nest, vector } = plan.loops;
  if (!along || nest.length > 0 || vector > KEPT_ELEMENTS || passes.length < 2) return kept;
  const firstPass = new Map<number, number>();
  passes.forEach((pass, index) => {
    const visit = (i: number) => {
      const instr = plan.body[i];
      if (!depends[i].vector || instr.kind !== "scalar" || kept.has(i) || kept.size === MOST_KEPT) return;
      const first = firstPass.get(i);
      if (first === undefined) firstPass.set(i, index);
      else if (first < index && costOf(instr.op) >= 15 && lanesOf(instr.dtype) === "f32") {
        kept.set(i, { pass: first, slot: kept.size });
        return;
      }
      instr.args.forEach(visit);
    };
    for (const reduce of pass.reduces) argsOf(plan.body[reduce]).forEach(visit);
    for (const store of pass.stores) visit(plan.stores[store].value);
  });
  return kept;
}

function shiftCountsOf(plan: RegionPlan): Map<number, number> {
  const counts = new Map<number, number>();
  plan.body.forEach((instr, i) => {
    if (instr.kind !== "scalar" || !instr.op.startsWith("shift")) return;
    const by = plan.body[instr.args[1]];
    if (by.kind === "const") counts.set(i, by.value);
  });
  return counts;
}

/** About how many vector instructions one element takes. */
export function weightOf(plan: RegionPlan): number {
  let weight = plan.stores.length;
  for (const instr of plan.body) {
    if (instr.kind === "scalar") weight += costOf(instr.op);
    else if (instr.kind === "load" || instr.kind === "reduce") weight += 1;
  }
  return weight;
}

/** Works out what a region's code needs to know. */
export function shapeOf(plan: RegionPlan, storeTypes: readonly DType[]): RegionShape {
  const depends = dependsOf(plan);
  const needed = neededOf(plan);
  const fullStores = new Set(plan.stores.flatMap((store, k) => isFull(plan, store, depends) ? [k] : []));
  const passes = passesOf(plan, fullStores, stagesOf(plan));
  const moving = plan.body.flatMap(({ kind }, i) =>
    needed.has(i) && (kind === "load" || kind === "index" || kind === "result") ? [i] : []
  );
  const weight = weightOf(plan);
  return {
    plan,
    storeTypes,
    needed,
    depends,
    passes,
    fullStores,
    operands: [...moving, ...plan.stores.map((_, k) => ~k)],
    copies: weight <= 10 ? 4 : weight <= 30 ? 2 : 1,
    even: plan.loops.vector % 4 === 0,
    shiftCounts: shiftCountsOf(plan),
    kept: keptOf(plan, passes, depends),
  };
}

function accessKey({ rows, nest, vector }: Access): string {
  return [...rows, "/", ...nest, "/"].map((s) => s === "/" ? s : s === 0 ? "0" : "s").join("") + stepOf(vector);
}

/** Names a region's structure. */
export function keyOf(shape: RegionShape): string {
  const { plan, storeTypes, shiftCounts } = shape;
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
  const kept = shape.kept.size > 0 ? "keep" : "";
  const loops = `${along ? "along" : "across"}${rows.length}.${nest.length}${shape.even ? "e" : ""}${kept}`;
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
export function argsFor(shape: RegionShape, inputs: readonly Ref[], outputs: readonly Ref[]): Record<string, Arg> {
  const { plan, storeTypes } = shape;
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

function kernelFor(shape: RegionShape, args: readonly string[]): Kernel {
  return kernel(`region ${keyOf(shape)}`, args, ({ f, args, begin, end }) => {
    const { rows, along } = shape.plan.loops;
    const wholeRows = along || rows.length > 0;
    new RegionWriter(f, args, shape).write({
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
  return [callFor({ ...bound, region })];
}

function callFor(bound: BoundRegion): Call {
  const { region } = bound;
  const storeTypes = region.stores.map((store) => bound.outputTypes[store.output]);
  const shape = shapeOf(planLoops(region), storeTypes);
  const args = argsFor(shape, bound.inputs, bound.outputs);
  const { rows, along, vector } = shape.plan.loops;
  const wholeRows = along || rows.length > 0;
  const total = wholeRows ? size(rows) : vector;
  const cost = weightOf(shape.plan) * 0.12 * extent(region) / total;
  const chunk = chunkOf(total, cost, wholeRows ? 1 : 16);
  return { name: bound.name, kernel: kernelFor(shape, Object.keys(args)), args, total, chunk };
}
