/**
 * Blocked products C = A · B: the loops around the tile.
 *
 * ```text
 *  one work item = one block of C (up to 240 rows by 512 columns; 2048 where B is packed ahead and nothing is fused)
 *    for slices of the inner axis, up to 384 long
 *      pack the block's columns of B into panels of 8, unless they are packed ahead or read in place
 *      pack the block's rows of A into tiles of 5, where that pays
 *      for each panel (it stays in the first-level cache)
 *        for each tile of 5 rows: C += A · panel
 *    epilogue: fused scalar ops on the finished block, while it is in the cache
 * ```
 *
 * What B is, is the packing's business: a matrix with any strides (`matmul.ts`), or the windows of an image (`conv.ts`).
 *
 * @module
 */
import { even, roundUp } from "./blocks.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import type { Packing } from "./packing.ts";
import { argsFor, keyOf } from "./region.ts";
import type { RegionAnalysis } from "./region_analysis.ts";
import { MOST_COLUMNS, MOST_DEPTH, MOST_ROWS, ProductWriter } from "./product_code.ts";
import { type AOrder, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

/** B, as a product takes it. */
export interface OperandB {
  readonly b: Ref;
  /** Null to read B in place with its rows `bStride` bytes apart; "ahead" if B is panels already (`packing_ahead.ts`). */
  readonly packing: Packing | "ahead" | null;
  readonly bStride: number;
  readonly packingArgs: Readonly<Record<string, Arg>>;
}

/** One product, or a batch of them. */
export interface Product extends OperandB {
  readonly name: string;
  /** Threads that share the blocks. */
  readonly threads: number;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Sizes of the batch axes, and bytes between neighbours along them. */
  readonly batch: readonly number[];
  readonly aBatch: readonly number[];
  readonly bBatch: readonly number[];
  /** More products to add up in the same C: how many, and bytes between their operands. */
  readonly repeat?: { readonly count: number; readonly a: number; readonly b: number };
  readonly a: Ref;
  readonly aOrder: AOrder;
  /** Bytes from row to row (or, by columns, from k to k). */
  readonly aStride: number;
  /** Whether to copy each block of A to where its tiles are contiguous, by columns. */
  readonly packA?: boolean;
  /** Contiguous: batch, rows, columns. */
  readonly c: Ref;
  readonly epilogue: Epilogue | null;
}

/** Scalar ops on the result. */
export interface Epilogue {
  readonly analysis: RegionAnalysis;
  readonly inputs: readonly Ref[];
  readonly outputs: readonly Ref[];
}

/** Most columns of a block where neither B nor C is in scratch memory. */
const MOST_COLUMNS_AHEAD = 2048;
/** Blocks for each thread that are enough to share. */
const ITEMS_EACH = 4;
/** Work of one item, in floating point operations, that is not split further. */
const SMALLEST_ITEM = 1_000_000;
/** What a thread does in a nanosecond. */
const OPERATIONS = 30;

interface Blocks {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

/** Block sizes: as large as the caches like, then smaller until there are enough items to share. */
function blocksOf({ packing, epilogue, threads, rows, columns, depth, batch, repeat }: Product): Blocks {
  const operations = 2 * depth * (repeat?.count ?? 1);
  const batches = batch.reduce((n, size) => n * size, 1);
  const mostColumns = packing === "ahead" && !epilogue ? MOST_COLUMNS_AHEAD : MOST_COLUMNS;
  let r = even(rows, MOST_ROWS, TILE_ROWS), c = even(columns, mostColumns, TILE_COLUMNS);
  const items = () => batches * Math.ceil(rows / r) * Math.ceil(columns / c);
  const enough = () => items() >= ITEMS_EACH * threads || r * c * operations <= 2 * SMALLEST_ITEM;
  while (!enough() && (r > TILE_ROWS || c > TILE_COLUMNS)) {
    if (c >= r) c = roundUp(c / 2, TILE_COLUMNS);
    else r = roundUp(r / 2, TILE_ROWS);
  }
  return { rows: r, columns: c, depth: depthBlockOf(depth) };
}

/** Length of the slices of the inner axis. */
export function depthBlockOf(depth: number): number {
  return even(depth, MOST_DEPTH, 4);
}

/** The call that computes a product. */
export function callProduct(product: Product): Call {
  const { rows, columns, depth, batch, repeat, epilogue } = product;
  const blocks = blocksOf(product);
  const args: Record<string, Arg> = {
    a: product.a,
    aStride: product.aStride,
    b: product.b,
    bStride: product.bStride,
    c: product.c,
    rows,
    columns,
    depth,
    rowBlock: blocks.rows,
    columnBlock: blocks.columns,
    depthBlock: blocks.depth,
    rowBlocks: Math.ceil(rows / blocks.rows),
    columnBlocks: Math.ceil(columns / blocks.columns),
    ...product.packingArgs,
  };
  batch.forEach((n, i) => {
    args[`batch${i}`] = n;
    args[`aBatch${i}`] = product.aBatch[i];
    args[`bBatch${i}`] = product.bBatch[i];
  });
  if (repeat) Object.assign(args, { repeat: repeat.count, aRepeat: repeat.a, bRepeat: repeat.b });
  if (epilogue) Object.assign(args, argsFor(epilogue.analysis, epilogue.inputs, epilogue.outputs));
  const total = batch.reduce(
    (n, size) => n * size,
    Math.ceil(rows / blocks.rows) * Math.ceil(columns / blocks.columns),
  );
  const operations = 2 * rows * columns * depth * (repeat?.count ?? 1) * batch.reduce((n, size) => n * size, 1);
  return {
    name: product.name,
    kernel: productKernel(product, Object.keys(args)),
    args,
    total,
    chunk: chunkOf(total, operations / total / OPERATIONS),
  };
}

function productKernel(product: Product, names: readonly string[]): Kernel {
  const { aOrder, packing, epilogue, batch, repeat } = product;
  const key = [
    "product",
    `A ${aOrder}${product.packA ? " packed" : ""}`,
    `B ${packing === null ? "in place" : packing === "ahead" ? packing : packing.key}`,
    `batch ${batch.length}`,
    repeat ? "repeat" : "",
    epilogue ? keyOf(epilogue.analysis) : "",
  ];
  return kernel(key.join(" "), names, ({ f, args, begin, end }) => {
    const writer = new ProductWriter(f, args, product);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}

/** Whether C can be written in place: whole tiles of columns. */
export function fillsTiles(columns: number): boolean {
  return columns % TILE_COLUMNS === 0;
}
