/**
 * Packing of matrices: how B reaches the panels that a product walks along, whatever its strides.
 *
 * A panel is eight columns; for each k it holds eight floats.
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import { type Expr, i32 } from "./instructions.ts";
import type { Packing, Piece } from "./product.ts";
import { transpose, v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";

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

type Args = Readonly<Record<string, Local<"i32">>>;

/** What lies side by side already, on its way to panels. */
export interface Rows {
  /** Address of the first row, and bytes from row to row. */
  readonly from: Expr<"i32">;
  readonly stride: Expr<"i32">;
  /** How many rows there are, one for each k, and how many elements of each row are wanted. */
  readonly depth: Local<"i32">;
  readonly length: Local<"i32">;
  /** Elements of a row from panel to panel, 8 at most. */
  readonly width: number;
  /** Where the panels go: for each of them, for each k, 8 floats. */
  readonly to: Expr<"i32">;
}

/** Rows that are read side by side: a few streams, and whole cache lines of every panel. */
const STREAMS = 4;

/** Copies a few rows at a time, from the first panel to the last; what is read past the last element is never used. */
export function copyRows(f: Func, { from, stride, depth, length, width, to }: Rows): void {
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

/** Rows as they lie. */
export function packRows(f: Func, { b, bStride }: Args, { depthBegin, depth, columnBegin, columns, to }: Piece): void {
  const from = i32.add(i32.add(b, i32.mul(depthBegin, bStride)), i32.shl(columnBegin, 2));
  copyRows(f, { from, stride: bStride, depth, length: columns, width: TILE_COLUMNS, to });
}

/** Addresses of a panel's eight columns at the first k; past the last column the last one again. */
function panelColumns(f: Func, { b, bStride, bColumn }: Args, piece: Piece, j: Local<"i32">): Local<"i32">[] {
  const first = f.let(i32.add(b, i32.mul(piece.depthBegin, bStride)));
  const last = f.let(i32.sub(piece.columns, 1));
  return Array.from({ length: TILE_COLUMNS }, (_, i) => {
    const column = i32.add(piece.columnBegin, i32.min_u(f.let(i32.add(j, i)), last));
    return f.let(i32.add(first, i32.mul(column, bColumn)));
  });
}

/** Four k of four columns at a time, transposed in registers. What is past the last k is overwritten or never used. */
export function packColumns(f: Func, args: Args, piece: Piece): void {
  const target = f.let(piece.to);
  f.for({ to: piece.columns, step: TILE_COLUMNS }, (j) => {
    const columns = panelColumns(f, args, piece, j);
    const address = f.let(target);
    f.for({ to: piece.depth, step: 4 }, () => {
      for (const half of [0, 1]) {
        const four = columns.slice(4 * half, 4 * half + 4).map((column) => f.let(v128.load(column)));
        transpose(f, four).forEach((row, k) => f.do(v128.store(address, row, 4 * TILE_COLUMNS * k + 16 * half)));
      }
      for (const column of columns) f.increase(column, 16);
      f.increase(address, 16 * TILE_COLUMNS);
    });
    f.increase(target, i32.mul(piece.depth, 4 * TILE_COLUMNS));
  });
}

/** One element at a time. */
export function packStrided(f: Func, args: Args, piece: Piece): void {
  const target = f.let(piece.to);
  f.for({ to: piece.columns, step: TILE_COLUMNS }, (j) => {
    const columns = panelColumns(f, args, piece, j);
    f.for({ to: piece.depth }, () => {
      columns.forEach((column, i) => {
        f.do(i32.store(target, i32.load(column), 4 * i));
        f.increase(column, args.bStride);
      });
      f.increase(target, 4 * TILE_COLUMNS);
    });
  });
}
