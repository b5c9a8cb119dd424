/**
 * B packed once, ahead of its product: for large matrices, which every block of rows would pack again.
 *
 * ```text
 *  slice of the inner axis (as long as the product's) | panel of 8 columns | k | 8 floats
 * ```
 *
 * @module
 */
import { even, roundUp } from "./blocks.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import type { Packing } from "./packing.ts";
import { MOST_COLUMNS, MOST_ROWS } from "./product_code.ts";
import { TILE_COLUMNS } from "./tile.ts";

/** What is to be packed. */
export interface Unpacked {
  readonly name: string;
  readonly depth: number;
  readonly columns: number;
  /** Length of the product's slices of the inner axis. */
  readonly depthBlock: number;
  readonly b: Ref;
  /** Bytes from row to row. */
  readonly bStride: number;
  readonly packing: Packing;
  readonly packingArgs: Readonly<Record<string, Arg>>;
}

/** B of this many bytes, read by this many blocks of rows, pays for a call of its own. */
const FEWEST_BYTES = 1 << 18, FEWEST_BLOCKS = 3;
/** About what a thread packs in a nanosecond, in bytes. */
const SPEED = 8;

/** Whether to pack a matrix ahead of a product with so many rows. */
export function paysAhead(rows: number, columns: number, depth: number): boolean {
  // panels of whole vectors: no thread writes past its own
  return depth % 4 === 0 && 4 * depth * columns >= FEWEST_BYTES && rows > (FEWEST_BLOCKS - 1) * MOST_ROWS;
}

/** Bytes of the panels. */
export function packedBytes(depth: number, columns: number): number {
  return 4 * depth * roundUp(columns, TILE_COLUMNS);
}

/** The call that packs a matrix to `panels`. */
export function callPacking(from: Unpacked, panels: Ref): Call {
  const { name, depth, columns, depthBlock, b, bStride, packing, packingArgs } = from;
  const columnBlock = even(columns, MOST_COLUMNS / 2, TILE_COLUMNS), columnBlocks = Math.ceil(columns / columnBlock);
  const padded = roundUp(columns, TILE_COLUMNS);
  const args = { b, bStride, panels, depth, depthBlock, columns, columnBlock, columnBlocks, padded, ...packingArgs };
  const total = Math.ceil(depth / depthBlock) * columnBlocks;
  const chunk = chunkOf(total, packedBytes(depth, columns) / total / SPEED);
  return { name, kernel: packingKernel(packing, Object.keys(args)), args, total, chunk };
}

function packingKernel(packing: Packing, names: readonly string[]): Kernel {
  return kernel(`pack ${packing.key}`, names, ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (item) => {
      const columnBegin = f.let(i32.mul(i32.rem_u(item, args.columnBlocks), args.columnBlock));
      const depthBegin = f.let(i32.mul(i32.div_u(item, args.columnBlocks), args.depthBlock));
      const columns = f.min(i32.sub(args.columns, columnBegin), args.columnBlock);
      const depth = f.min(i32.sub(args.depth, depthBegin), args.depthBlock);
      const before = i32.add(i32.mul(depthBegin, args.padded), i32.mul(columnBegin, depth));
      const to = f.let(i32.add(args.panels, i32.shl(before, 2)));
      packing.write(f, args, { depthBegin, depth, columnBegin, columns, to });
    });
  });
}
