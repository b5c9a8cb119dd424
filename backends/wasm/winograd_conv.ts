/**
 * Convolutions by Winograd's algorithm, block by block in the second-level cache. `planes` are phases and channels.
 *
 * ```text
 *  once             U [positions, filters, planes] = G g Gᵀ
 *  for each block: some rows of tiles
 *                   V [positions, planes, tiles]   = Bᵀ d B, packed as the products' panels
 *    for each chunk of filters
 *                   M [positions, filters, tiles]  = U · V, a product for each position
 *                   y [filters, places]            = Aᵀ M A, and the epilogue
 * ```
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { planesOf, type Sizes } from "./direct.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { epilogueOf, withSeparateEpilogue } from "./epilogue.ts";
import { type Arg, type Call, type Kernel, kernel, type Ref } from "./kernel.ts";
import { SCRATCH_BYTES } from "./machine.ts";
import type { OpCall } from "./op_call.ts";
import type { Epilogue } from "./product.ts";
import { argsFor, keyOf } from "./region.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import type { Windows } from "./windows.ts";
import { OUTPUTS, type Scheme } from "./winograd.ts";
import { ConvWriter } from "./winograd_conv_code.ts";
import { type Filters, transformFilters } from "./winograd_filters.ts";
import { phasesOf, tilesOf } from "./winograd_image.ts";
import { APART, schemeOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

/** A convolution. */
export interface WinogradConv {
  readonly sizes: Sizes;
  readonly windows: Windows;
  readonly filters: Filters;
  readonly x: Ref;
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

function blocksOf({ sizes: { batch, filters }, windows: { places } }: WinogradConv, tileBytes: number): Blocks {
  const [down, across] = tilesOf(places), rows = batch * down;
  const fewest = Math.max(1, Math.floor(FEWEST_TILES / across)), most = Math.floor(MOST_BYTES / tileBytes / across);
  let tileRows = Math.max(fewest, Math.min(most, Math.floor(rows / ENOUGH_ITEMS)));
  // The fullest panels, as long as that makes no more than half as many blocks again.
  const waste = (n: number) => roundUp(n * across, TILE_COLUMNS) / (n * across);
  for (let n = tileRows; n > tileRows / 1.5; n--) if (waste(n) < waste(tileRows)) tileRows = n;
  tileRows = Math.min(tileRows, rows);
  const parts = Math.min(Math.ceil(ENOUGH_ITEMS / Math.ceil(rows / tileRows)), Math.floor(filters / FEWEST_FILTERS));
  return { tileRows, filters: even(filters, Math.ceil(filters / Math.max(1, parts)), TILE_ROWS) };
}

/** The calls of a convolution, or null if the algorithm does not pay off, or needs too much scratch memory. */
export function winogradConv(call: OpCall, conv: WinogradConv): Call[] | null {
  const { sizes, windows } = conv;
  const scheme = schemeOf(sizes, windows);
  const layout = scheme && layoutOf(conv, scheme);
  if (!layout || layout.end > SCRATCH_BYTES) return null;
  const epilogue = epilogueOf(call, sizes.batch * sizes.filters, size(windows.places));
  if (epilogue !== "separate") return callsOf(call, conv, layout, epilogue);
  return withSeparateEpilogue(call, (plain) => callsOf(plain, { ...conv, y: plain.outputs[0].ref }, layout, null));
}

/** Sizes of U, V, M and of the block of the result, and where they are in scratch memory. */
function layoutOf(conv: WinogradConv, scheme: Scheme) {
  const { sizes: { filters, channels }, windows: { places, step } } = conv, { positions } = scheme;
  const before = (size(step) - 1) * channels, planes = before + channels; // before: those of all phases but the last
  const blocks = blocksOf(conv, 4 * positions * (planes + Math.min(filters, CHUNK)));
  const chunk = Math.min(blocks.filters, CHUNK);
  const columns = roundUp(blocks.tileRows * tilesOf(places)[1], TILE_COLUMNS);
  const uRow = 4 * roundUp(before + roundUp(channels, 4), 4), uPosition = uRow * filters + APART;
  const vPanel = 4 * TILE_COLUMNS * planes, vPosition = 4 * planes * columns + APART;
  const mRow = 4 * columns, mPosition = chunk * mRow + APART;
  const m = roundUp(PATCH_BYTES + positions * vPosition, 64);
  const block = roundUp(m + positions * mPosition, 64);
  const end = block + 4 * OUTPUTS * places[1] * chunk * blocks.tileRows;
  return { scheme, blocks, planes, chunk, uRow, uPosition, vPanel, vPosition, mRow, mPosition, m, block, end };
}

function callsOf(
  { name, temporary }: OpCall,
  conv: WinogradConv,
  { scheme, blocks, end: _, ...layout }: ReturnType<typeof layoutOf>,
  epilogue: Epilogue | null,
): Call[] {
  const { sizes, windows, x, y } = conv, { places } = windows;
  const [tilesY, tilesX] = tilesOf(places);
  const u = temporary(scheme.positions * layout.uPosition);
  const filterBlocks = Math.ceil(sizes.filters / blocks.filters);
  const image = phasesOf(planesOf(x, sizes), windows, scheme, temporary);
  const args: Record<string, Arg> = {
    ...image.args,
    u,
    y,
    channels: sizes.channels,
    filters: sizes.filters,
    placesY: places[0],
    placesX: places[1],
    tilesY,
    tilesX,
    allRows: sizes.batch * tilesY,
    tileRows: blocks.tileRows,
    filterBlock: blocks.filters,
    filterBlocks,
    ...layout,
    ...(epilogue ? argsFor(epilogue.shape, epilogue.inputs, epilogue.outputs) : {}),
  };
  const { uRow: rowBytes, uPosition: positionBytes } = layout;
  return [...image.calls, ...transformFilters(name, scheme, conv, u, { rowBytes, positionBytes }), {
    name,
    kernel: convKernel(Object.keys(args), scheme, epilogue),
    args,
    total: Math.ceil(sizes.batch * tilesY / blocks.tileRows) * filterBlocks,
    chunk: 1,
  }];
}

function convKernel(names: readonly string[], scheme: Scheme, epilogue: Epilogue | null): Kernel {
  const key = `winograd ${scheme.taps} ${epilogue ? keyOf(epilogue.shape) : ""}`;
  return kernel(key, names, ({ f, args, begin, end }) => {
    const writer = new ConvWriter(f, args, scheme, epilogue);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}
