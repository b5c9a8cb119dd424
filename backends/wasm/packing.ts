/**
 * Packing of matrices into panels: all of B, whatever its strides, and the rows of A where they do not lie well.
 *
 * A panel is eight columns of B or five rows of A; for each k it holds eight floats.
 *
 * @module
 */
import type { Func, Int, Local } from "./assembler.ts";
import { type Expr, i32 } from "./instructions.ts";
import { transpose, v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";

/** The piece of B that a packing is asked for. */
export interface Piece {
  /** First k, and how many. */
  readonly depthBegin: Int;
  readonly depth: Int;
  /** First column, and how many. */
  readonly columnBegin: Int;
  readonly columns: Int;
  /** Where the panels go: for each 8 columns, for each k, 8 floats. */
  readonly to: Int;
}

/** Writes the code that packs a piece of B. `args` holds the packing's own arguments, moved to the current batch. */
export interface Packing {
  readonly key: string;
  /** Names of the arguments it reads besides those of the product. */
  readonly args: readonly string[];
  write(f: Func, args: Readonly<Record<string, Int>>, piece: Piece): void;
}

/** Elements between neighbours of a matrix. */
export interface Strides {
  readonly row: number;
  readonly column: number;
}

/** The packing for a matrix B with these strides. */
export function packingOf(b: Strides): Packing {
  if (b.column === 1) return { key: "rows", args: [], write: packRows };
  if (b.row === 1) return { key: "columns", args: ["bColumn"], write: packColumns };
  return { key: "strided", args: ["bColumn"], write: packStrided };
}

type Args = Readonly<Record<string, Int>>;

/** A matrix on its way to panels. */
export interface Lines {
  /** Address of the first row (or column), and bytes from one to the next. */
  readonly from: Expr<"i32">;
  readonly stride: Expr<"i32">;
  /** How many k there are, and how many elements for each of them. */
  readonly depth: Int;
  readonly length: Int;
  /** How many of the elements a panel takes, 8 at most. */
  readonly width: number;
  /** Where the panels go: for each of them, for each k, 8 floats. */
  readonly to: Expr<"i32">;
}

/** Rows that are read side by side: a few streams, and whole cache lines of every panel. */
const STREAMS = 4;

/** Copies a few rows at a time, from the first panel to the last; what is read past the last element is never used. */
export function copyRows(f: Func, { from, stride, depth, length, width, to }: Lines): void {
  const PANEL = 4 * TILE_COLUMNS;
  const panelBytes = f.let(i32.mul(depth, PANEL));
  const first = f.let(from), target = f.let(to), left = f.let(depth);
  const copy = (count: number) => {
    const rows = [f.let(first)];
    for (let k = 1; k < count; k++) rows.push(f.let(i32.add(rows[k - 1], stride)));
    const panel = f.let(target);
    f.for({ to: length, step: width }, () => {
      rows.forEach((row, k) => {
        for (const half of [0, 16]) f.do(v128.store(panel, v128.load(row, half), PANEL * k + half));
        f.increase(row, 4 * width);
      });
      f.increase(panel, panelBytes);
    });
    f.increase(first, i32.mul(stride, count));
    f.increase(target, PANEL * count);
    f.increase(left, -count);
  };
  f.while(i32.ge_u(left, STREAMS), () => copy(STREAMS));
  f.while(left, () => copy(1));
}

/**
 * Copies columns, whose k are side by side: four k of four columns at a time, transposed in registers. What is past the
 * last k is overwritten or never used.
 */
export function copyColumns(f: Func, { from, stride, depth, length, width, to }: Lines): void {
  const first = f.let(from), target = f.let(to);
  f.for({ to: length, step: width }, (begin) => {
    const columns = panelColumns(f, first, stride, begin, length, width);
    const address = f.let(target);
    f.for({ to: depth, step: 4 }, () => {
      for (let column = 0; column < width; column += 4) {
        const four = columns.slice(column, column + 4).map((pointer) => f.let(v128.load(pointer)));
        const at = (k: number) => 4 * (TILE_COLUMNS * k + column);
        if (four.length === 4) transpose(f, four).forEach((row, k) => f.do(v128.store(address, row, at(k))));
        else storeLanes(f, address, four, at);
      }
      for (const pointer of columns) f.increase(pointer, 16);
      f.increase(address, 16 * TILE_COLUMNS);
    });
    f.increase(target, i32.mul(depth, 4 * TILE_COLUMNS));
  });
}

/** Fewer than four columns, one element at a time. */
function storeLanes(
  f: Func,
  address: Int,
  columns: readonly Local<"v128">[],
  at: (k: number) => number,
): void {
  columns.forEach((column, i) => {
    for (let k = 0; k < 4; k++) f.do(v128.store32_lane(address, column, k, at(k) + 4 * i));
  });
}

/** Addresses of a panel's columns at the first k; past the last column the last one again. */
function panelColumns(
  f: Func,
  first: Int,
  stride: Expr<"i32">,
  begin: Int,
  length: Int,
  width: number,
): Int[] {
  const last = f.let(i32.sub(length, 1));
  return Array.from({ length: width }, (_, i) => {
    return f.let(i32.add(first, i32.mul(i32.min_u(f.let(i32.add(begin, i)), last), stride)));
  });
}

/** Address of a piece's first element, where columns are `columnBytes` apart. */
function firstOf({ b, bStride }: Args, { depthBegin, columnBegin }: Piece, columnBytes: Expr<"i32">): Expr<"i32"> {
  return i32.add(i32.add(b, i32.mul(depthBegin, bStride)), i32.mul(columnBegin, columnBytes));
}

function packRows(f: Func, args: Args, piece: Piece): void {
  const { depth, columns: length, to } = piece, from = firstOf(args, piece, i32.const(4));
  copyRows(f, { from, stride: args.bStride, depth, length, width: TILE_COLUMNS, to });
}

function packColumns(f: Func, args: Args, piece: Piece): void {
  const { depth, columns: length, to } = piece, from = firstOf(args, piece, args.bColumn);
  copyColumns(f, { from, stride: args.bColumn, depth, length, width: TILE_COLUMNS, to });
}

/** One element at a time. */
function packStrided(f: Func, args: Args, piece: Piece): void {
  const first = f.let(firstOf(args, piece, args.bColumn)), target = f.let(piece.to);
  f.for({ to: piece.columns, step: TILE_COLUMNS }, (begin) => {
    const columns = panelColumns(f, first, args.bColumn, begin, piece.columns, TILE_COLUMNS);
    f.for({ to: piece.depth }, () => {
      columns.forEach((column, i) => {
        f.do(i32.store(target, i32.load(column), 4 * i));
        f.increase(column, args.bStride);
      });
      f.increase(target, 4 * TILE_COLUMNS);
    });
  });
}
