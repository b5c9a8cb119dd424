/**
 * Which loop does what: turns a region into loops over rows, an inner nest, and one *vector axis* that is walked four
 * elements at a time.
 *
 * ```text
 *  across: for rows { for columns, 4 at a time { for inner { ... } } }   the vector axis is an outer one
 *  along:  for rows { for inner { for the last inner axis, 4 at a time { ... } } }
 * ```
 *
 * A map (no inner axes) is the first kind with an empty nest.
 *
 * @module
 */
import type { Instr, Region, Store } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { costOf } from "./scalar.ts";

/** Strides of one operand, sorted by loop; in elements, or in whole numbers for an index. */
export interface Access {
  readonly rows: readonly number[];
  readonly nest: readonly number[];
  readonly vector: number;
}

/** Sizes of the loops. */
export interface Loops {
  readonly rows: readonly number[];
  readonly nest: readonly number[];
  readonly vector: number;
  /** Whether the vector axis is an inner one, so that reductions combine lanes. */
  readonly along: boolean;
}

/** An instruction with its strides sorted by loop. */
export type Planned<T> = T & { readonly access: Access };

/** A region made ready for code: the same instructions, their strides sorted by loop. */
export interface RegionPlan {
  readonly loops: Loops;
  readonly body: readonly Planned<Instr>[];
  readonly stores: readonly Planned<Store>[];
}

const NO_ACCESS: Access = { rows: [], nest: [], vector: 0 };

/** All stride lists of a region. */
function strideLists(region: Region): (readonly number[])[] {
  const lists = region.stores.map((store) => store.strides);
  for (const instr of region.body) if (instr.kind === "load" || instr.kind === "index") lists.push(instr.strides);
  return lists;
}

/** Groups of neighbouring axes that every operand walks as if they were one, axes of size 1 left out. */
function mergeable(sizes: readonly number[], first: number, lists: readonly (readonly number[])[]): number[][] {
  const groups: number[][] = [];
  for (let i = 0; i < sizes.length; i++) {
    if (sizes[i] === 1) continue;
    const axis = first + i;
    const last = groups.at(-1)?.at(-1);
    if (last !== undefined && lists.every((strides) => strides[last] === strides[axis] * sizes[i])) {
      groups.at(-1)!.push(axis);
    } else {
      groups.push([axis]);
    }
  }
  return groups;
}

/** The same region with as few axes as possible. A region with inner axes keeps one. */
export function mergeAxes(region: Region): Region {
  const sizes = [...region.outer, ...region.inner];
  const lists = strideLists(region);
  const outer = mergeable(region.outer, 0, lists);
  const inner = mergeable(region.inner, region.outer.length, lists);
  if (region.inner.length > 0 && inner.length === 0) inner.push([sizes.length - 1]);
  const groups = [...outer, ...inner];
  const pickStrides = (strides: readonly number[]) => groups.map((group) => strides[group.at(-1)!]);
  const sizeOf = (group: readonly number[]) => group.reduce((n, axis) => n * sizes[axis], 1);
  return mapStrides({ ...region, outer: outer.map(sizeOf), inner: inner.map(sizeOf) }, pickStrides);
}

/** The same region with every stride list replaced; the caller gives the axes that go with them. */
export function mapStrides(region: Region, change: (strides: readonly number[]) => number[]): Region {
  return {
    ...region,
    body: region.body.map((instr) =>
      instr.kind === "load" || instr.kind === "index" ? { ...instr, strides: change(instr.strides) } : instr
    ),
    stores: region.stores.map((store) => ({ ...store, strides: change(store.strides) })),
  };
}

/** About how long one element takes, in vector instructions, if `axis` were the vector axis. */
function costAlong(region: Region, axis: number, n: number): number {
  const ROW_OVERHEAD = 4;
  const CONTIGUOUS = 1, GATHERED = 6;
  let cost = 0;
  const visit = (strides: readonly number[]) => {
    if (strides[axis] !== 0) cost += strides[axis] === 1 ? CONTIGUOUS : GATHERED;
  };
  for (const instr of region.body) {
    if (instr.kind === "load") visit(instr.strides);
    else if (instr.kind === "scalar") cost += costOf(instr.op);
  }
  for (const store of region.stores) visit(store.strides);
  const steps = Math.floor(n / 4) + n % 4;
  return (steps * (cost + 1) + ROW_OVERHEAD) / n;
}

/** The axis to walk in vectors: the cheapest, the last of equals. */
function vectorAxis(region: Region): number {
  const sizes = [...region.outer, ...region.inner];
  let best = sizes.length - 1, least = Infinity;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const cost = costAlong(region, axis, sizes[axis]);
    if (cost < least) [best, least] = [axis, cost];
  }
  return best;
}

/** Row axes, the one along which something is read that lies across the vector axis last: see `RegionAnalysis.transposed`. */
function transposedLast(region: Region, rows: readonly number[], vector: number): number[] {
  const last = rows.find((axis) =>
    region.body.some((instr) => instr.kind === "load" && instr.strides[axis] === 1 && instr.strides[vector] > 1)
  );
  return last === undefined ? [...rows] : [...rows.filter((axis) => axis !== last), last];
}

/** Chooses the loops. With `lastOuter` the vector axis is the last outer one, as an epilogue needs it. */
export function planLoops(region: Region, lastOuter = false): RegionPlan {
  const sizes = [...region.outer, ...region.inner];
  const rank = region.outer.length;
  const vector = lastOuter ? rank - 1 : vectorAxis(region);
  const axes = sizes.map((_, axis) => axis).filter((axis) => axis !== vector);
  const outer = axes.filter((axis) => axis < rank), nest = axes.filter((axis) => axis >= rank);
  const rows = lastOuter ? outer : transposedLast(region, outer, vector);
  const accessOf = (strides: readonly number[]): Access => ({
    rows: rows.map((axis) => strides[axis]),
    nest: nest.map((axis) => strides[axis]),
    vector: strides[vector] ?? 0,
  });
  return {
    loops: {
      rows: rows.map((axis) => sizes[axis]),
      nest: nest.map((axis) => sizes[axis]),
      vector: sizes[vector] ?? 1,
      along: vector >= rank,
    },
    body: region.body.map((instr) =>
      instr.kind === "load" || instr.kind === "index"
        ? { ...instr, access: accessOf(instr.strides) }
        : instr.kind === "result"
        ? { ...instr, access: { ...NO_ACCESS, rows: rows.map(() => 1), vector: 1 } }
        : { ...instr, access: NO_ACCESS }
    ),
    stores: region.stores.map((store) => ({ ...store, access: accessOf(store.strides) })),
  };
}

/** Number of elements that a region visits. */
export function extent(region: Region): number {
  return size(region.outer) * size(region.inner);
}
