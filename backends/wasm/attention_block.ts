/**
 * What attention and its gradient share: products of a block of queries with a block of keys, and the walk along a row
 * of scores. Row r of a block sees its first `r + diagonal` keys; the rest is neither computed nor read.
 *
 * ```text
 *                keys of the block ->
 *  queries  r=0  s s 0 0 . . . .      diagonal 2: causal, on the diagonal
 *    |      r=1  s s s 0 0 . . .      zeros follow the scores up to the end of a tile
 *    v      r=2  s s s s 0 0 . .
 * ```
 *
 * @module
 */
import type { Assembler, Func, Int } from "./assembler.ts";
import { movePointers } from "./batch.ts";
import { type Expr, i32, memory, type V128 } from "./instructions.ts";
import type { Vector } from "./math.ts";
import { copyColumns, copyRows } from "./packing.ts";
import { f32x4, i32x4, i8x16, v128 } from "./simd.ts";
import { callTile, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

/** The argument block of a kernel. */
export type Args = Readonly<Record<string, Int>>;

/** The `diagonal` of a block in which every query sees every key, with room to add to it. */
export const ALL_SEEN = 1 << 30;

/** A score that counts for nothing, and the maximum where there is no other. */
export const NOTHING_SEEN = f32x4.const(-Infinity);

/** Floats after the scores of a row that a walk may fill with zeros. */
export const ROW_PADDING = 8;

/** How the scores and what takes their place are masked. */
export interface MaskShape {
  readonly kind: "none" | "bool" | "add";
  /** Whether there is one element for each key, side by side, or one for all keys. */
  readonly step: 0 | 1;
}

/** `value`, but at least 0 and at most `most`; signed. */
export function clamp(f: Func, value: Expr<"i32">, most: Int): Int {
  const result = f.let(value);
  f.set(result, i32.select(i32.lt_s(result, most), result, most));
  f.set(result, i32.select(i32.gt_s(result, 0), result, 0));
  return result;
}

// Products.

/** What a product is for: which operand the scores are. */
export type Role =
  /** The scores are the result: `[queries, channels] · [channels, keys]`. */
  | "scores"
  /** The scores are A: `[queries, keys] · [keys, channels]`, added to what is there. */
  | "weighted"
  /** The scores are A, transposed: `[keys, queries] · [queries, channels]`, added to what is there. */
  | "transposed";

/** A product of packed panels with rows in memory. */
export interface BlockProduct {
  readonly a: Int;
  /** Bytes from row to row, in memory. */
  readonly aStride: Int;
  /** B, packed into panels of 8 columns. */
  readonly panels: Int;
  readonly c: Int;
  readonly cStride: Int;
  readonly rows: Int;
  readonly columns: Int;
  readonly depth: Int;
  readonly diagonal: Int;
}

/** Multiplies as far as there is something to see. */
export function multiply(f: Func, role: Role, product: BlockProduct): void {
  const { a, aStride, panels, c, cStride, rows, columns, depth, diagonal } = product;
  f.do(
    f.module.call(productFunction(f.module, role), a, aStride, panels, c, cStride, rows, columns, depth, diagonal),
  );
}

function productFunction(module: Assembler, role: Role): Func {
  return module.once(`attention ${role}`, () => {
    const f = module.func(`attention ${role}`, new Array(9).fill("i32"));
    const [a, aStride, panels, c, cStride, rows, columns, depth, diagonal] = f.params as Int[];
    f.for({ to: columns, step: TILE_COLUMNS }, (j) => {
      const panel = f.let(i32.add(panels, i32.shl(i32.mul(j, depth), 2)));
      const first = role === "scores" ? firstSeeing(f, j, diagonal, rows) : f.let(i32.const(0));
      f.set(first, i32.sub(first, i32.rem_u(first, TILE_ROWS)));
      f.for({ from: first, to: rows, step: TILE_ROWS }, (i) => {
        const begin = role === "transposed" ? firstSeeing(f, i, diagonal, depth) : f.let(i32.const(0));
        const last = role === "weighted" ? lastSeen(f, i, diagonal, rows, depth) : depth;
        const inA = role === "transposed" ? i32.add(i32.shl(i, 2), i32.mul(begin, aStride)) : i32.mul(i, aStride);
        callTile(f, role === "transposed" ? "columns" : "rows", "packed", f.let(i32.sub(rows, i)), {
          a: f.let(i32.add(a, inA)),
          aStride,
          b: f.let(i32.add(panel, i32.mul(begin, 4 * TILE_COLUMNS))),
          bStride: i32.const(0),
          c: f.let(i32.add(c, i32.add(i32.mul(i, cStride), i32.shl(j, 2)))),
          cStride,
          depth: f.let(i32.sub(last, begin)),
          accumulate: i32.const(role === "scores" ? 0 : 1),
        });
      });
    });
    return f;
  });
}

/** The first row that sees key `key`. */
function firstSeeing(f: Func, key: Int, diagonal: Int, rows: Int): Int {
  return clamp(f, i32.sub(i32.add(key, 1), diagonal), rows);
}

/** How many keys the last row of the tile at row `row` sees. */
function lastSeen(f: Func, row: Int, diagonal: Int, rows: Int, keys: Int): Int {
  const end = f.let(i32.add(row, TILE_ROWS));
  return clamp(f, i32.add(i32.sub(i32.min_u(end, rows), 1), diagonal), keys);
}

/** Rows in memory that are to be packed. */
export interface Rows {
  readonly at: Int;
  readonly rowBytes: Int;
  readonly count: Int;
  readonly columns: Int;
}

/** Packs rows as the B of a product: as they are, or transposed, so that its columns are these rows. */
export function pack(f: Func, { at, rowBytes, count, columns }: Rows, to: Int, transposed: boolean): void {
  const lines = { from: at, stride: rowBytes, width: TILE_COLUMNS, to };
  if (transposed) copyColumns(f, { ...lines, depth: columns, length: count });
  else copyRows(f, { ...lines, depth: count, length: columns });
}

// Rows of scores.

/**
 * Visits the first `count` floats of a row, four at a time, by their distance in bytes. `lanes` marks the floats that
 * count in the last vector, if it is not whole.
 */
export function eachVector(f: Func, count: Int, visit: (at: Int, lanes: Vector | null) => void): void {
  const at = f.let(i32.const(0));
  f.count(at, { to: f.let(i32.shl(i32.and(count, -4), 2)), step: 16 }, () => visit(at, null));
  const rest = f.let(i32.and(count, 3));
  f.if(rest, () => visit(at, f.let(i32x4.lt_s(i32x4.const(0, 1, 2, 3), i32x4.splat(rest)))));
}

/** Puts four zeros after the last vector of a row, so that all rows of a tile reach equally far. */
export function endRow(f: Func, row: Int, count: Int): void {
  const end = i32.and(i32.add(i32.shl(count, 2), 12), -16);
  f.do(v128.store(i32.add(row, end), f32x4.const(0)));
}

/** Four scores, scaled and masked. */
export function scoresAt(f: Func, row: Int, at: Int, scale: Vector, mask: MaskShape, maskRow: Int): Vector {
  const scores = f.let(f32x4.mul(v128.load(i32.add(row, at)), scale));
  if (mask.kind === "none") return scores;
  const element = f.let(mask.step === 1 ? v128.load(i32.add(maskRow, at)) : v128.load32_splat(maskRow));
  if (mask.kind === "add") return f.let(f32x4.add(scores, element));
  return f.let(v128.select(i32x4.ne(element, i32x4.const(0)), scores, NOTHING_SEEN));
}

/** The largest score, or 0 where nothing is seen. */
export function finitePeak(peak: Vector): V128 {
  return v128.andnot(peak, f32x4.eq(peak, NOTHING_SEEN));
}

/** The sum of the weights, or 1 where nothing is seen. */
export function divisor(total: Vector): V128 {
  return v128.select(f32x4.eq(total, f32x4.const(0)), f32x4.const(1), total);
}

/** Combines four lanes; the result is in each of them. */
export function acrossLanes(f: Func, x: Vector, combine: (a: V128, b: V128) => V128): Vector {
  const half = f.let(combine(x, i8x16.shuffle32(x, x, [2, 3, 0, 1])));
  return f.let(combine(half, i8x16.shuffle32(half, half, [1, 0, 3, 2])));
}

/** Copies `count` floats times `factor`; nothing past the last is written. */
export function copyRow(f: Func, to: Int, from: Int, count: Int, factor: Vector): void {
  const at = f.let(i32.const(0));
  const product = (lanes: V128) => f.let(f32x4.mul(lanes, factor));
  f.count(at, { to: f.let(i32.shl(i32.and(count, -4), 2)), step: 16 }, () => {
    f.do(v128.store(i32.add(to, at), product(v128.load(i32.add(from, at)))));
  });
  f.count(at, { to: f.let(i32.shl(count, 2)), step: 4 }, () => {
    f.do(v128.store32_lane(i32.add(to, at), product(v128.load32_splat(i32.add(from, at))), 0));
  });
}

/** Zeros in `rows` rows. A pointer to nothing may be any number, which a fill of no bytes would still refuse. */
export function clearRows(f: Func, at: Int, rows: Int, rowBytes: Int): void {
  const bytes = f.let(i32.mul(rows, rowBytes));
  f.if(bytes, () => f.do(memory.fill(at, 0, bytes)));
}

// Where things are.

/** Names the structure of a kernel: everything that its code depends on. */
export function keyOf(op: string, names: readonly string[], axes: number, { kind, step }: MaskShape): string {
  return `${op} ${axes} axes, mask ${kind} ${step}${names.includes("space") ? ", memory of its own" : ""}`;
}

/** The operands' pointers, moved to batch `index`. */
export function moveToBatch(f: Func, args: Args, axes: number, names: readonly string[], index: Int): Args {
  const moved: Record<string, Int> = {};
  for (const name of names) moved[name] = f.let(args[name]);
  movePointers(f, args, axes, moved, f.let(index));
  return moved;
}

/** Addresses of the parts of an item's working memory: this thread's scratch memory, or a piece of `args.space`. */
export function spaceOf<Name extends string>(
  f: Func,
  args: Args,
  names: readonly Name[],
  item: Int,
): Readonly<Record<Name, Int>> {
  const own = args.space && i32.add(args.space, i32.mul(item, args.spaceStep));
  const base = f.let(own ?? f.module.global("scratch"));
  return Object.fromEntries(names.map((name) => [name, f.let(i32.add(base, args[name]))])) as Record<Name, Int>;
}
