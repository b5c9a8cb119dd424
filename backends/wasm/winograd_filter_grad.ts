/**
 * The gradient of filters by Winograd's algorithm. `planes` are phases and channels.
 *
 * ```text
 *  for each share of the tiles, some filters and some channels
 *    for each block of its tiles
 *                   V [positions, tiles, planes]   = Bᵀ d B, packed as the products' panels
 *                   D [positions, tiles, filters]  = A dY Aᵀ
 *                   M [positions, filters, planes] += Dᵀ · V, a product for each position
 *  once             dw                             = Gᵀ M G, of the sum of the shares' M
 * ```
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { planesOf, type Sizes } from "./direct.ts";
import { withSeparateEpilogue } from "./epilogue.ts";
import { i32 } from "./instructions.ts";
import { type Arg, type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { f32x4, v128 } from "./simd.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import type { Windows } from "./windows.ts";
import { both, type Scheme } from "./winograd.ts";
import { ARGS, ShareWriter } from "./winograd_filter_grad_code.ts";
import { offsetsOf } from "./winograd_filters.ts";
import { phasesOf, tilesOf } from "./winograd_image.ts";
import { APART, schemeOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

/** The filters' gradient of a convolution. */
export interface WinogradFilterGrad {
  readonly sizes: Sizes;
  readonly windows: Windows;
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

/** How planes are cut into blocks: an item takes one of each. */
function planeBlocks({ channels, filters }: Sizes) {
  const channelBlock = even(channels, MOST_CHANNELS, TILE_COLUMNS);
  const filterBlock = even(filters, MOST_FILTERS, TILE_ROWS);
  const channelBlocks = Math.ceil(channels / channelBlock), filterBlocks = Math.ceil(filters / filterBlock);
  return { channelBlock, filterBlock, channelBlocks, filterBlocks };
}

/** The scheme for a filter's gradient, or null if it does not pay off. */
export function filterGradScheme(sizes: Sizes, windows: Windows): Scheme | null {
  const { channelBlocks, filterBlocks } = planeBlocks(sizes);
  return schemeOf(sizes, windows, [filterBlocks, size(windows.step) * channelBlocks]);
}

/** The calls that compute `dw`, or null if the algorithm does not pay off. */
export function winogradFilterGrad(call: OpCall, conv: WinogradFilterGrad): Call[] | null {
  const scheme = filterGradScheme(conv.sizes, conv.windows);
  return scheme && withSeparateEpilogue(call, (plain) => callsOf(plain, conv, scheme));
}

/** How the work is cut, and sizes of V, D and M. */
function layoutOf({ sizes, windows: { places, step } }: WinogradFilterGrad, { positions }: Scheme) {
  const { batch, channels, filters } = sizes, phases = size(step);
  const tiles = batch * size(tilesOf(places));
  const planes = planeBlocks(sizes), { channelBlock, filterBlock, channelBlocks, filterBlocks } = planes;
  const parts = phases * channelBlocks * filterBlocks;
  const wanted = Math.min(Math.ceil(ENOUGH_ITEMS / parts), Math.floor(tiles / FEWEST_TILES));
  const share = Math.ceil(tiles / Math.max(1, wanted));
  const block = even(share, Math.floor(MOST_BYTES / (4 * positions * (channelBlock + filterBlock))), 1);
  const dRow = 4 * roundUp(filterBlock, 4), dPosition = dRow * block + APART;
  const vPanel = 4 * TILE_COLUMNS * block, vPosition = 4 * channelBlock * block + APART;
  const d = roundUp(PATCH_BYTES + positions * vPosition, 64);
  const mPhase = 4 * roundUp(channels, TILE_COLUMNS), mRow = phases * mPhase + APART;
  const mPosition = mRow * filters + APART, mShare = positions * mPosition;
  return { ...planes, tiles, share, block, vPanel, vPosition, dRow, dPosition, d, mPhase, mRow, mPosition, mShare };
}

function callsOf({ name, temporary, outputs: [dw] }: OpCall, conv: WinogradFilterGrad, scheme: Scheme): Call[] {
  const { sizes, windows } = conv;
  const { channels, filters, kernel } = sizes, { places, step } = windows;
  const layout = layoutOf(conv, scheme);
  const { tiles, share, channelBlocks, filterBlocks, mPhase, mRow, mPosition, mShare } = layout;
  const tilesOfImage = tilesOf(places), shares = Math.ceil(tiles / share), phases = size(step);
  const m = temporary(shares * mShare);
  const image = phasesOf(planesOf(conv.x, sizes), windows, scheme, temporary);
  const args: Record<typeof ARGS[number], Arg> = {
    ...image.args,
    dy: conv.dy,
    m,
    channels,
    filters,
    placesY: places[0],
    placesX: places[1],
    tilesX: tilesOfImage[1],
    tilesOfImage: size(tilesOfImage),
    ...layout,
  };
  const taps = offsetsOf([scheme.taps, scheme.taps], [step[0] * kernel[1], step[1]]);
  const sums = offsetsOf(step, [kernel[1], 1]).map((first, phase) => ({
    name,
    kernel: sumKernel(scheme, taps),
    args: {
      m: { ...m, offset: m.offset + phase * mPhase },
      dw: { ...dw.ref, offset: dw.ref.offset + 4 * first },
      channels,
      channelBytes: 4 * size(kernel),
      shares,
      mRow,
      mPosition,
      mShare,
    },
    total: filters,
    chunk: chunkOf(filters, SUM_COST * channels),
  }));
  const total = shares * filterBlocks * phases * channelBlocks;
  return [...image.calls, { name, kernel: productsKernel(scheme), args, total, chunk: 1 }, ...sums];
}

function productsKernel(scheme: Scheme): Kernel {
  return kernel(`winograd ${scheme.taps} filter gradient`, ARGS, ({ f, args, begin, end }) => {
    const writer = new ShareWriter(f, args, scheme);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}

const SUM_ARGS = ["m", "dw", "channels", "channelBytes", "shares", "mRow", "mPosition", "mShare"] as const;

/** `Gᵀ M G` of the sum of the shares, for the taps of one phase: one item is one filter. */
function sumKernel({ pixels, positions, filterGrad }: Scheme, taps: readonly number[]): Kernel {
  return kernel(`winograd filter gradient sum ${taps}`, SUM_ARGS, ({ f, args, begin, end }) => {
    const filterBytes = f.let(i32.mul(args.channels, args.channelBytes));
    f.for({ from: begin, to: end }, (filter) => {
      const from = f.let(i32.add(args.m, i32.mul(filter, args.mRow)));
      const to = f.let(i32.add(args.dw, i32.mul(filter, filterBytes)));
      f.for({ to: args.channels, step: 4 }, (channel) => {
        const sums = Array.from({ length: positions }, () => f.local("v128"));
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
        const square = Array.from({ length: pixels }, (_, row) => sums.slice(pixels * row, pixels * (row + 1)));
        const values = both(f, filterGrad, square).flat();
        const left = f.let(i32.sub(args.channels, channel));
        for (let lane = 0; lane < 4; lane++) {
          f.if(
            i32.gt_u(left, lane),
            () => values.forEach((value, k) => f.do(v128.store32_lane(to, value, lane, 4 * taps[k]))),
          );
          f.increase(to, args.channelBytes);
        }
        f.increase(from, 16);
      });
    });
  });
}
