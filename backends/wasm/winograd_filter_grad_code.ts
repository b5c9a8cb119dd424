/**
 * The code of Winograd's filter gradient; see `winograd_filter_grad.ts`.
 *
 * ```text
 *  this thread's scratch memory:  patch of four tiles | V | D
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import { v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";
import { OUTPUTS, type Scheme } from "./winograd.ts";
import { IMAGE_ARGS, phaseAddress } from "./winograd_image.ts";
import { multiplyPositions } from "./winograd_products.ts";
import {
  imageReading,
  type ImageSizes,
  outputGradReading,
  type Reading,
  readTiles,
  type Tile,
} from "./winograd_tiles.ts";

/** Arguments of the kernel. */
export const ARGS = [
  ...IMAGE_ARGS,
  "dy",
  "m",
  "channels",
  "filters",
  "placesY",
  "placesX",
  "tilesX",
  "tilesOfImage",
  "tiles",
  "share",
  "block",
  "channelBlock",
  "filterBlock",
  "channelBlocks",
  "filterBlocks",
  "vPosition",
  "vPanel",
  "dRow",
  "dPosition",
  "v",
  "d",
  "vPhase",
  "mPhase",
  "mRow",
  "mPosition",
  "mShare",
] as const;

/** A range of channels or filters. */
interface Planes {
  readonly first: Int;
  readonly count: Int;
}

/** Tiles that are transformed together. */
interface Block {
  readonly first: Int;
  readonly count: Int;
}

/** Where the first of some products' matrices are, and their sizes. */
interface Product {
  readonly d: Int;
  readonly v: Int;
  readonly m: Int;
  readonly block: Block;
  readonly filters: Planes;
  readonly channels: Planes;
  /** Whether to add to what is there. */
  readonly accumulate: Int;
}

/** An image and how its tiles are read. */
interface Source {
  readonly reading: Reading;
  readonly image: Int;
  readonly sizes: ImageSizes;
  /** Planes of one image, and bytes from one to the next. */
  readonly planes: Int;
  readonly planeBytes: Int;
  /** Row and column of the first tile. */
  readonly start: readonly [number | Int, number | Int];
}

/** What a kernel does: everything for a share, or all of V, all of D, all of M. */
export type Stage = "fused" | "image" | "outputGrad" | "products";

/** Tiles of a work item of the stages that transform. */
export const STAGE_TILES = 16;

/** Writes the work items of each stage. */
export class FilterGradWriter {
  readonly #patch: Int;

  constructor(
    readonly f: Func,
    readonly args: Readonly<Record<typeof ARGS[number], Int>>,
    readonly scheme: Scheme,
  ) {
    this.#patch = f.let(f.module.global("scratch"));
  }

  /** Everything for a share of the tiles, a phase, some filters and channels; V and D are in this thread's scratch memory. */
  fused(item: Int): void {
    const { f, args } = this;
    const { phase, filters, channels, rest: share } = this.#planes(item);
    const v = f.let(i32.add(this.#patch, args.v)), d = f.let(i32.add(this.#patch, args.d));
    const m = f.let(i32.add(this.#productAt(phase, filters, channels), i32.mul(share, args.mShare)));
    const x = phaseAddress(f, args, phase);
    const begin = f.let(i32.mul(share, args.share));
    this.#eachBlock(begin, f.min(i32.add(begin, args.share), args.tiles), (block) => {
      this.#transformImage(x, block, channels, v);
      this.#transformOutputGrad(block, filters, d);
      const accumulate = f.let(i32.ne(block.first, begin));
      this.#multiply(this.scheme.positions, { d, v, m, block, filters, channels, accumulate });
    });
  }

  /** V of some tiles of a phase. */
  image(item: Int): void {
    const { f, args } = this;
    const phase = f.let(i32.rem_u(item, args.phases));
    const block = this.#stageBlock(f.let(i32.div_u(item, args.phases)));
    const all = { first: f.let(i32.const(0)), count: args.channels };
    const v = i32.add(i32.add(args.v, i32.mul(phase, args.vPhase)), i32.mul(block.first, 4 * TILE_COLUMNS));
    this.#transformImage(phaseAddress(f, args, phase), block, all, f.let(v));
  }

  /** D of some tiles. */
  outputGrad(item: Int): void {
    const { f, args } = this;
    const block = this.#stageBlock(item);
    const all = { first: f.let(i32.const(0)), count: args.filters };
    this.#transformOutputGrad(block, all, f.let(i32.add(args.d, i32.mul(block.first, args.dRow))));
  }

  /** M of one position and phase, some filters and channels. */
  products(item: Int): void {
    const { f, args } = this;
    const { phase, filters, channels, rest: position } = this.#planes(item);
    const panel = i32.mul(i32.div_u(channels.first, TILE_COLUMNS), args.vPanel);
    const vs = f.let(
      i32.add(i32.add(args.v, i32.mul(phase, args.vPhase)), i32.add(i32.mul(position, args.vPosition), panel)),
    );
    const ds = f.let(i32.add(i32.add(args.d, i32.mul(position, args.dPosition)), i32.shl(filters.first, 2)));
    const m = f.let(i32.add(this.#productAt(phase, filters, channels), i32.mul(position, args.mPosition)));
    this.#eachBlock(f.let(i32.const(0)), args.tiles, (block) => {
      const v = f.let(i32.add(vs, i32.mul(block.first, 4 * TILE_COLUMNS)));
      const d = f.let(i32.add(ds, i32.mul(block.first, args.dRow)));
      this.#multiply(1, { d, v, m, block, filters, channels, accumulate: block.first });
    });
  }

  /** The channels, phase and filters of a work item, and the rest of its number. */
  #planes(item: Int) {
    const { f, args } = this;
    const planes = (index: Int, block: Int, all: Int): Planes => {
      const first = f.let(i32.mul(index, block));
      return { first, count: f.min(i32.sub(all, first), block) };
    };
    let rest = item;
    const next = (count: Int) => {
      const index = f.let(i32.rem_u(rest, count));
      rest = f.let(i32.div_u(rest, count));
      return index;
    };
    const channels = planes(next(args.channelBlocks), args.channelBlock, args.channels);
    const phase = next(args.phases);
    const filters = planes(next(args.filterBlocks), args.filterBlock, args.filters);
    return { channels, phase, filters, rest };
  }

  /** Address in M's first position. */
  #productAt(phase: Int, filters: Planes, channels: Planes) {
    const { args } = this;
    const column = i32.add(i32.mul(phase, args.mPhase), i32.shl(channels.first, 2));
    return i32.add(args.m, i32.add(i32.mul(filters.first, args.mRow), column));
  }

  #eachBlock(begin: Int, end: Int, visit: (block: Block) => void): void {
    const { f, args } = this;
    f.for({ from: begin, to: end, step: args.block }, (first) => {
      visit({ first, count: f.min(i32.sub(end, first), args.block) });
    });
  }

  #stageBlock(index: Int): Block {
    const { f, args } = this;
    const first = f.let(i32.mul(index, STAGE_TILES));
    return { first, count: f.min(i32.sub(args.tiles, first), STAGE_TILES) };
  }

  /** `V` from `v` on: for each position, for each 8 channels, for each tile, 8 floats. */
  #transformImage(image: Int, block: Block, channels: Planes, v: Int): void {
    const { f, args } = this;
    const { height, width, imageRow: rowBytes, channels: planes, imagePlane: planeBytes, startY, startX } = args;
    const reading = imageReading(this.scheme), sizes = { height, width, rowBytes };
    const source = { reading, image, planes, planeBytes, sizes, start: [startY, startX] } as const;
    this.#transform(source, block, channels, args.vPosition, (tile, channel) => {
      const panel = i32.mul(i32.div_u(channel, TILE_COLUMNS), args.vPanel);
      const row = i32.add(i32.mul(tile, 4 * TILE_COLUMNS), i32.shl(i32.rem_u(channel, TILE_COLUMNS), 2));
      return f.let(i32.add(v, i32.add(panel, row)));
    });
  }

  /** `D` from `d` on: for each position, for each tile, all filters. */
  #transformOutputGrad(block: Block, filters: Planes, d: Int): void {
    const { f, args } = this;
    const { dy: image, placesY: height, placesX: width, filters: planes } = args;
    const reading = outputGradReading(this.scheme);
    const rowBytes = f.let(i32.shl(width, 2)), planeBytes = f.let(i32.mul(height, rowBytes));
    const sizes = { height, width, rowBytes };
    const source = { reading, image, planes, planeBytes, sizes, start: [0, 0] } as const;
    this.#transform(
      source,
      block,
      filters,
      args.dPosition,
      (tile, filter) => f.let(i32.add(d, i32.add(i32.mul(tile, args.dRow), i32.shl(filter, 2)))),
    );
  }

  /** Transforms a block's tiles, four planes at once; `place` says where the first position of tile and plane goes. */
  #transform(
    { reading, image, planes, planeBytes, sizes, start }: Source,
    block: Block,
    { first, count }: Planes,
    position: Int,
    place: (tile: Int, plane: Int) => Int,
  ): void {
    const { f, args } = this;
    const last = f.let(i32.sub(count, 1));
    f.for({ to: block.count }, (tile) => {
      const index = f.let(i32.add(block.first, tile));
      const number = f.let(i32.div_u(index, args.tilesOfImage));
      const inImage = f.let(i32.sub(index, i32.mul(number, args.tilesOfImage)));
      const tileRow = f.let(i32.div_u(inImage, args.tilesX));
      const tileColumn = i32.sub(inImage, i32.mul(tileRow, args.tilesX));
      const row = f.let(i32.add(i32.mul(tileRow, OUTPUTS), start[0]));
      const column = f.let(i32.add(i32.mul(tileColumn, OUTPUTS), start[1]));
      const from = f.let(i32.add(image, i32.mul(i32.add(i32.mul(number, planes), first), planeBytes)));
      f.for({ to: count, step: 4 }, (plane) => {
        const tiles = [0, 1, 2, 3].map((lane): Tile => {
          const own = f.min(i32.add(plane, lane), last);
          return { image: f.let(i32.add(from, i32.mul(own, planeBytes))), row, column };
        });
        const to = place(tile, plane);
        readTiles(f, { reading, tiles, sizes, patch: this.#patch }, (value) => {
          f.do(v128.store(to, value));
          f.increase(to, position);
        });
      });
    });
  }

  /** `M += Dᵀ · V`, for some positions. */
  #multiply(positions: number, { d, v, m, block, filters, channels, accumulate }: Product): void {
    const { f, args } = this;
    multiplyPositions(f, {
      positions,
      a: d,
      aOrder: "columns",
      aStride: args.dRow,
      aPosition: args.dPosition,
      b: v,
      bPanel: args.vPanel,
      bPosition: args.vPosition,
      c: m,
      cRow: args.mRow,
      cPosition: args.mPosition,
      rows: filters.count,
      columns: channels.count,
      depth: block.count,
      accumulate,
    });
  }
}
