/**
 * Splits work that has too few rows to share: long reductions with few results, and maps with a few long rows.
 *
 * ```text
 *  sum of n = sums of P pieces of n/P places, and of the places left over; then the sum of those P + 1
 * ```
 *
 * The pieces depend on the shape alone, so one thread and many give the same bits.
 *
 * @module
 */
import type { Instr, Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import { mapStrides } from "./axes.ts";
import type { Ref } from "./kernel.ts";
import type { BoundRegion } from "./region.ts";

/** Regions with at least so many results have enough to share. */
const ENOUGH_RESULTS = 64;
/** Elements that a piece has at least, those of up to so many results counted together. */
const SMALLEST_PIECE = 4096, RESULTS_COUNTED = 16;
const MOST_PIECES = 32;

type Reduce = Extract<Instr, { kind: "reduce" }>;

/** Whether the reductions do not build on each other and nothing but row values is stored. */
function isSimple({ body, stores, outer }: Region): boolean {
  const rests = body.map(() => false), full = body.map(() => false);
  body.forEach((instr, i) => {
    if (instr.kind === "scalar") {
      rests[i] = instr.args.some((arg) => rests[arg]);
      full[i] = instr.args.some((arg) => full[arg]);
    } else if (instr.kind === "reduce") rests[i] = true;
    else if (instr.kind !== "const" && instr.kind !== "result") {
      full[i] = instr.strides.slice(outer.length).some((stride) => stride !== 0);
    }
  });
  return stores.every(({ value, strides }) => !full[value] && strides.slice(outer.length).every((s) => s === 0)) &&
    body.every((instr) => instr.kind !== "reduce" || !rests[instr.arg]);
}

/** The region with inner axis `axis` cut to `length` places from `start`, and an axis of pieces before all others. */
function piece(region: Region, axis: number, start: number, length: number, pieces: number): Region {
  const inner = region.inner.map((n, i) => i === axis ? length : n);
  const at = region.outer.length + axis;
  const body = region.body.map((instr) =>
    instr.kind === "load" || instr.kind === "index"
      ? {
        ...instr,
        offset: instr.offset + start * instr.strides[at],
        strides: [length * instr.strides[at], ...instr.strides],
      }
      : instr
  );
  return { ...region, outer: [pieces, ...region.outer], inner, body };
}

/** The same region in parts, or null where that does not pay. */
export function splitReduction(bound: BoundRegion, temporary: (bytes: number) => Ref): BoundRegion[] | null {
  const { region } = bound;
  const results = size(region.outer);
  const axis = region.inner.indexOf(Math.max(...region.inner));
  if (results >= ENOUGH_RESULTS || axis < 0 || !isSimple(region)) return null;
  const length = region.inner[axis];
  const pieces = Math.min(MOST_PIECES, Math.floor(length * Math.min(results, RESULTS_COUNTED) / SMALLEST_PIECE));
  if (pieces < 2) return null;

  const reduces = region.body.filter((instr): instr is Reduce => instr.kind === "reduce");
  const pieceLength = Math.floor(length / pieces), rest = length - pieces * pieceLength;
  const count = pieces + (rest > 0 ? 1 : 0);
  const partials = reduces.map(() => temporary(4 * count * results));
  const types = reduces.map((reduce) => reduce.dtype);
  const zeros = region.inner.map(() => 0);
  const strides = [results, ...stridesOf(region.outer), ...zeros];

  const part = (start: number, length: number, pieces: number, first: number): BoundRegion => {
    const cut = piece(region, axis, start, length, pieces);
    const stores = reduces.map((reduce, output) => ({
      value: region.body.indexOf(reduce),
      output,
      strides,
      offset: first * results,
    }));
    return { ...bound, region: { ...cut, stores }, outputs: partials, outputTypes: types };
  };
  const parts = [part(0, pieceLength, pieces, 0)];
  if (rest > 0) parts.push(part(pieces * pieceLength, rest, 1, pieces));
  return [...parts, total(bound, partials, count)];
}

/** The region that combines the partial results and does what the original did with them. */
function total(bound: BoundRegion, partials: readonly Ref[], count: number): BoundRegion {
  const { region, inputs } = bound;
  const results = size(region.outer);
  const withoutInner = (strides: readonly number[]) => [...strides.slice(0, region.outer.length), 0];
  const body: Instr[] = [];
  const moved: number[] = [];
  let reduces = 0;
  for (const instr of region.body) {
    if (instr.kind === "reduce") {
      const input = inputs.length + reduces++;
      const load: Instr = {
        kind: "load",
        input,
        strides: [...stridesOf(region.outer), results],
        offset: 0,
        dtype: instr.dtype,
      };
      moved.push(body.push(load, { ...instr, arg: body.length }) - 1);
    } else if (instr.kind === "scalar") {
      moved.push(body.push({ ...instr, args: instr.args.map((arg) => moved[arg]) }) - 1);
    } else if (instr.kind === "load" || instr.kind === "index") {
      moved.push(body.push({ ...instr, strides: withoutInner(instr.strides) }) - 1);
    } else {
      moved.push(body.push(instr) - 1);
    }
  }
  const stores = region.stores.map((store) => ({
    ...store,
    value: moved[store.value],
    strides: withoutInner(store.strides),
  }));
  return { ...bound, region: { outer: region.outer, inner: [count], body, stores }, inputs: [...inputs, ...partials] };
}

/** Maps with fewer rows than this are cut along their columns, if those are many. */
const FEW_ROWS = 8, MANY_COLUMNS = 4096;

/** A map with more and shorter rows, where it has few long ones and they can be cut evenly. */
export function splitRows(region: Region): Region {
  const { outer, inner } = region;
  const columns = outer.at(-1) ?? 0, rows = size(outer) / columns;
  if (inner.length > 0 || outer.length < 2 || rows >= FEW_ROWS || columns < MANY_COLUMNS) return region;
  const pieces = [16, 12, 8, 7, 6, 5, 4, 3, 2].find((n) => columns % (4 * n) === 0);
  if (!pieces) return region;
  const length = columns / pieces;
  const cut = mapStrides(region, (strides) => [...strides.slice(0, -1), strides.at(-1)! * length, strides.at(-1)!]);
  return { ...cut, outer: [...outer.slice(0, -1), pieces, length] };
}
