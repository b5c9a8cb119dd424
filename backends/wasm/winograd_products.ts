/**
 * What Winograd's convolution and its filter gradient share: when they pay off, and the products of the 36 positions.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import type { ConvAttrs } from "../../ops/conv.ts";
import type { Func, Local } from "./assembler.ts";
import type { Sizes } from "./direct.ts";
import { type Expr, i32 } from "./instructions.ts";
import { type AOrder, callTile, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { OUTPUTS, POSITIONS, TAPS } from "./winograd.ts";

type Int = Local<"i32">;

/** Added to the bytes between positions, lest they all meet in the same set of the cache. */
export const APART = 64;
/** With fewer channels or filters, the products' loops are too short. */
const FEWEST_PLANES = 8;
/** What transforming one tile of a plane, and one filter, takes, in multiplications of a product. */
const TILE_COST = 200, FILTER_COST = 300;

/** How many tiles cover a plane, down and across. */
export function tilesOf(places: readonly [number, number]): readonly [number, number] {
  return [Math.ceil(places[0] / OUTPUTS), Math.ceil(places[1] / OUTPUTS)];
}

/** Whether a convolution with these places is one for Winograd's algorithm, and cheaper by it. */
export function paysOff(sizes: Sizes, places: readonly [number, number], attrs: ConvAttrs): boolean {
  const { batch, channels, filters, kernel } = sizes;
  const { stride, dilation, groups, padding } = attrs;
  const all = (pair: readonly [number, number], n: number) => pair[0] === n && pair[1] === n;
  if (groups !== 1 || !all(kernel, TAPS) || !all(stride, 1) || !all(dilation, 1)) return false;
  // With more padding than this, tiles could lie far outside of the image.
  if (padding.flat().some((n) => n < 0 || n >= TAPS)) return false;
  if (Math.min(channels, filters) < FEWEST_PLANES) return false;
  const tiles = batch * size(tilesOf(places)), pairs = channels * filters;
  const cost = tiles * (POSITIONS * pairs + TILE_COST * (channels + filters)) + FILTER_COST * pairs;
  return cost < batch * size(places) * TAPS * TAPS * pairs;
}

/** `C = A · B` for every position. Strides in bytes; B is packed in panels of 8 columns. */
export interface Products {
  readonly a: Int;
  readonly aOrder: AOrder;
  readonly aStride: Int;
  readonly aPosition: Int;
  readonly b: Int;
  readonly bPanel: Int;
  readonly bPosition: Int;
  readonly c: Int;
  readonly cRow: Int;
  readonly cPosition: Int;
  readonly rows: Int;
  readonly columns: Int;
  readonly depth: Int;
  /** Whether to add to what is there. */
  readonly accumulate: Expr<"i32">;
}

/** Writes the loops over positions, panels and tiles of rows. */
export function multiplyPositions(f: Func, products: Products): void {
  const { aOrder, aStride, cRow, rows, columns, depth, accumulate } = products;
  const aPosition = f.let(products.a), bPosition = f.let(products.b), cPosition = f.let(products.c);
  const aStep = f.let(aOrder === "rows" ? i32.mul(aStride, TILE_ROWS) : i32.const(4 * TILE_ROWS));
  const cStep = f.let(i32.mul(cRow, TILE_ROWS));
  f.for({ to: POSITIONS }, () => {
    const b = f.let(bPosition), panel = f.let(cPosition);
    f.for({ to: columns, step: TILE_COLUMNS }, () => {
      const a = f.let(aPosition), c = f.let(panel), left = f.let(rows);
      f.while(i32.gt_s(left, 0), () => {
        callTile(f, aOrder, "packed", left, { a, aStride, b, bStride: aStride, c, cStride: cRow, depth, accumulate });
        f.increase(a, aStep);
        f.increase(c, cStep);
        f.increase(left, -TILE_ROWS);
      });
      f.increase(b, products.bPanel);
      f.increase(panel, 4 * TILE_COLUMNS);
    });
    f.increase(aPosition, products.aPosition);
    f.increase(bPosition, products.bPosition);
    f.increase(cPosition, products.cPosition);
  });
}
