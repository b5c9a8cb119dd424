/**
 * The loops of a blocked product; see `product.ts`.
 *
 * ```text
 *  this thread's scratch memory:  block of C (if it has an epilogue) | packed panels of B | packed tiles of A
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import { movePointers } from "./batch.ts";
import { i32 } from "./instructions.ts";
import { copyColumns, copyRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { RegionWriter } from "./region_code.ts";
import { requireScratch } from "./scratch.ts";
import { type BOrder, callPanel, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

/** Largest block of C, and longest slice of the inner axis. */
export const MOST_ROWS = 240, MOST_COLUMNS = 512, MOST_DEPTH = 384;
/** Bytes of one k of a packed tile of A: vectors of it are aligned. */
const TILE_BYTES = 32;
/** Most k that are written: packing columns may write up to a whole vector past the last. */
const DEPTH_WRITTEN = MOST_DEPTH + 4;
/** Bytes of the parts of scratch memory, in order. */
const BLOCK_BYTES = 4 * MOST_ROWS * MOST_COLUMNS;
const PANELS_BYTES = 4 * DEPTH_WRITTEN * MOST_COLUMNS;
const TILES_BYTES = TILE_BYTES * DEPTH_WRITTEN * Math.ceil(MOST_ROWS / TILE_ROWS);
requireScratch("the parts of a product", BLOCK_BYTES + PANELS_BYTES + TILES_BYTES);

/** Writes the product's loops into one function. */
export class ProductWriter {
  readonly #bOrder: BOrder;
  readonly #block: Int;
  readonly #panels: Int;
  readonly #tiles: Int;

  constructor(readonly f: Func, readonly args: Readonly<Record<string, Int>>, readonly product: Product) {
    const scratch = f.module.global("scratch");
    this.#bOrder = product.packing ? "packed" : "inPlace";
    this.#block = f.let(scratch);
    this.#panels = f.let(i32.add(scratch, BLOCK_BYTES));
    this.#tiles = f.let(i32.add(this.#panels, PANELS_BYTES));
  }

  /** One block of C. */
  item(item: Int): void {
    const { f, args, product } = this;
    const columnIndex = f.let(i32.rem_u(item, args.columnBlocks));
    const rest = f.let(i32.div_u(item, args.columnBlocks));
    const columnBegin = f.let(i32.mul(columnIndex, args.columnBlock));
    const rowBegin = f.let(i32.mul(i32.rem_u(rest, args.rowBlocks), args.rowBlock));
    f.set(rest, i32.div_u(rest, args.rowBlocks)); // the batch
    const rows = f.let(i32.sub(args.rows, rowBegin)), columns = f.let(i32.sub(args.columns, columnBegin));
    f.set(rows, i32.min_u(rows, args.rowBlock));
    f.set(columns, i32.min_u(columns, args.columnBlock));
    const firstRow = f.let(i32.add(i32.mul(rest, args.rows), rowBegin));
    const moved = this.#moveToBatch(rest);
    const aRowBytes = product.aOrder === "rows" ? args.aStride : i32.const(4);
    f.set(moved.a, i32.add(moved.a, i32.mul(rowBegin, aRowBytes)));

    const direct = product.epilogue === null;
    const rowBytes = f.let(i32.shl(direct ? args.columns : args.columnBlock, 2));
    const inC = i32.add(i32.mul(firstRow, rowBytes), i32.shl(columnBegin, 2));
    const c = f.let(direct ? i32.add(args.c, inC) : this.#block);
    this.#addUp(moved, { c, rowBytes, rows, columns, columnBegin });
    if (product.epilogue) {
      new RegionWriter(f, args, product.epilogue.analysis).write({
        rowBegin: firstRow,
        rowEnd: f.let(i32.add(firstRow, rows)),
        columnBegin,
        columnEnd: f.let(i32.add(columnBegin, columns)),
        result: { pointer: c, rowBytes },
      });
    }
  }

  /** The arguments with the operands' pointers moved to batch `index`, which is used up. */
  #moveToBatch(index: Int): Record<string, Int> {
    const { f, args, product: { batch } } = this;
    const pointers = { a: f.let(args.a), b: f.let(args.b) };
    movePointers(f, args, batch.length, pointers, index);
    return { ...args, ...pointers };
  }

  /** C = the sum of all slices (and repeats) of A · B. */
  #addUp(moved: Record<string, Int>, block: Block): void {
    const { f, args, product: { repeat } } = this;
    const accumulate = f.let(i32.const(0));
    const slices = (): void => {
      f.for({ to: args.depth, step: args.depthBlock }, (depthBegin) => {
        const depth = f.min(i32.sub(args.depth, depthBegin), args.depthBlock);
        this.#slice(moved, block, depthBegin, depth, accumulate);
        f.set(accumulate, i32.const(1));
      });
    };
    if (!repeat) return slices();
    f.for({ to: args.repeat }, () => {
      slices();
      f.increase(moved.a, args.aRepeat);
      f.increase(moved.b, args.bRepeat);
    });
  }

  #slice(moved: Record<string, Int>, block: Block, depthBegin: Int, depth: Int, accumulate: Int): void {
    const { f, args, product } = this;
    const { columnBegin, columns, rowBytes } = block;
    const { packing } = product;
    const ahead = packing === "ahead", inPlace = packing === null;
    if (!ahead && !inPlace) packing.write(f, moved, { depthBegin, depth, columnBegin, columns, to: this.#panels });
    const { first: a, stride: aStride, step: aStep } = this.#sliceOfA(moved, block, depthBegin, depth);
    const across = i32.shl(ahead ? i32.mul(columnBegin, depth) : columnBegin, 2);
    const inB = i32.add(i32.add(moved.b, i32.mul(depthBegin, args.bStride)), across);
    const b = f.let(ahead || inPlace ? inB : this.#panels);
    const bStep = f.let(inPlace ? i32.const(4 * TILE_COLUMNS) : i32.shl(depth, 5));
    const c = f.let(block.c);
    f.for({ to: columns, step: TILE_COLUMNS }, () => {
      callPanel(f, product.packA ? "columns" : product.aOrder, this.#bOrder, {
        a,
        aStride,
        aStep,
        b,
        bStride: args.bStride,
        c,
        cStride: rowBytes,
        depth,
        accumulate,
        rows: block.rows,
      });
      f.increase(b, bStep);
      f.increase(c, 4 * TILE_COLUMNS);
    });
  }

  /** Where the block's first tile of A starts, the tile function's stride, and the bytes from tile to tile. */
  #sliceOfA(moved: Record<string, Int>, block: Block, depthBegin: Int, depth: Int) {
    const { f, args, product } = this;
    const byRows = product.aOrder === "rows";
    const first = f.let(i32.add(moved.a, i32.mul(depthBegin, byRows ? i32.const(4) : args.aStride)));
    if (product.packA) {
      const step = f.let(i32.mul(depth, TILE_BYTES));
      // for each 5 rows, for each k, 8 floats, of which 5 count
      const lines = { from: first, stride: args.aStride, depth, length: block.rows, width: TILE_ROWS, to: this.#tiles };
      if (byRows) copyColumns(f, lines);
      else copyRows(f, lines);
      return { first: f.let(this.#tiles), stride: i32.const(TILE_BYTES), step };
    }
    const step = f.let(byRows ? i32.mul(args.aStride, TILE_ROWS) : i32.const(4 * TILE_ROWS));
    return { first, stride: args.aStride, step };
  }
}

interface Block {
  readonly c: Int;
  readonly rowBytes: Int;
  readonly rows: Int;
  readonly columns: Int;
  readonly columnBegin: Int;
}
