/**
 * Blocked products C = A · B: the loops around the tile.
 *
 * ```text
 *  one work item = one block of C (up to 240 rows by 256 columns)
 *    for slices of the inner axis, up to 384 long
 *      pack the block's columns of B into panels of 8, in this thread's scratch memory
 *      for each panel (it stays in the first-level cache)
 *        for each tile of 5 rows: C += A · panel
 *    epilogue: fused scalar ops on the finished block, while it is in the cache
 * ```
 *
 * What B is, is the packing's business: a matrix with any strides (`matmul.ts`), or the windows of an image (`conv.ts`).
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import { argsFor, keyOf, type RegionShape } from "./region.ts";
import { RegionWriter } from "./region_code.ts";
import { v128 } from "./simd.ts";
import { type AOrder, type BOrder, callTile, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

type Int = Local<"i32">;

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

/** Pointers that differ from batch to batch. */
const BATCHED = ["a", "b"] as const;

/** One product, or a batch of them. */
export interface Product {
  readonly name: string;
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
  /** Whether to copy each block of A, which lies by columns, to where its tiles are contiguous. */
  readonly packA?: boolean;
  readonly b: Ref;
  /** The packing, or null to read B in place with its rows `bStride` bytes apart. */
  readonly packing: Packing | null;
  readonly bStride: number;
  readonly packingArgs: Readonly<Record<string, number>>;
  /** Contiguous: batch, rows, columns. */
  readonly c: Ref;
  readonly epilogue: Epilogue | null;
}

/** Scalar ops on the result. */
export interface Epilogue {
  readonly shape: RegionShape;
  readonly inputs: readonly Ref[];
  readonly outputs: readonly Ref[];
}

const MOST_ROWS = 240, MOST_COLUMNS = 256, MOST_DEPTH = 384;
/** Floats that a block of C takes in scratch memory, ahead of the packed panels. */
const BLOCK_FLOATS = MOST_ROWS * MOST_COLUMNS;
/** Floats that the packed panels take, ahead of the packed tiles of A. */
const PANEL_FLOATS = (MOST_DEPTH + 4) * MOST_COLUMNS;
/** Work of one item, in floating point operations, that is not split further. */
const SMALLEST_ITEM = 1_000_000;
const ENOUGH_ITEMS = 8;
/** What a thread does in a nanosecond. */
const OPERATIONS = 30;

interface Blocks {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

/** Bytes of one k of a tile of A. */
const TILE_BYTES = 4 * TILE_ROWS;

const roundUp = (n: number, step: number) => Math.ceil(n / step) * step;
/** The largest of equal pieces of n that are no longer than `most`, rounded up to `step`. */
const even = (n: number, most: number, step: number) => roundUp(Math.ceil(n / Math.ceil(n / most)), step);

/** Block sizes: as large as the caches like, then smaller until there are enough items to share. */
function blocksOf({ rows, columns, depth, batch, repeat }: Product): Blocks {
  const operations = 2 * depth * (repeat?.count ?? 1);
  const batches = batch.reduce((n, size) => n * size, 1);
  let r = even(rows, MOST_ROWS, TILE_ROWS), c = even(columns, MOST_COLUMNS, TILE_COLUMNS);
  const items = () => batches * Math.ceil(rows / r) * Math.ceil(columns / c);
  while (items() < ENOUGH_ITEMS && r * c * operations > 2 * SMALLEST_ITEM && (r > TILE_ROWS || c > TILE_COLUMNS)) {
    if (c >= r) c = roundUp(c / 2, TILE_COLUMNS);
    else r = roundUp(r / 2, TILE_ROWS);
  }
  return { rows: r, columns: c, depth: even(depth, MOST_DEPTH, 4) };
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
  if (epilogue) Object.assign(args, argsFor(epilogue.shape, epilogue.inputs, epilogue.outputs));
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
    `B ${packing?.key ?? "in place"}`,
    `batch ${batch.length}`,
    repeat ? "repeat" : "",
    epilogue ? keyOf(epilogue.shape) : "",
  ];
  return kernel(key.join(" "), names, ({ f, args, begin, end }) => {
    const writer = new ProductWriter(f, args, product);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}

/** Writes the product's loops into one function. */
class ProductWriter {
  readonly #bOrder: BOrder;
  readonly #block: Int;
  readonly #panels: Int;
  readonly #tiles: Int;

  constructor(readonly f: Func, readonly args: Readonly<Record<string, Int>>, readonly product: Product) {
    const scratch = f.module.global("scratch");
    this.#bOrder = product.packing ? "packed" : "inPlace";
    this.#block = f.let(scratch);
    this.#panels = f.let(i32.add(scratch, 4 * BLOCK_FLOATS));
    this.#tiles = f.let(i32.add(this.#panels, 4 * PANEL_FLOATS));
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
      new RegionWriter(f, args, product.epilogue.shape).write({
        rowBegin: firstRow,
        rowEnd: f.let(i32.add(firstRow, rows)),
        columnBegin,
        columnEnd: f.let(i32.add(columnBegin, columns)),
        result: { pointer: c, rowBytes },
      });
    }
  }

  /** The arguments with the operands' pointers moved to batch `index`. */
  #moveToBatch(index: Int): Record<string, Int> {
    const { f, args, product: { batch } } = this;
    const moved: Record<string, Int> = { ...args };
    for (const name of BATCHED) moved[name] = f.let(args[name]);
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const at = f.let(axis === 0 ? index : i32.rem_u(index, args[`batch${axis}`]));
      if (axis > 0) f.set(index, i32.div_u(index, args[`batch${axis}`]));
      for (const name of BATCHED) f.increase(moved[name], i32.mul(at, args[`${name}Batch${axis}`]));
    }
    return moved;
  }

  /** C = the sum of all slices (and repeats) of A · B. */
  #addUp(moved: Record<string, Int>, block: Block): void {
    const { f, args, product: { repeat } } = this;
    const accumulate = f.let(i32.const(0));
    const slices = (): void => {
      f.for({ to: args.depth, step: args.depthBlock }, (depthBegin) => {
        const depth = f.let(i32.min_u(f.let(i32.sub(args.depth, depthBegin)), args.depthBlock));
        this.#slice(moved, block, depthBegin, depth, accumulate);
        f.set(accumulate, i32.const(1));
      });
    };
    if (!repeat) return slices();
    f.for({ to: args.repeat }, () => {
      slices();
      for (const name of BATCHED) f.increase(moved[name], args[`${name}Repeat`]);
    });
  }

  #slice(moved: Record<string, Int>, block: Block, depthBegin: Int, depth: Int, accumulate: Int): void {
    const { f, args, product } = this;
    const { columnBegin, columns, rowBytes } = block;
    const { packing } = product;
    packing?.write(f, moved, { depthBegin, depth, columnBegin, columns, to: this.#panels });
    const { first: a, stride: aStride, step: aStep } = this.#sliceOfA(moved, block, depthBegin, depth);
    const cStep = f.let(i32.mul(rowBytes, TILE_ROWS));
    const inPlace = i32.add(i32.add(moved.b, i32.mul(depthBegin, args.bStride)), i32.shl(columnBegin, 2));
    const b = f.let(packing ? this.#panels : inPlace);
    const bStep = f.let(packing ? i32.shl(depth, 5) : i32.const(4 * TILE_COLUMNS));
    const c = f.let(block.c);
    f.for({ to: columns, step: TILE_COLUMNS }, () => {
      const aTile = f.let(a), cTile = f.let(c), left = f.let(block.rows);
      f.while(i32.gt_s(left, 0), () => {
        callTile(f, product.aOrder, this.#bOrder, left, {
          a: aTile,
          aStride,
          b,
          bStride: args.bStride,
          c: cTile,
          cStride: rowBytes,
          depth,
          accumulate,
        });
        f.increase(aTile, aStep);
        f.increase(cTile, cStep);
        f.increase(left, -TILE_ROWS);
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
      this.#packA(first, block.rows, depth, step);
      return { first: f.let(this.#tiles), stride: i32.const(TILE_BYTES), step };
    }
    const step = f.let(byRows ? i32.mul(args.aStride, TILE_ROWS) : i32.const(TILE_BYTES));
    return { first, stride: args.aStride, step };
  }

  /** Copies columns of A to tiles: for each 5 rows, for each k, 5 floats. */
  #packA(first: Int, rows: Int, depth: Int, step: Int): void {
    const { f, args } = this;
    const column = f.let(first), target = f.let(this.#tiles);
    f.for({ to: depth }, () => {
      const from = f.let(column), to = f.let(target);
      f.for({ to: rows, step: TILE_ROWS }, () => {
        f.do(v128.store(to, v128.load(from)));
        f.do(i32.store(to, i32.load(from, 16), 16));
        f.increase(from, TILE_BYTES);
        f.increase(to, step);
      });
      f.increase(column, args.aStride);
      f.increase(target, TILE_BYTES);
    });
  }
}

interface Block {
  readonly c: Int;
  readonly rowBytes: Int;
  readonly rows: Int;
  readonly columns: Int;
  readonly columnBegin: Int;
}

/** Whether C can be written in place: whole tiles of columns. */
export function fillsTiles(columns: number): boolean {
  return columns % TILE_COLUMNS === 0;
}
