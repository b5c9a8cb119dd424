/**
 * Packing of matrices: how B reaches the panels that a product walks along, whatever its strides.
 *
 * A panel is eight columns; for each k it holds eight floats.
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import { i32 } from "./instructions.ts";
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

/**
 * Two panels side by side, so that every cache line of B is read once; what is read past the last column is never used.
 */
export function packRows(f: Func, { b, bStride }: Args, { depthBegin, depth, columnBegin, columns, to }: Piece): void {
  const PAIR = 2 * TILE_COLUMNS;
  const first = f.let(i32.add(i32.add(b, i32.mul(depthBegin, bStride)), i32.shl(columnBegin, 2)));
  const panelBytes = f.let(i32.mul(depth, 4 * TILE_COLUMNS));
  const left = f.let(to);
  const pack = (panels: 1 | 2) => {
    const from = f.let(first), near = f.let(left), far = f.let(i32.add(left, panelBytes));
    f.for({ to: depth }, () => {
      for (let vector = 0; vector < 2 * panels; vector++) {
        f.do(v128.store(vector < 2 ? near : far, v128.load(from, 16 * vector), 16 * (vector % 2)));
      }
      f.increase(from, bStride);
      f.increase(near, 4 * TILE_COLUMNS);
      f.increase(far, 4 * TILE_COLUMNS);
    });
  };
  f.for({ to: columns, step: PAIR }, (j) => {
    f.if(i32.gt_u(i32.sub(columns, j), TILE_COLUMNS), () => pack(2), () => pack(1));
    f.increase(first, 4 * PAIR);
    f.increase(left, i32.shl(panelBytes, 1));
  });
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
