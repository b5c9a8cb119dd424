/**
 * The heart of every product: a tile of 5 rows by 8 columns, kept in registers while it walks along the inner axis.
 *
 * ```text
 *  k ->            8 columns of B, packed: 8 floats for each k
 *  A, 5 rows  x    = 10 accumulators of 4 lanes; each k costs 2 loads of B, 5 splats of A, 10 multiply-adds
 * ```
 *
 * A is read where it lies, either by rows (k contiguous) or by columns (rows contiguous).
 *
 * @module
 */
import type { Assembler, Func, Local } from "./assembler.ts";
import { type Expr, i32 } from "./instructions.ts";
import { v128 } from "./simd.ts";

/** Rows and columns of a whole tile. */
export const TILE_ROWS = 5;
export const TILE_COLUMNS = 8;
/** Steps along k in one turn of the main loop. */
const UNROLL = 8;
const VECTORS = TILE_COLUMNS / 4;

/** How A lies in memory: k contiguous within a row, or rows contiguous for each k. */
export type AOrder = "rows" | "columns";
/** How B is read: from packed panels, or in place with its rows a stride apart. */
export type BOrder = "packed" | "inPlace";

/** The tile function's arguments. */
export interface TileCall {
  /** Address of A's first element; bytes from row to row (or, by columns, from k to k). */
  readonly a: Expr<"i32">;
  readonly aStride: Expr<"i32">;
  /** Address of the panel of B; bytes from k to k, used when B is read in place. */
  readonly b: Expr<"i32">;
  readonly bStride: Expr<"i32">;
  /** Address of the result; bytes from row to row. */
  readonly c: Expr<"i32">;
  readonly cStride: Expr<"i32">;
  /** Length of the inner axis. */
  readonly depth: Expr<"i32">;
  /** Whether to add to what is there. */
  readonly accumulate: Expr<"i32">;
}

/** Calls the tile function for `rows` rows (1 to 5), a variable. */
export function callTile(f: Func, aOrder: AOrder, bOrder: BOrder, rows: Local<"i32">, call: TileCall): void {
  const { a, aStride, b, bStride, c, cStride, depth, accumulate } = call;
  const run = (count: number) => {
    const tile = tileFunction(f.module, aOrder, bOrder, count);
    f.do(f.module.call(tile, a, aStride, b, bStride, c, cStride, depth, accumulate));
  };
  const choose = (count: number) => {
    if (count === 1) return run(1);
    f.if(i32.eq(rows, count), () => run(count), () => choose(count - 1));
  };
  f.if(i32.ge_u(rows, TILE_ROWS), () => run(TILE_ROWS), () => choose(TILE_ROWS - 1));
}

/** `tile(a, aStride, b, bStride, c, cStride, depth, accumulate)` for a number of rows. */
function tileFunction(module: Assembler, aOrder: AOrder, bOrder: BOrder, rows: number): Func {
  return module.once(`tile ${aOrder} ${bOrder} ${rows}`, () => {
    const f = module.func("tile", ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32"]);
    const [a, aStride, b, bStride, c, cStride, depth, accumulate] = f.params as Local<"i32">[];
    const sums = Array.from({ length: rows }, () => Array.from({ length: VECTORS }, () => f.local("v128")));
    const pointers = aOrder === "columns" ? [a] : rowPointers(f, a, aStride, rows);
    f.if(accumulate, () =>
      eachRow(f, c, cStride, sums, (address, row) => {
        row.forEach((sum, j) => f.set(sum, v128.load(address, 16 * j)));
      }));
    const step = (count: number) => {
      for (let k = 0; k < count; k++) {
        const offset = bOrder === "packed" ? k * TILE_COLUMNS * 4 : 0;
        const columns = Array.from({ length: VECTORS }, (_, j) => f.let(v128.load(b, offset + 16 * j)));
        sums.forEach((row, i) => {
          const splat = aOrder === "rows" ? v128.load32_splat(pointers[i], 4 * k) : v128.load32_splat(a, 4 * i);
          const x = f.let(splat);
          row.forEach((sum, j) => f.set(sum, f.madd(x, columns[j], sum)));
        });
        if (aOrder === "columns") f.increase(a, aStride);
        if (bOrder === "inPlace") f.increase(b, bStride);
      }
      if (aOrder === "rows") { for (const pointer of pointers) f.increase(pointer, 4 * count); }
      if (bOrder === "packed") f.increase(b, 4 * count * TILE_COLUMNS);
      f.increase(depth, -count);
    };
    f.while(i32.ge_u(depth, UNROLL), () => step(UNROLL));
    f.while(depth, () => step(1));
    eachRow(f, c, cStride, sums, (address, row) => {
      row.forEach((sum, j) => f.do(v128.store(address, sum, 16 * j)));
    });
    return f;
  });
}

function rowPointers(f: Func, a: Local<"i32">, stride: Local<"i32">, rows: number): Local<"i32">[] {
  const pointers = [a];
  for (let i = 1; i < rows; i++) pointers.push(f.let(i32.add(pointers[i - 1], stride)));
  return pointers;
}

function eachRow<T>(
  f: Func,
  c: Local<"i32">,
  stride: Local<"i32">,
  rows: readonly T[],
  visit: (address: Local<"i32">, row: T) => void,
): void {
  const address = f.let(c);
  rows.forEach((row, i) => {
    if (i > 0) f.increase(address, stride);
    visit(address, row);
  });
}
