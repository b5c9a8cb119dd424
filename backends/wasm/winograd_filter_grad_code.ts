/**
 * The code of Winograd's filter gradient; see `winograd_filter_grad.ts`.
 *
 * ```text
 *  this thread's scratch memory:  patch of four tiles | V | D
 * ```
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
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
  PATCH_BYTES,
  type Reading,
  readTiles,
  type Tile,
} from "./winograd_tiles.ts";

type Int = Local<"i32">;

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
  "d",
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

/** Writes the loops over one share of the tiles, for some filters and channels. */
export class ShareWriter {
  readonly #patch: Int;
  readonly #v: Int;
  readonly #d: Int;

  constructor(
    readonly f: Func,
    readonly args: Readonly<Record<typeof ARGS[number], Int>>,
    readonly scheme: Scheme,
  ) {
    this.#patch = f.let(f.module.global("scratch"));
    this.#v = f.let(i32.add(this.#patch, PATCH_BYTES));
    this.#d = f.let(i32.add(this.#patch, args.d));
  }

  item(item: Int): void {
    const { f, args } = this;
    const planes = (index: Int, block: Int, all: Int): Planes => {
      const first = f.let(i32.mul(index, block));
      return { first, count: f.let(i32.min_u(f.let(i32.sub(all, first)), block)) };
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
    const share = rest;
    const column = i32.add(i32.mul(phase, args.mPhase), i32.shl(channels.first, 2));
    const place = i32.add(i32.mul(filters.first, args.mRow), column);
    const m = f.let(i32.add(args.m, i32.add(i32.mul(share, args.mShare), place)));
    const x = phaseAddress(f, args, phase);
    const begin = f.let(i32.mul(share, args.share));
    const end = f.let(i32.min_u(f.let(i32.add(begin, args.share)), args.tiles));
    f.for({ from: begin, to: end, step: args.block }, (first) => {
      const block = { first, count: f.let(i32.min_u(f.let(i32.sub(end, first)), args.block)) };
      this.#transformImage(x, block, channels);
      this.#transformOutputGrad(block, filters);
      this.#multiply(m, block, filters, channels, f.let(i32.ne(first, begin)));
    });
  }

  /** `V`: for each position, for each 8 channels, for each tile, 8 floats. */
  #transformImage(image: Int, block: Block, channels: Planes): void {
    const { f, args } = this;
    const { height, width, imageRow: rowBytes, channels: planes, imagePlane: planeBytes, startY, startX } = args;
    const reading = imageReading(this.scheme), sizes = { height, width, rowBytes };
    const source = { reading, image, planes, planeBytes, sizes, start: [startY, startX] } as const;
    this.#transform(source, block, channels, args.vPosition, (tile, channel) => {
      const panel = i32.mul(i32.div_u(channel, TILE_COLUMNS), args.vPanel);
      const row = i32.add(i32.mul(tile, 4 * TILE_COLUMNS), i32.shl(i32.rem_u(channel, TILE_COLUMNS), 2));
      return f.let(i32.add(this.#v, i32.add(panel, row)));
    });
  }

  /** `D`: for each position, for each tile, all filters. */
  #transformOutputGrad(block: Block, filters: Planes): void {
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
      (tile, filter) => f.let(i32.add(this.#d, i32.add(i32.mul(tile, args.dRow), i32.shl(filter, 2)))),
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
          const own = f.let(i32.min_u(f.let(i32.add(plane, lane)), last));
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

  /** `M += Dᵀ · V`. */
  #multiply(c: Int, block: Block, filters: Planes, channels: Planes, accumulate: Int): void {
    const { f, args } = this;
    multiplyPositions(f, {
      positions: this.scheme.positions,
      a: this.#d,
      aOrder: "columns",
      aStride: args.dRow,
      aPosition: args.dPosition,
      b: this.#v,
      bPanel: args.vPanel,
      bPosition: args.vPosition,
      c,
      cRow: args.mRow,
      cPosition: args.mPosition,
      rows: filters.count,
      columns: channels.count,
      depth: block.count,
      accumulate,
    });
  }
}
