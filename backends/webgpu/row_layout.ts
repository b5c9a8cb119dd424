/**
 * How the work of a region with inner axes is divided: which instruction belongs to which pass, and who reads what.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { Instr, Region, Store } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { type Context, MAX_TURNS } from "./shader.ts";

/** A reduction, and which instruction it is. */
export type Reduce = Extract<Instr, { kind: "reduce" }> & { readonly index: number };

/** How the work on rows is divided. */
export interface Layout {
  /** Axis along which four lanes lie, or -1. */
  readonly laneAxis: number;
  readonly lanes: "inner" | "outer" | "none";
  /** Invocations that share a row. */
  readonly threads: number;
  /** Rows (or fours of rows) that a workgroup works on. */
  readonly rows: number;
  /** Neighbouring invocations work on neighbouring rows, not on neighbouring places of a row. */
  readonly columns: boolean;
  /** Chunks that a row is cut into. */
  readonly chunks: number;
}

/** What a region does at which level. */
export interface Analysis {
  readonly passes: readonly (readonly Reduce[])[];
  /** Passes that must be done before an instruction can be computed. */
  readonly level: readonly number[];
  readonly isRow: readonly boolean[];
  readonly fullStores: readonly Store[];
  readonly rowStores: readonly Store[];
}

/** Sorts a region's instructions by pass and level. */
export function analyze({ outer, inner, body, stores }: Region): Analysis {
  const level: number[] = [], isRow: boolean[] = [];
  const passes: Reduce[][] = [];
  const overInner = (strides: readonly number[]) => inner.some((_, i) => strides[outer.length + i] !== 0);
  body.forEach((instr, index) => {
    const args = instr.kind === "scalar" ? instr.args : instr.kind === "reduce" ? [instr.arg] : [];
    const before = Math.max(0, ...args.map((arg) => level[arg]));
    if (instr.kind === "reduce") (passes[before] ??= []).push({ ...instr, index });
    level.push(instr.kind === "reduce" ? before + 1 : before);
    isRow.push(
      instr.kind === "scalar"
        ? args.every((arg) => isRow[arg])
        : instr.kind === "load" || instr.kind === "index"
        ? !overInner(instr.strides)
        : true,
    );
  });
  const full = (store: Store) => !isRow[store.value] || overInner(store.strides);
  return {
    passes: Array.from(passes, (pass) => pass ?? []),
    level,
    isRow,
    fullStores: stores.filter(full),
    rowStores: stores.filter((store) => !full(store)),
  };
}

/** The axis along which most of what is read at full level lies side by side. */
function chooseLanes(
  { outer, inner, body }: Region,
  { isRow }: Analysis,
): Pick<Layout, "laneAxis" | "lanes" | "columns"> {
  const last = outer.length + inner.length - 1;
  let inside = 0, outside = 0;
  body.forEach((instr, i) => {
    if (instr.kind !== "load" || isRow[i]) return;
    if (instr.strides[last] === 1) inside++;
    else if (instr.strides[outer.length - 1] === 1) outside++;
  });
  const columns = outside > inside;
  if (columns && outer.at(-1)! % 4 === 0) return { laneAxis: outer.length - 1, lanes: "outer", columns };
  if (!columns && inside > 0 && inner.at(-1)! % 4 === 0) return { laneAxis: last, lanes: "inner", columns };
  return { laneAxis: -1, lanes: "none", columns };
}

const powerOf2 = (n: number) => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

/** Invocations per row and rows per workgroup: enough of both to keep the device busy. */
export function chooseLayout(name: string, region: Region, analysis: Analysis, context: Context): Layout {
  const lanes = chooseLanes(region, analysis);
  const rows = size(region.outer) / (lanes.lanes === "outer" ? 4 : 1);
  const length = Math.ceil(size(region.inner) / (lanes.lanes === "inner" ? 4 : 1));
  const loops = analysis.passes.length + (analysis.fullStores.length > 0 ? 1 : 0);
  const splittable = analysis.passes.length === 1 && analysis.fullStores.length === 0;
  const [busy, width, most] = context.software ? [64, 8, 256] : [16384, lanes.columns ? 32 : 64, 256];
  let threads = Math.min(most, powerOf2(busy / rows), powerOf2(length / 4));
  if (rows >= busy / 2) threads = context.software || length <= 16 ? 1 : Math.min(threads, 8);
  threads = Math.min(most, Math.max(threads, powerOf2((length * loops) / MAX_TURNS)));
  let chunks = 1;
  if (splittable && rows * threads < busy * 16 && length / threads > 1024) {
    chunks = Math.min(1024, Math.ceil(length / threads / 512), Math.max(2, Math.ceil((busy * 16) / (rows * threads))));
    chunks = Math.max(chunks, Math.ceil(length / threads / MAX_TURNS));
  }
  if ((length / threads / chunks) * loops > MAX_TURNS || chunks > MAX_TURNS) {
    throw new BackendError(
      `Cannot run ${name} on webgpu: rows of ${size(region.inner)} are too long for one workgroup`,
    );
  }
  return { ...lanes, threads, chunks, rows: threads === 1 ? width : Math.max(1, Math.floor(width / threads)) };
}
