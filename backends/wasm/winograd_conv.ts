/**
 * Convolutions by Winograd's algorithm. `planes` are phases and channels.
 *
 * ```text
 *  U [filters, positions, planes] = G g Gᵀ
 *  V [positions, planes, tiles]   = Bᵀ d B, packed as the products' panels
 *  M [positions, filters, tiles]  = U · V, a product for each position
 *  y [filters, places]            = Aᵀ M A, and the epilogue
 * ```
 *
 * After U, all is *fused* where images are large: block by block, some rows of tiles each, so that V and M stay in the
 * second-level cache. But each block reads all of U. Where that is much more than V and M, with many channels and small
 * images, there are *stages* instead: all of V, then all of M, then all of y.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { planesOf } from "./direct.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { epilogueOf, withSeparateEpilogue } from "./epilogue.ts";
import { type Arg, type Call, type Kernel, kernel, type Ref } from "./kernel.ts";
import { SCRATCH_BYTES } from "./scratch.ts";
import type { OpCall } from "./op_call.ts";
import type { Epilogue } from "./product.ts";
import { argsFor, keyOf } from "./region.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { OUTPUTS, type Scheme } from "./winograd.ts";
import { ConvWriter, type Stage, type Structure } from "./winograd_conv_code.ts";
import { type Filters, transformFilters } from "./winograd_filters.ts";
import { phasesOf, tilesOf } from "./winograd_image.ts";
import { APART, type ConvShape, MOST_STAGED_BYTES, schemeOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

/** A convolution. */
export interface WinogradConv extends ConvShape {
  readonly filters: Filters;
  readonly x: Ref;
  readonly y: Result;
}

/** Where the result is: its first element, and the elements between neighbours. */
export interface Result {
  readonly ref: Ref;
  readonly plane: number;
  readonly row: number;
  readonly column: number;
}

/** A result whose elements lie together. */
export function contiguous(ref: Ref, [height, width]: readonly [number, number]): Result {
  return { ref, plane: height * width, row: width, column: 1 };
}

/** Bytes of V and M that leave room in the second-level cache. */
const MOST_BYTES = 720_000;
/** Filters of a chunk. */
const CHUNK = 4 * TILE_ROWS;
/** Blocks of fewer tiles would read the filters too often. */
const FEWEST_TILES = 16;
/** Filters of one work item for which V is worth its transform. */
const FEWEST_FILTERS = 32;
/** Most filters of a work item of the products' stage. */
const MOST_FILTERS = 13 * TILE_ROWS;
/** Stages pay off if fused blocks would read this many times the bytes of V and M. */
const PASSES = 4;

/** How the work is cut: into rows of tiles, counted through the batch, and filters. */
interface Blocks {
  readonly tileRows: number;
  readonly filters: number;
}

function blocksOf({ sizes: { batch, filters }, windows: { places } }: ConvShape, tileBytes: number): Blocks {
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

/** How the work after U is done. */
interface Plan {
  readonly scheme: Scheme;
  readonly uBytes: number;
  /** Bytes of V and M, if they are in temporary memory. */
  readonly temporary: Readonly<Record<string, number>>;
  readonly args: Readonly<Record<string, number>> & { readonly uRow: number; readonly uPosition: number };
  /** The kernels, and their work items. */
  readonly stages: readonly (readonly [Stage, number])[];
}

/** The calls of a convolution, or null if the algorithm does not pay off, or needs too much scratch memory. */
export function winogradConv(call: OpCall, conv: WinogradConv): Call[] | null {
  const { sizes, windows } = conv;
  const scheme = schemeOf(conv);
  const plan = scheme && planConv(conv, scheme);
  if (!plan) return null;
  const epilogue = epilogueOf(call, sizes.batch * sizes.filters, size(windows.places));
  if (epilogue !== "separate") return callsOf(call, conv, plan, epilogue);
  return withSeparateEpilogue(
    call,
    (plain) => callsOf(plain, { ...conv, y: { ...conv.y, ref: plain.outputs[0].ref } }, plan, null),
  );
}

/** Sizes of U, V and M, where V has so many tiles and M so many filters at once. */
function matricesOf({ sizes, windows }: ConvShape, { positions }: Scheme, tiles: number, filters: number) {
  const before = (size(windows.step) - 1) * sizes.channels; // those of all phases but the last
  const planes = before + sizes.channels, columns = roundUp(tiles, TILE_COLUMNS);
  const uPosition = 4 * roundUp(before + roundUp(sizes.channels, 4), 4) + APART, uRow = positions * uPosition;
  const vPanel = 4 * TILE_COLUMNS * planes, vPosition = 4 * planes * columns + APART;
  const mRow = 4 * columns, mPosition = filters * mRow + APART;
  const bytes = { u: sizes.filters * uRow, v: positions * vPosition, m: positions * mPosition };
  return { strides: { planes, uRow, uPosition, vPanel, vPosition, mRow, mPosition }, bytes };
}

/** The plan of a convolution, or null if there is not enough scratch memory for it. */
export function planConv(conv: ConvShape, scheme: Scheme): Plan | null {
  const { sizes: { batch, filters, channels }, windows: { places, step } } = conv, { positions } = scheme;
  const [tilesY, tilesX] = tilesOf(places), rows = batch * tilesY;
  const blocks = blocksOf(conv, 4 * positions * (size(step) * channels + Math.min(filters, CHUNK)));
  const rowBlocks = Math.ceil(rows / blocks.tileRows);
  const staged = matricesOf(conv, scheme, rows * tilesX, filters);
  const stagedBytes = staged.bytes.v + staged.bytes.m;
  if (stagedBytes <= MOST_STAGED_BYTES && rowBlocks * staged.bytes.u > PASSES * stagedBytes) {
    return planStages(conv, scheme, staged, [rows, tilesX]);
  }
  const chunk = Math.min(blocks.filters, CHUNK), filterBlocks = Math.ceil(filters / blocks.filters);
  const { strides, bytes } = matricesOf(conv, scheme, blocks.tileRows * tilesX, chunk);
  const v = PATCH_BYTES, m = roundUp(v + bytes.v, 64), block = roundUp(m + bytes.m, 64);
  if (block + stripBytes(conv) * chunk * blocks.tileRows > SCRATCH_BYTES) return null;
  return {
    scheme,
    uBytes: bytes.u,
    temporary: {},
    args: { ...strides, v, m, block, tileRows: blocks.tileRows, filterBlock: blocks.filters, filterBlocks, chunk },
    stages: [["fused", rowBlocks * filterBlocks]],
  };
}

/** Bytes of four rows of places. */
function stripBytes({ windows: { places } }: ConvShape): number {
  return 4 * OUTPUTS * places[1];
}

function planStages(
  conv: ConvShape,
  scheme: Scheme,
  { strides, bytes }: ReturnType<typeof matricesOf>,
  [rows, tilesX]: readonly [number, number],
): Plan | null {
  const { filters } = conv.sizes, tiles = rows * tilesX;
  const tileRows = Math.min(rows, Math.ceil(FEWEST_TILES / tilesX)), chunk = Math.min(filters, CHUNK);
  if (PATCH_BYTES + stripBytes(conv) * chunk * tileRows > SCRATCH_BYTES) return null;
  const productBlock = even(filters, MOST_FILTERS, TILE_ROWS), productBlocks = Math.ceil(filters / productBlock);
  const blocks = { tileRows, filterBlock: filters, filterBlocks: 1, productBlock, productBlocks };
  return {
    scheme,
    uBytes: bytes.u,
    temporary: { v: bytes.v, m: bytes.m },
    args: { ...strides, ...blocks, tiles, block: PATCH_BYTES, chunk },
    stages: [
      ["image", Math.ceil(tiles / TILE_COLUMNS)],
      ["products", scheme.positions * productBlocks],
      ["output", Math.ceil(rows / tileRows)],
    ],
  };
}

function callsOf({ name, temporary }: OpCall, conv: WinogradConv, plan: Plan, epilogue: Epilogue | null): Call[] {
  const { sizes, windows, x, y } = conv, { places } = windows, { scheme } = plan;
  const [tilesY, tilesX] = tilesOf(places);
  const u = temporary(plan.uBytes);
  const image = phasesOf(planesOf(x, sizes), windows, scheme, temporary);
  const args: Record<string, Arg> = {
    ...image.args,
    u,
    y: y.ref,
    yRow: 4 * y.row,
    yPlane: 4 * y.plane,
    channels: sizes.channels,
    filters: sizes.filters,
    placesY: places[0],
    placesX: places[1],
    tilesY,
    tilesX,
    allRows: sizes.batch * tilesY,
    ...plan.args,
  };
  for (const [matrix, bytes] of Object.entries(plan.temporary)) args[matrix] = temporary(bytes);
  if (epilogue) Object.assign(args, argsFor(epilogue.analysis, epilogue.inputs, epilogue.outputs));
  const { uRow: rowBytes, uPosition: positionBytes } = plan.args;
  return [
    ...image.calls,
    ...transformFilters(name, scheme, conv, u, { rowBytes, positionBytes }),
    ...plan.stages.map(([stage, total]) => {
      return {
        name,
        kernel: convKernel(stage, Object.keys(args), { scheme, epilogue, step: y.column }),
        args,
        total,
        chunk: 1,
      };
    }),
  ];
}

function convKernel(stage: Stage, names: readonly string[], structure: Structure): Kernel {
  const { scheme, epilogue, step } = structure;
  const key = `winograd ${stage} ${scheme.taps} by ${step} ${epilogue ? keyOf(epilogue.analysis) : ""}`;
  return kernel(key, names, ({ f, args, begin, end }) => {
    const writer = new ConvWriter(f, args, structure);
    f.for({ from: begin, to: end }, (item) => writer[stage](item));
  });
}
