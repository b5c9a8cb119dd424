/**
 * Products of one to three rows with a matrix whose rows are contiguous: as fast as the matrix can be read.
 *
 * ```text
 *  one work item = some rows of B, up to 4096 columns of them
 *    for 8 rows of B at a time (8 streams through memory)
 *      for each vector of columns: c += a[k] · B[k] + ... + a[k + 7] · B[k + 7]
 * ```
 *
 * The item's part of the result stays in the first-level cache; each element of B is read once, for all rows of A, and
 * in the order in which it lies in memory. The items' results are added up at the end.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import type { Func, Int } from "./assembler.ts";
import { even } from "./blocks.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import { type BoundRegion, lowerRegion } from "./region.ts";
import { v128 } from "./simd.ts";

/** A few rows times a matrix, or a batch of such products along one axis. Strides are in bytes. */
export interface VectorProduct {
  readonly name: string;
  /** 1 to {@linkcode MOST_VECTORS}. */
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly batch: number;
  readonly a: Ref & { readonly batch: number; readonly row: number; readonly column: number };
  readonly b: Ref & { readonly batch: number; readonly row: number };
  /** Contiguous: batch, rows, columns. */
  readonly c: Ref;
}

/** Products with more rows are computed in tiles. */
export const MOST_VECTORS = 3;
/** Products with fewer columns are rows of dot products. */
export const FEWEST_COLUMNS = 32;

/** Most columns of a block: their sums stay in the first-level cache. */
const BLOCK = 4096;
/** Least elements of B in a piece of the inner axis, and most pieces. */
const PIECE = 1 << 16, MOST_PIECES = 16;
/** Rows of B at a time, for one row of A and for more. */
const STREAMS = 8, SHARED_STREAMS = 4;
/** Columns at a time. */
const STEP = 8;
/** Elements of B that a thread reads in a nanosecond. */
const SPEED = 4;

const ARGS = [
  ...["a", "aBatch", "aRow", "aColumn", "b", "bBatch", "bRow", "c", "cPiece"],
  ...["columns", "depth", "blocks", "block", "pieces", "piece"],
] as const;
type Args = Readonly<Record<(typeof ARGS)[number], Int>>;

/** The calls that compute such a product. */
export function lowerVectorProduct(product: VectorProduct, temporary: (bytes: number) => Ref): Call[] {
  const { name, rows, columns, depth, batch, c } = product;
  const most = Math.max(1, Math.min(MOST_PIECES, Math.floor(columns * depth / PIECE)));
  const piece = Math.ceil(depth / most), pieces = Math.ceil(depth / piece);
  const results = batch * rows * columns;
  if (pieces === 1) return [callFor(product, c, pieces, piece)];
  const partial = temporary(4 * pieces * results);
  const region: Region = {
    outer: [results],
    inner: [pieces],
    body: [
      { kind: "load", input: 0, strides: [1, results], offset: 0, dtype: "f32" },
      { kind: "reduce", op: "sum", arg: 0, dtype: "f32" },
    ],
    stores: [{ value: 1, output: 0, strides: [1, 0], offset: 0 }],
  };
  const bound: BoundRegion = { name, region, inputs: [partial], outputs: [c], outputTypes: ["f32"] };
  return [callFor(product, partial, pieces, piece), ...lowerRegion(bound, temporary)];
}

/** `c`: piece, batch, rows, columns. */
function callFor(product: VectorProduct, c: Ref, pieces: number, piece: number): Call {
  const { name, rows, columns, depth, batch, a, b } = product;
  const block = even(columns, BLOCK, STEP), blocks = Math.ceil(columns / block);
  const args: Record<(typeof ARGS)[number], Arg> = {
    a: { buffer: a.buffer, offset: a.offset },
    aBatch: a.batch,
    aRow: a.row,
    aColumn: a.column,
    b: { buffer: b.buffer, offset: b.offset },
    bBatch: b.batch,
    bRow: b.row,
    c,
    cPiece: 4 * batch * rows * columns,
    columns,
    depth,
    blocks,
    block,
    pieces,
    piece,
  };
  const total = batch * pieces * blocks;
  return { name, kernel: kernelFor(rows), args, total, chunk: chunkOf(total, block * piece / SPEED) };
}

function kernelFor(rows: number): Kernel {
  return kernel(`vector product ${rows}`, ARGS, ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (item) => new Writer(f, args, rows).item(item));
  });
}

/** What a block's loops walk along. */
interface Block {
  /** The first element of each row of A, at the k that is next. */
  readonly a: readonly Int[];
  /** The block's first column of B, at the k that is next. */
  readonly b: Int;
  /** The block's first column of the result, in each row. */
  readonly c: readonly Int[];
  readonly columns: Int;
}

class Writer {
  constructor(readonly f: Func, readonly args: Args, readonly rows: number) {}

  item(item: Int): void {
    const { f, args } = this;
    const first = f.let(i32.mul(i32.rem_u(item, args.blocks), args.block));
    const rest = f.let(i32.div_u(item, args.blocks));
    const piece = f.let(i32.rem_u(rest, args.pieces)), batch = f.let(i32.div_u(rest, args.pieces));
    const left = f.let(i32.sub(args.columns, first));
    const columns = f.let(i32.min_u(left, args.block));
    const k = f.let(i32.mul(piece, args.piece)), last = f.let(i32.sub(args.depth, k));
    const depth = f.let(i32.min_u(last, args.piece));

    const rowBytes = f.let(i32.shl(args.columns, 2)), firstBytes = f.let(i32.shl(first, 2));
    const a = f.let(i32.add(i32.add(args.a, i32.mul(batch, args.aBatch)), i32.mul(k, args.aColumn)));
    const b = f.let(i32.add(i32.add(args.b, i32.mul(batch, args.bBatch)), i32.mul(k, args.bRow)));
    f.increase(b, firstBytes);
    const c = f.let(i32.add(i32.add(args.c, i32.mul(piece, args.cPiece)), firstBytes));
    f.increase(c, i32.mul(i32.mul(batch, this.rows), rowBytes));
    const rowsFrom = (start: Int, stride: Int): Int[] =>
      Array.from({ length: this.rows }, (_, m) => f.let(i32.add(start, i32.mul(m, stride))));
    const block: Block = { a: rowsFrom(a, args.aRow), b, c: rowsFrom(c, rowBytes), columns };

    for (const row of block.c) {
      f.for({ to: columns }, (j) => f.do(i32.store(f.let(i32.add(row, i32.shl(j, 2))), i32.const(0))));
    }
    const streams = this.rows === 1 ? STREAMS : SHARED_STREAMS;
    f.while(i32.ge_u(depth, streams), () => this.#streams(block, streams, depth));
    f.while(depth, () => this.#streams(block, 1, depth));
  }

  /** Adds `count` rows of B, each times its elements of A. */
  #streams(block: Block, count: number, depth: Int): void {
    const { f, args } = this;
    const factors = block.a.map((a) =>
      Array.from({ length: count }, () => {
        const factor = f.let(v128.load32_splat(a));
        f.increase(a, args.aColumn);
        return factor;
      })
    );
    const from = f.let(block.b), to = block.c.map((row) => f.let(row));
    const whole = f.let(i32.and(block.columns, -STEP)), rest = f.let(i32.sub(block.columns, whole));
    const columns = (lanes: 4 | 1, vectors: number) => {
      const offsets = Array.from({ length: vectors }, (_, j) => 16 * j);
      const load = lanes === 4 ? v128.load : v128.load32_splat;
      const sums = to.map((row) => offsets.map((offset) => f.let(load(row, offset))));
      const row = f.let(from);
      for (let k = 0; k < count; k++) {
        const parts = offsets.map((offset) => f.let(load(row, offset)));
        sums.forEach((sum, m) => sum.forEach((s, j) => f.set(s, f.madd(factors[m][k], parts[j], s))));
        f.increase(row, args.bRow);
      }
      sums.forEach((sum, m) =>
        sum.forEach((s, j) => f.do(lanes === 4 ? v128.store(to[m], s, 16 * j) : v128.store32_lane(to[m], s, 0)))
      );
      for (const pointer of [from, ...to]) f.increase(pointer, 4 * lanes * vectors);
    };
    f.for({ to: whole, step: STEP }, () => columns(4, STEP / 4));
    f.for({ to: rest }, () => columns(1, 1));
    f.increase(block.b, i32.mul(args.bRow, count));
    f.increase(depth, -count);
  }
}
