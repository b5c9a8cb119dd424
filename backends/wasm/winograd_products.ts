/**
 * What Winograd's convolution and its filter gradient share: when they pay off, and the products of all positions.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import type { Func, Int } from "./assembler.ts";
import type { Sizes } from "./direct.ts";
import { type Expr, i32 } from "./instructions.ts";
import { type AOrder, callPanel, TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import type { Windows } from "./windows.ts";
import { type Scheme, THREE, TWO } from "./winograd.ts";
import { tilesOf } from "./winograd_image.ts";

/** Added to the bytes between positions, lest they all meet in the same set of the cache. */
export const APART = 64;
/** Most bytes of matrices that are kept whole between stages: what a third-level cache holds. */
export const MOST_STAGED_BYTES = 1 << 25;
/** With fewer channels or filters, the products' loops are too short. */
const FEWEST_PLANES = 8;
/** What transforming a tile of a plane, and a filter of a channel, takes, in multiplications of a product. */
const ONE_PHASE = { tile: 200, filter: 300 };
/** The same with several phases, whose pixels and taps lie apart. */
const PHASES = { tile: 300, filter: 600 };

/** A convolution's shape. */
export interface ConvShape {
  readonly sizes: Sizes;
  readonly windows: Windows;
}

/**
 * The scheme for these windows of an image, or null if they are not for Winograd's algorithm or not cheaper by it, when
 * it transforms the input's planes and the output's so many `times`.
 */
export function schemeOf(
  { sizes: { batch, groups, channels, filters, input }, windows }: ConvShape,
  times: readonly [number, number] = [1, 1],
): Scheme | null {
  const { places, kernel, step, spread, start } = windows;
  const phases = size(step);
  const scheme = [TWO, THREE].find(({ taps }) => kernel.every((length, axis) => length === taps * step[axis]));
  if (!scheme || groups !== 1 || spread.some((n) => n !== 1)) return null;
  const { taps, positions } = scheme;
  // With windows further out, tiles could lie far outside of the image.
  const isFar = (axis: 0 | 1) => Math.max(-start[axis], start[axis] + places[axis] + taps - 1 - input[axis]) >= taps;
  if (phases === 1 && (isFar(0) || isFar(1))) return null;
  if (Math.min(phases * channels, filters) < FEWEST_PLANES) return null;
  const tiles = batch * size(tilesOf(places)), planes = phases * channels, pairs = planes * filters;
  const each = phases === 1 ? ONE_PHASE : PHASES;
  const transforms = each.tile * (times[0] * planes + times[1] * filters);
  const cost = tiles * (positions * pairs + transforms) + each.filter * pairs;
  return cost < batch * size(places) * taps * taps * pairs ? scheme : null;
}

/** `C = A · B` for every position. Strides in bytes; B is packed in panels of 8 columns. */
export interface Products {
  readonly positions: number;
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
  f.for({ to: products.positions }, () => {
    const b = f.let(bPosition), panel = f.let(cPosition);
    f.for({ to: columns, step: TILE_COLUMNS }, () => {
      callPanel(f, aOrder, "packed", {
        a: aPosition,
        aStride,
        aStep,
        b,
        bStride: aStride,
        c: panel,
        cStride: cRow,
        depth,
        accumulate,
        rows,
      });
      f.increase(b, products.bPanel);
      f.increase(panel, 4 * TILE_COLUMNS);
    });
    f.increase(aPosition, products.aPosition);
    f.increase(bPosition, products.bPosition);
    f.increase(cPosition, products.cPosition);
  });
}
