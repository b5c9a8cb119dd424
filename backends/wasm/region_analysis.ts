/**
 * What the code of a region needs to know: which values change in which loops, which passes there are, what is worth
 * keeping between them.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { Instr } from "../../core/program.ts";
import { stepOf } from "./access.ts";
import type { Access, RegionPlan } from "./axes.ts";
import { costOf, lanesOf } from "./scalar.ts";
import { requireScratch } from "./scratch.ts";

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
export interface RegionAnalysis {
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
  /** Vectors done at once by the main loop, in lockstep. */
  readonly copies: number;
  /** What all lengths along the vector axis are multiples of: the main loop's step, a vector, or 1. */
  readonly unit: number;
  /**
   * Loads that are contiguous along the last row axis and not along the vector axis. If there are any, the region is
   * written in tiles of four rows by four columns.
   */
  readonly transposed: readonly number[];
  /** Counts of shifts by constants: they are part of the code. */
  readonly shiftCounts: ReadonlyMap<number, number>;
  /** Exponentials that are never above 1: of a value less the greatest of its row. */
  readonly weights: ReadonlySet<number>;
  /** Costly values that a later pass reads again: the pass that makes them, and their place in scratch memory. */
  readonly kept: ReadonlyMap<number, { readonly pass: number; readonly slot: number }>;
}

/** Instructions of an op whose value is worth keeping. */
const WORTH_KEEPING = 15;
/** Scratch memory for one kept value, in elements. */
const KEPT_ELEMENTS = 1 << 15;
const MOST_KEPT = 4;
requireScratch("the values of a row", 4 * KEPT_ELEMENTS * MOST_KEPT);

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
    const seen = new Set<number>(); // values share operands: without it, every path would be walked
    const visit = (i: number) => {
      if (seen.has(i)) return;
      seen.add(i);
      const instr = plan.body[i];
      if (!depends[i].vector || instr.kind !== "scalar" || kept.has(i) || kept.size === MOST_KEPT) return;
      const first = firstPass.get(i);
      if (first === undefined) firstPass.set(i, index);
      else if (first < index && costOf(instr.op) >= WORTH_KEEPING && lanesOf(instr.dtype) === "f32") {
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

function weightsOf({ body }: RegionPlan): Set<number> {
  const isWeight = (i: number) => {
    const exp = body[i];
    const shifted = exp.kind === "scalar" && exp.op === "exp" ? body[exp.args[0]] : null;
    if (shifted?.kind !== "scalar" || shifted.op !== "sub") return false;
    const [value, peak] = shifted.args, reduce = body[peak];
    return reduce.kind === "reduce" && reduce.op === "max" && reduce.arg === value;
  };
  return new Set(body.keys().filter(isWeight));
}

/** Loads to be read in tiles, where tiles fit. */
function transposedOf(plan: RegionPlan, needed: ReadonlySet<number>): number[] {
  const { rows, nest, vector, along } = plan.loops;
  if (along || nest.length > 0 || rows.length === 0 || rows.at(-1)! % 4 !== 0 || vector % 4 !== 0) return [];
  if (plan.body.some(({ kind }) => kind === "result")) return []; // an epilogue's block starts at any row
  return plan.body.flatMap(({ kind, access }, i) =>
    kind === "load" && needed.has(i) && access.rows.at(-1) === 1 && stepOf(access.vector) === "s" ? [i] : []
  );
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

/** See `RegionAnalysis.copies`. Short rows would spend their time putting the sums of the copies together. */
function copiesOf({ loops: { vector, along } }: RegionPlan): number {
  if (vector < 16) return 1;
  return along && vector < 32 ? 2 : 4;
}

/** See `RegionAnalysis.unit`. The blocks of an epilogue are of any length. */
function unitOf({ loops: { vector }, body }: RegionPlan, step: number): number {
  if (vector % 4 !== 0) return 1;
  return vector % step === 0 && body.every(({ kind }) => kind !== "result") ? step : 4;
}

/** Works out what a region's code needs to know. */
export function analyze(plan: RegionPlan, storeTypes: readonly DType[]): RegionAnalysis {
  const depends = dependsOf(plan);
  const needed = neededOf(plan);
  const fullStores = new Set(plan.stores.flatMap((store, k) => isFull(plan, store, depends) ? [k] : []));
  const passes = passesOf(plan, fullStores, stagesOf(plan));
  const moving = plan.body.flatMap(({ kind }, i) =>
    needed.has(i) && (kind === "load" || kind === "index" || kind === "result") ? [i] : []
  );
  const copies = copiesOf(plan);
  return {
    plan,
    storeTypes,
    needed,
    depends,
    passes,
    fullStores,
    operands: [...moving, ...plan.stores.map((_, k) => ~k)],
    copies,
    unit: unitOf(plan, 4 * copies),
    transposed: transposedOf(plan, needed),
    shiftCounts: shiftCountsOf(plan),
    weights: weightsOf(plan),
    kept: keptOf(plan, passes, depends),
  };
}
