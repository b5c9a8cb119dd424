/**
 * The gradient of filters by Winograd's algorithm. `planes` are phases and channels.
 *
 * ```text
 *  V [positions, tiles, planes]   = Bᵀ d B, packed as the products' panels
 *  D [positions, tiles, filters]  = A dY Aᵀ
 *  M [positions, filters, planes] = Dᵀ · V, a product for each position
 *  dw                             = Gᵀ M G
 * ```
 *
 * The first three are *fused* where there are few planes and filters: each work item takes some tiles, filters and
 * planes, block by block so that V and D stay in the second-level cache, and adds to its share of M. Where items would
 * transform the same tiles again and again, there are *stages* instead: all of V and all of D, then M.
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
import { requireScratch } from "./scratch.ts";
import { f32x4, v128 } from "./simd.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";
import { both, type Scheme } from "./winograd.ts";
import { ARGS, FilterGradWriter, type Stage, STAGE_TILES } from "./winograd_filter_grad_code.ts";
import { offsetsOf } from "./winograd_filters.ts";
import { phasesOf, tilesOf } from "./winograd_image.ts";
import { APART, type ConvShape, MOST_STAGED_BYTES, schemeOf } from "./winograd_products.ts";
import { PATCH_BYTES } from "./winograd_tiles.ts";

/** The filters' gradient of a convolution. */
export interface WinogradFilterGrad extends ConvShape {
  readonly x: Ref;
  readonly dy: Ref;
}

/** Most filters and channels of one item. */
const MOST_FILTERS = 13 * TILE_ROWS, MOST_CHANNELS = 8 * TILE_COLUMNS;
/** Bytes of a block that leave room in the second-level cache. */
const MOST_BYTES = 800_000;
/** Tiles that are enough for a share of its own. */
const FEWEST_TILES = 16;
/** Stages pay off if fused items would transform this many times as many tiles. */
const TIMES = 2;
/** Most tiles of a product's slice. */
const MOST_DEPTH = 384;
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
export function filterGradScheme(shape: ConvShape): Scheme | null {
  const { channelBlocks, filterBlocks } = planeBlocks(shape.sizes);
  return schemeOf(shape, [filterBlocks, size(shape.windows.step) * channelBlocks]);
}

/** The calls that compute `dw`, or null if the algorithm does not pay off. */
export function winogradFilterGrad(call: OpCall, conv: WinogradFilterGrad): Call[] | null {
  const scheme = filterGradScheme(conv);
  return scheme && withSeparateEpilogue(call, (plain) => callsOf(plain, conv, scheme));
}

/** How M is made. */
interface Plan {
  /** Bytes of V and D, if they are in temporary memory. */
  readonly temporary: Readonly<Record<string, number>>;
  readonly args: Readonly<Record<string, number>>;
  /** How many parts of M are to be added up. */
  readonly shares: number;
  /** The kernels, and their work items. */
  readonly stages: readonly (readonly [Stage, number])[];
}

/** Sizes of V and D, for so many tiles and channels, with rows of D so many bytes apart. */
function matricesOf({ positions }: Scheme, tiles: number, channels: number, dRow: number) {
  const vPanel = 4 * TILE_COLUMNS * tiles, vPosition = 4 * channels * tiles + APART;
  const dPosition = dRow * tiles + APART;
  return { strides: { vPanel, vPosition, dRow, dPosition }, v: positions * vPosition, d: positions * dPosition };
}

/** How the matrices of a filter's gradient are made. */
export function planFilterGrad({ sizes, windows: { places, step } }: ConvShape, scheme: Scheme): Plan {
  const { batch, channels, filters } = sizes, { positions } = scheme, phases = size(step), planes = phases * channels;
  const tiles = batch * size(tilesOf(places));
  const blocks = planeBlocks(sizes), { channelBlock, filterBlock, channelBlocks, filterBlocks } = blocks;
  const parts = phases * channelBlocks * filterBlocks;
  const whole = matricesOf(scheme, tiles, channelBlock * channelBlocks, 4 * roundUp(filters, 4) + APART);
  const transforms = filterBlocks * planes + phases * channelBlocks * filters;
  if (transforms > TIMES * (planes + filters) && phases * whole.v + whole.d <= MOST_STAGED_BYTES) {
    const block = even(tiles, MOST_DEPTH, 1), vPhase = whole.v;
    return {
      temporary: { v: phases * whole.v, d: whole.d },
      args: { ...blocks, ...whole.strides, vPhase, block, tiles, share: tiles },
      shares: 1,
      stages: [
        ["image", phases * Math.ceil(tiles / STAGE_TILES)],
        ["outputGrad", Math.ceil(tiles / STAGE_TILES)],
        ["products", positions * parts],
      ],
    };
  }
  const wanted = Math.min(Math.ceil(ENOUGH_ITEMS / parts), Math.floor(tiles / FEWEST_TILES));
  const share = Math.ceil(tiles / Math.max(1, wanted)), shares = Math.ceil(tiles / share);
  const block = even(share, Math.floor(MOST_BYTES / (4 * positions * (channelBlock + filterBlock))), 1);
  const matrices = matricesOf(scheme, block, channelBlock, 4 * roundUp(filterBlock, 4));
  const v = PATCH_BYTES, d = roundUp(v + matrices.v, 64);
  requireScratch("a block of V and D", d + matrices.d);
  const args = { ...blocks, ...matrices.strides, vPhase: 0, v, d, block, tiles, share };
  return { temporary: {}, args, shares, stages: [["fused", shares * parts]] };
}

function callsOf(call: OpCall, conv: WinogradFilterGrad, scheme: Scheme): Call[] {
  const { name, temporary } = call, { sizes, windows } = conv;
  const { channels, filters } = sizes, { places, step } = windows;
  const plan = planFilterGrad(conv, scheme), phases = size(step);
  const mPhase = 4 * roundUp(channels, TILE_COLUMNS), mRow = phases * mPhase + APART;
  const mPosition = mRow * filters + APART, mShare = scheme.positions * mPosition;
  const m = temporary(plan.shares * mShare);
  const image = phasesOf(planesOf(conv.x, sizes), windows, scheme, temporary);
  const tilesOfImage = tilesOf(places);
  const args: Record<string, Arg> = {
    ...image.args,
    dy: conv.dy,
    m,
    channels,
    filters,
    placesY: places[0],
    placesX: places[1],
    tilesX: tilesOfImage[1],
    tilesOfImage: size(tilesOfImage),
    mPhase,
    mRow,
    mPosition,
    mShare,
    ...plan.args,
  };
  for (const [matrix, bytes] of Object.entries(plan.temporary)) args[matrix] = temporary(bytes);
  const stages = plan.stages.map(([stage, total]) => ({
    name,
    kernel: stageKernel(stage, scheme),
    args,
    total,
    chunk: 1,
  }));
  const sums = { m, shares: plan.shares, mPhase, mRow, mPosition, mShare };
  return [...image.calls, ...stages, ...sumCalls(call, conv, scheme, sums)];
}

/** M as the stages leave it: its shares, and bytes between neighbours. */
interface Sums {
  readonly m: Ref;
  readonly shares: number;
  readonly mPhase: number;
  readonly mRow: number;
  readonly mPosition: number;
  readonly mShare: number;
}

/** The calls that make `dw` of M, one for each phase. */
function sumCalls(
  { name, outputs: [dw] }: OpCall,
  { sizes: { channels, filters, kernel }, windows: { step } }: WinogradFilterGrad,
  scheme: Scheme,
  { m, mPhase, ...sums }: Sums,
): Call[] {
  const taps = offsetsOf([scheme.taps, scheme.taps], [step[0] * kernel[1], step[1]]);
  return offsetsOf(step, [kernel[1], 1]).map((first, phase) => ({
    name,
    kernel: sumKernel(scheme, taps),
    args: {
      m: { ...m, offset: m.offset + phase * mPhase },
      dw: { ...dw.ref, offset: dw.ref.offset + 4 * first },
      channels,
      channelBytes: 4 * size(kernel),
      ...sums,
    },
    total: filters,
    chunk: chunkOf(filters, SUM_COST * channels),
  }));
}

function stageKernel(stage: Stage, scheme: Scheme): Kernel {
  return kernel(`winograd ${stage} ${scheme.taps} of filter gradient`, ARGS, ({ f, args, begin, end }) => {
    const writer = new FilterGradWriter(f, args, scheme);
    f.for({ from: begin, to: end }, (item) => writer[stage](item));
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
