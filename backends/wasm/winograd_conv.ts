/**
 * 3x3 convolutions by Winograd's F(4x4, 3x3), block by block in the second-level cache.
 *
 * ```text
 *  once             U [36, filters, channels]      = G g Gᵀ
 *  for each block: some rows of tiles
 *                   V [36, channels, tiles]        = Bᵀ d B, packed as the products' panels
 *    for each chunk of filters
 *                   M [36, filters, tiles]         = U · V, 36 products
 *                   y [filters, places]            = Aᵀ M A, and the epilogue
 * ```
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { epilogueOf, withSeparateEpilogue } from "./epilogue.ts";
import { type Arg, type Call, type Kernel, kernel, type Ref } from "./kernel.ts";
import { SCRATCH_BYTES } from "./machine.ts";
import type { OpCall } from "./op_call.ts";
import type { Epilogue } from "./product.ts";
import { argsFor, keyOf } from "./region.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { OUTPUTS, POSITIONS } from "./winograd.ts";
import { ConvWriter } from "./winograd_conv_code.ts";
import { type Filters, transformFilters } from "./winograd_filters.ts";
import { APART, tilesOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

type Pair = readonly [number, number];

/** A convolution of stride 1 with 3x3 filters. */
export interface WinogradConv {
  readonly batch: number;
  readonly filters: Filters;
  readonly x: Ref;
  readonly image: Pair;
  /** Where windows start. */
  readonly places: Pair;
  /** Row and column of the first tap of the first window. */
  readonly start: Pair;
  readonly y: Ref;
}

/** Bytes of V and M that leave room in the second-level cache. */
const MOST_BYTES = 720_000;
/** Filters of a chunk. */
const CHUNK = 4 * TILE_ROWS;
/** Blocks of fewer tiles would read the filters too often. */
const FEWEST_TILES = 16;
/** Filters of one work item for which V is worth its transform. */
const FEWEST_FILTERS = 32;

/** How the work is cut: into rows of tiles, counted through the batch, and filters. */
interface Blocks {
  readonly tileRows: number;
  readonly filters: number;
}

function blocksOf({ batch, places, filters: { filters, channels } }: WinogradConv): Blocks {
  const [down, across] = tilesOf(places), rows = batch * down;
  const bytes = 4 * POSITIONS * (channels + Math.min(filters, CHUNK));
  const fewest = Math.max(1, Math.floor(FEWEST_TILES / across)), most = Math.floor(MOST_BYTES / bytes / across);
  let tileRows = Math.max(fewest, Math.min(most, Math.floor(rows / ENOUGH_ITEMS)));
  // The fullest panels, as long as that makes no more than half as many blocks again.
  const waste = (n: number) => roundUp(n * across, TILE_COLUMNS) / (n * across);
  for (let n = tileRows; n > tileRows / 1.5; n--) if (waste(n) < waste(tileRows)) tileRows = n;
  tileRows = Math.min(tileRows, rows);
  const parts = Math.min(Math.ceil(ENOUGH_ITEMS / Math.ceil(rows / tileRows)), Math.floor(filters / FEWEST_FILTERS));
  return { tileRows, filters: even(filters, Math.ceil(filters / Math.max(1, parts)), TILE_ROWS) };
}

/** The calls of a convolution, or null if a row of its tiles is too much for a thread's scratch memory. */
export function winogradConv(call: OpCall, conv: WinogradConv): Call[] | null {
  const layout = layoutOf(conv);
  if (layout.end > SCRATCH_BYTES) return null;
  const epilogue = epilogueOf(call, conv.batch * conv.filters.filters, size(conv.places));
  if (epilogue !== "separate") return callsOf(call, conv, layout, epilogue);
  return withSeparateEpilogue(call, (plain) => callsOf(plain, { ...conv, y: plain.outputs[0].ref }, layout, null));
}

/** Sizes of U, V, M and of the block of the result, and where they are in scratch memory. */
function layoutOf(conv: WinogradConv) {
  const { places, filters: { filters, channels } } = conv;
  const blocks = blocksOf(conv);
  const chunk = Math.min(blocks.filters, CHUNK);
  const columns = roundUp(blocks.tileRows * tilesOf(places)[1], TILE_COLUMNS);
  const uRow = 4 * roundUp(channels, 4), uPosition = uRow * filters;
  const vPanel = 4 * TILE_COLUMNS * channels, vPosition = 4 * channels * columns + APART;
  const mRow = 4 * columns, mPosition = chunk * mRow + APART;
  const m = roundUp(PATCH_BYTES + POSITIONS * vPosition, 64);
  const block = roundUp(m + POSITIONS * mPosition, 64);
  const end = block + 4 * OUTPUTS * places[1] * chunk * blocks.tileRows;
  return { blocks, chunk, uRow, uPosition, vPanel, vPosition, mRow, mPosition, m, block, end };
}

function callsOf(
  { name, temporary }: OpCall,
  conv: WinogradConv,
  { blocks, end: _, ...layout }: ReturnType<typeof layoutOf>,
  epilogue: Epilogue | null,
): Call[] {
  const { batch, places, image, start, filters: { filters, channels } } = conv;
  const [tilesY, tilesX] = tilesOf(places);
  const u = temporary(POSITIONS * layout.uPosition);
  const filterBlocks = Math.ceil(filters / blocks.filters);
  const args: Record<string, Arg> = {
    x: conv.x,
    u,
    y: conv.y,
    channels,
    filters,
    height: image[0],
    width: image[1],
    placesY: places[0],
    placesX: places[1],
    startY: start[0],
    startX: start[1],
    tilesY,
    tilesX,
    allRows: batch * tilesY,
    tileRows: blocks.tileRows,
    filterBlock: blocks.filters,
    filterBlocks,
    ...layout,
    ...(epilogue ? argsFor(epilogue.shape, epilogue.inputs, epilogue.outputs) : {}),
  };
  const { uRow: rowBytes, uPosition: positionBytes } = layout;
  return [transformFilters(name, conv.filters, u, { rowBytes, positionBytes }), {
    name,
    kernel: convKernel(Object.keys(args), epilogue),
    args,
    total: Math.ceil(batch * tilesY / blocks.tileRows) * filterBlocks,
    chunk: 1,
  }];
}

function convKernel(names: readonly string[], epilogue: Epilogue | null): Kernel {
  return kernel(`winograd ${epilogue ? keyOf(epilogue.shape) : ""}`, names, ({ f, args, begin, end }) => {
    const writer = new ConvWriter(f, args, epilogue);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}
