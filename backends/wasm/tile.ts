/**
 * The heart of every product: a tile of 5 rows by 8 columns, kept in registers while it walks along the inner axis.
 *
 * ```text
 *  k ->            8 columns of B, packed: 8 floats for each k
 *  A, 5 rows  x    = 10 accumulators of 4 lanes; each k costs 2 loads of B, 5 splats of A, 10 multiply-adds
 * ```
 *
 * A is read where it lies, either by rows (k contiguous) or by columns (rows contiguous). By columns, four of the splats
 * take one load together: every load counts where an engine checks its bounds.
 *
 * @module
 */
import type { Assembler, Func, Int, Local } from "./assembler.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import { f32x4, i8x16, v128 } from "./simd.ts";

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

/** What a tile function is given. */
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

/** One panel of B and many rows. */
export interface PanelCall extends TileCall {
  /** How many rows, and bytes in A from tile to tile. */
  readonly rows: Expr<"i32">;
  readonly aStep: Expr<"i32">;
}

/** Calls the tile function for `rows` rows, a variable; for five if there are more. */
export function callTile(f: Func, aOrder: AOrder, bOrder: BOrder, rows: Int, call: TileCall): void {
  const whole = () => runTile(f, aOrder, bOrder, TILE_ROWS, call);
  f.if(i32.ge_u(rows, TILE_ROWS), whole, () => callPart(f, aOrder, bOrder, rows, call));
}

/** The same for fewer than five rows. */
function callPart(f: Func, aOrder: AOrder, bOrder: BOrder, rows: Int, call: TileCall): void {
  const choose = (count: number): void => {
    const run = () => runTile(f, aOrder, bOrder, count, call);
    if (count === 1) run();
    else f.if(i32.eq(rows, count), run, () => choose(count - 1));
  };
  choose(TILE_ROWS - 1);
}

function runTile(f: Func, aOrder: AOrder, bOrder: BOrder, rows: number, call: TileCall): void {
  const { a, aStride, b, bStride, c, cStride, depth, accumulate } = call;
  const tile = tileFunction(f.module, aOrder, bOrder, rows);
  f.do(f.module.call(tile, a, aStride, b, bStride, c, cStride, depth, accumulate));
}

/** Multiplies all rows with one panel, tile by tile. */
export function callPanel(f: Func, aOrder: AOrder, bOrder: BOrder, call: PanelCall): void {
  const { a, aStride, b, bStride, c, cStride, depth, accumulate, rows, aStep } = call;
  const panel = panelFunction(f.module, aOrder, bOrder);
  f.do(f.module.call(panel, a, aStride, b, bStride, c, cStride, depth, accumulate, rows, aStep));
}

function panelFunction(module: Assembler, aOrder: AOrder, bOrder: BOrder): Func {
  return module.once(`panel ${aOrder} ${bOrder}`, () => {
    const f = module.func("panel", new Array(10).fill("i32"));
    const [a, aStride, b, bStride, c, cStride, depth, accumulate, rows, aStep] = f.params as Int[];
    const cStep = f.let(i32.mul(cStride, TILE_ROWS));
    const call = { a, aStride, b, bStride, c, cStride, depth, accumulate };
    f.while(i32.ge_u(rows, TILE_ROWS), () => {
      writeTile(f, aOrder, bOrder, TILE_ROWS, call);
      f.increase(a, aStep);
      f.increase(c, cStep);
      f.increase(rows, -TILE_ROWS);
    });
    f.if(rows, () => callPart(f, aOrder, bOrder, rows, call));
    return f;
  });
}

/** `tile(a, aStride, b, bStride, c, cStride, depth, accumulate)` for a number of rows. */
function tileFunction(module: Assembler, aOrder: AOrder, bOrder: BOrder, rows: number): Func {
  return module.once(`tile ${aOrder} ${bOrder} ${rows}`, () => {
    const f = module.func("tile", new Array(8).fill("i32"));
    const [a, aStride, b, bStride, c, cStride, depth, accumulate] = f.params as Int[];
    writeTile(f, aOrder, bOrder, rows, { a, aStride, b, bStride, c, cStride, depth, accumulate });
    return f;
  });
}

/** The tile itself. */
function writeTile(f: Func, aOrder: AOrder, bOrder: BOrder, rows: number, call: TileCall): void {
  const { aStride, bStride, c, cStride, accumulate } = call;
  const a = f.let(call.a), b = f.let(call.b), depth = f.let(call.depth);
  const sums = Array.from({ length: rows }, () => Array.from({ length: VECTORS }, () => f.local("v128")));
  const pointers = aOrder === "columns" ? [] : rowPointers(f, a, aStride, rows);
  for (const sum of sums.flat()) f.set(sum, f32x4.const(0));
  const step = (count: number) => {
    for (let k = 0; k < count; k++) {
      const offset = bOrder === "packed" ? k * TILE_COLUMNS * 4 : 0;
      const columns = Array.from({ length: VECTORS }, (_, j) => f.let(v128.load(b, offset + 16 * j)));
      const four = aOrder === "columns" && rows >= 4 ? f.let(v128.load(a)) : null;
      const splat = (i: number) => {
        if (aOrder === "rows") return v128.load32_splat(pointers[i], 4 * k);
        return four && i < 4 ? splatLane(four, i) : v128.load32_splat(a, 4 * i);
      };
      sums.forEach((row, i) => {
        const x = f.let(splat(i));
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
  // added at the end: at the beginning, the first products would wait for C
  f.if(accumulate, () =>
    eachRow(f, c, cStride, sums, (address, row) => {
      row.forEach((sum, j) => f.do(v128.store(address, f32x4.add(sum, v128.load(address, 16 * j)), 16 * j)));
    }), () =>
    eachRow(f, c, cStride, sums, (address, row) => {
      row.forEach((sum, j) => f.do(v128.store(address, sum, 16 * j)));
    }));
}

/** One lane of a vector in all lanes. */
function splatLane(x: Local<"v128">, lane: number): V128 {
  return i8x16.shuffle32(x, x, [lane, lane, lane, lane]);
}

function rowPointers(f: Func, a: Int, stride: Expr<"i32">, rows: number): Int[] {
  const pointers = [a];
  for (let i = 1; i < rows; i++) pointers.push(f.let(i32.add(pointers[i - 1], stride)));
  return pointers;
}

function eachRow<T>(
  f: Func,
  c: Expr<"i32">,
  stride: Expr<"i32">,
  rows: readonly T[],
  visit: (address: Int, row: T) => void,
): void {
  const address = f.let(c);
  rows.forEach((row, i) => {
    if (i > 0) f.increase(address, stride);
    visit(address, row);
  });
}
