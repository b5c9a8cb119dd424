/**
 * The gradient of 3x3 filters by Winograd's F(4x4, 3x3).
 *
 * ```text
 *  for each share of the tiles, some filters and some channels
 *    for each block of its tiles
 *                   V [36, tiles, channels]        = Bᵀ d B, packed as the products' panels
 *                   D [36, tiles, filters]         = A dY Aᵀ
 *                   M [36, filters, channels]     += Dᵀ · V, 36 products
 *  once             dw                             = Gᵀ M G, of the sum of the shares' M
 * ```
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { withSeparateEpilogue } from "./epilogue.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { f32x4, v128 } from "./simd.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { both, filterGradTransform, PIXELS, POSITIONS, TAPS } from "./winograd.ts";
import { ARGS, ShareWriter } from "./winograd_filter_grad_code.ts";
import { APART, tilesOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

type Pair = readonly [number, number];

/** The filter's gradient of a stride-1 convolution with 3x3 filters. */
export interface WinogradFilterGrad {
  readonly batch: number;
  readonly channels: number;
  readonly filters: number;
  readonly image: Pair;
  readonly places: Pair;
  /** Row and column of the first tap of the first window. */
  readonly start: Pair;
  readonly x: Ref;
  readonly dy: Ref;
}

/** Most filters and channels of one item. */
const MOST_FILTERS = 13 * TILE_ROWS, MOST_CHANNELS = 8 * TILE_COLUMNS;
/** Bytes of a block that leave room in the second-level cache. */
const MOST_BYTES = 800_000;
/** Tiles that are enough for a share of its own. */
const FEWEST_TILES = 16;
/** Nanoseconds that the sum for one filter of one channel takes. */
const SUM_COST = 25;

/** The calls that compute `dw`. */
export function winogradFilterGrad(call: OpCall, conv: WinogradFilterGrad): Call[] {
  return withSeparateEpilogue(call, (plain) => callsOf(plain, conv));
}

/** How the work is cut, and sizes of V, D and M. */
function layoutOf({ batch, channels, filters, places }: WinogradFilterGrad) {
  const tiles = batch * size(tilesOf(places));
  const channelBlock = even(channels, MOST_CHANNELS, TILE_COLUMNS);
  const filterBlock = even(filters, MOST_FILTERS, TILE_ROWS);
  const channelBlocks = Math.ceil(channels / channelBlock), filterBlocks = Math.ceil(filters / filterBlock);
  const wanted = Math.min(Math.ceil(ENOUGH_ITEMS / (channelBlocks * filterBlocks)), Math.floor(tiles / FEWEST_TILES));
  const share = Math.ceil(tiles / Math.max(1, wanted));
  const block = even(share, Math.floor(MOST_BYTES / (4 * POSITIONS * (channelBlock + filterBlock))), 1);
  const dRow = 4 * roundUp(filterBlock, 4), dPosition = dRow * block + APART;
  const vPanel = 4 * TILE_COLUMNS * block, vPosition = 4 * channelBlock * block + APART;
  const d = roundUp(PATCH_BYTES + POSITIONS * vPosition, 64);
  const mRow = 4 * roundUp(channels, TILE_COLUMNS), mPosition = mRow * filters, mShare = POSITIONS * mPosition;
  const blocks = { tiles, share, block, channelBlock, filterBlock, channelBlocks, filterBlocks };
  return { ...blocks, vPanel, vPosition, dRow, dPosition, d, mRow, mPosition, mShare };
}

function callsOf({ name, temporary, outputs: [dw] }: OpCall, conv: WinogradFilterGrad): Call[] {
  const { x, dy, channels, filters, image, places, start } = conv;
  const layout = layoutOf(conv);
  const { tiles, share, channelBlocks, filterBlocks, mRow, mPosition, mShare } = layout;
  const tilesOfImage = tilesOf(places), shares = Math.ceil(tiles / share);
  const m = temporary(shares * mShare);
  const args: Record<typeof ARGS[number], Arg> = {
    x,
    dy,
    m,
    channels,
    filters,
    height: image[0],
    width: image[1],
    placesY: places[0],
    placesX: places[1],
    startY: start[0],
    startX: start[1],
    tilesX: tilesOfImage[1],
    tilesOfImage: size(tilesOfImage),
    ...layout,
  };
  const sumArgs = { m, dw: dw.ref, channels, shares, mRow, mPosition, mShare };
  return [
    { name, kernel: productsKernel, args, total: shares * filterBlocks * channelBlocks, chunk: 1 },
    { name, kernel: sumKernel, args: sumArgs, total: filters, chunk: chunkOf(filters, SUM_COST * channels) },
  ];
}

const productsKernel: Kernel = kernel("winograd filter gradient", ARGS, ({ f, args, begin, end }) => {
  const writer = new ShareWriter(f, args);
  f.for({ from: begin, to: end }, (item) => writer.item(item));
});

const SUM_ARGS = ["m", "dw", "channels", "shares", "mRow", "mPosition", "mShare"] as const;

/** `Gᵀ M G` of the sum of the shares: one item is one filter. */
const sumKernel: Kernel = kernel("winograd filter gradient sum", SUM_ARGS, ({ f, args, begin, end }) => {
  const filterBytes = f.let(i32.mul(args.channels, 4 * TAPS * TAPS));
  f.for({ from: begin, to: end }, (filter) => {
    const from = f.let(i32.add(args.m, i32.mul(filter, args.mRow)));
    const to = f.let(i32.add(args.dw, i32.mul(filter, filterBytes)));
    f.for({ to: args.channels, step: 4 }, (channel) => {
      const sums = Array.from({ length: POSITIONS }, () => f.local("v128"));
      const share = f.let(from);
      sums.forEach((sum) => f.set(sum, f32x4.const(0)));
      f.for({ to: args.shares }, () => {
        const at = f.let(share);
        for (const sum of sums) {
          f.set(sum, f32x4.add(sum, v128.load(at)));
          f.increase(at, args.mPosition);
        }
        f.increase(share, args.mShare);
      });
      const square = Array.from({ length: PIXELS }, (_, row) => sums.slice(PIXELS * row, PIXELS * (row + 1)));
      const taps = both(f, filterGradTransform, square).flat();
      const left = f.let(i32.sub(args.channels, channel));
      for (let lane = 0; lane < 4; lane++) {
        f.if(
          i32.gt_u(left, lane),
          () => taps.forEach((tap, k) => f.do(v128.store32_lane(to, tap, lane, 4 * (lane * TAPS * TAPS + k)))),
        );
      }
      f.increase(from, 16);
      f.increase(to, 4 * 4 * TAPS * TAPS);
    });
  });
});
