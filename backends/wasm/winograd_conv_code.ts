/**
 * The code of Winograd's convolution; see `winograd_conv.ts`.
 *
 * @module
 */
import type { Func, Int, Range } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import type { Epilogue } from "./product.ts";
import { RegionWriter } from "./region_code.ts";
import { v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";
import { OUTPUTS, type Scheme } from "./winograd.ts";
import { phaseAddress } from "./winograd_image.ts";
import { multiplyPositions } from "./winograd_products.ts";
import { imageReading, readTiles, type Target, type Tile, writeTiles } from "./winograd_tiles.ts";

/** Rows of tiles, counted through the batch. */
interface Block {
  readonly firstRow: Int;
  readonly rows: Int;
  readonly tiles: Int;
}

/** A range of filters. */
interface Filters {
  readonly first: Int;
  readonly count: Int;
}

/** Where the first of some products' matrices are, and how many rows and columns M has. */
interface Product {
  readonly u: Int;
  readonly v: Int;
  readonly m: Int;
  readonly rows: Int;
  readonly tiles: Int;
}

/** Where a tile of the result is: its image, its row of tiles (of the image, of the block), its places. */
interface Position {
  readonly image: Int;
  readonly blockRow: Int;
  readonly y: Int;
  readonly x: Int;
}

/** What a kernel does: everything for a block, or all of V, all of M, all of y. */
export type Stage = "fused" | "image" | "products" | "output";

/** What the code depends on, besides the stage. */
export interface Structure {
  readonly scheme: Scheme;
  readonly epilogue: Epilogue | null;
  /** Elements from column to column of the result. */
  readonly step: number;
}

/** Writes the work items of each stage. */
export class ConvWriter {
  readonly #patch: Int;
  /** Where the block of the result is that an epilogue reads: four rows for each row of tiles and each filter. */
  readonly #block: Int;
  /** Bytes from row to row of what is written, and of four rows of the block. */
  readonly #rowBytes: Int;
  readonly #stripBytes: Int;

  constructor(
    readonly f: Func,
    readonly args: Readonly<Record<string, Int>>,
    readonly structure: Structure,
  ) {
    this.#patch = f.let(f.module.global("scratch"));
    this.#block = f.let(i32.add(this.#patch, args.block));
    this.#rowBytes = structure.epilogue ? f.let(i32.shl(args.placesX, 2)) : args.yRow;
    this.#stripBytes = f.let(i32.mul(this.#rowBytes, OUTPUTS));
  }

  /** Everything for a block of tiles and some filters; V and M are in this thread's scratch memory. */
  fused(item: Int): void {
    const { f, args } = this;
    const block = this.#blockOf(item);
    const v = f.let(i32.add(this.#patch, args.v)), m = f.let(i32.add(this.#patch, args.m));
    this.#transformImage(block, { from: 0, to: block.tiles }, v);
    this.#eachChunk(item, (filters) => {
      const u = f.let(i32.add(args.u, i32.mul(filters.first, args.uRow)));
      this.#multiply(this.structure.scheme.positions, { u, v, m, rows: filters.count, tiles: block.tiles });
      this.#finish(block, filters, m);
    });
  }

  /** V of eight tiles. */
  image(item: Int): void {
    const { f, args } = this;
    const from = f.let(i32.mul(item, TILE_COLUMNS));
    const to = f.min(i32.add(from, TILE_COLUMNS), args.tiles);
    this.#transformImage(
      { firstRow: f.let(i32.const(0)), rows: args.allRows, tiles: args.tiles },
      { from, to },
      args.v,
    );
  }

  /** M of one position and some filters. */
  products(item: Int): void {
    const { f, args } = this;
    const position = f.let(i32.div_u(item, args.productBlocks));
    const part = i32.sub(item, i32.mul(position, args.productBlocks));
    const first = f.let(i32.mul(part, args.productBlock));
    const rows = f.min(i32.sub(args.filters, first), args.productBlock);
    const at = (matrix: "u" | "v" | "m") => i32.add(args[matrix], i32.mul(position, args[`${matrix}Position`]));
    const u = f.let(i32.add(at("u"), i32.mul(first, args.uRow)));
    const m = f.let(i32.add(at("m"), i32.mul(first, args.mRow)));
    this.#multiply(1, { u, v: f.let(at("v")), m, rows, tiles: args.tiles });
  }

  /** The result for a block of tiles. */
  output(item: Int): void {
    const { f, args } = this;
    const block = this.#blockOf(item);
    const tiles = f.let(i32.add(args.m, i32.shl(i32.mul(block.firstRow, args.tilesX), 2)));
    this.#eachChunk(item, (filters) => {
      this.#finish(block, filters, f.let(i32.add(tiles, i32.mul(filters.first, args.mRow))));
    });
  }

  /** The rows of tiles of a work item. */
  #blockOf(item: Int): Block {
    const { f, args } = this;
    const firstRow = f.let(i32.mul(i32.div_u(item, args.filterBlocks), args.tileRows));
    const rows = f.min(i32.sub(args.allRows, firstRow), args.tileRows);
    return { firstRow, rows, tiles: f.let(i32.mul(rows, args.tilesX)) };
  }

  /** The filters of a work item, a chunk at a time. */
  #eachChunk(item: Int, visit: (filters: Filters) => void): void {
    const { f, args } = this;
    const first = f.let(i32.mul(i32.rem_u(item, args.filterBlocks), args.filterBlock));
    const end = f.min(i32.add(first, args.filterBlock), args.filters);
    f.count(first, { to: end, step: args.chunk }, () => {
      visit({ first, count: f.min(i32.sub(end, first), args.chunk) });
    });
  }

  /** Where tile `index` of a block is; past the last tile the last one. */
  #position({ firstRow, tiles }: Block, index: Int): Position {
    const { f, args } = this;
    const at = f.let(i32.min_u(index, f.let(i32.sub(tiles, 1))));
    const blockRow = f.let(i32.div_u(at, args.tilesX));
    const row = f.let(i32.add(firstRow, blockRow));
    const image = f.let(i32.div_u(row, args.tilesY));
    const y = i32.mul(i32.sub(row, i32.mul(image, args.tilesY)), OUTPUTS);
    const x = i32.mul(i32.sub(at, i32.mul(blockRow, args.tilesX)), OUTPUTS);
    return { image, blockRow, y: f.let(y), x: f.let(x) };
  }

  #four<T>(first: Int, visit: (index: Int) => T): T[] {
    return [0, 1, 2, 3].map((lane) => visit(this.f.let(i32.add(first, lane))));
  }

  /** `V`: for each position, for each 8 tiles, for each phase and channel, 8 floats. */
  #transformImage(block: Block, range: Pick<Range, "from" | "to">, v: Int): void {
    const { f, args } = this;
    const { height, width, imageRow: rowBytes } = args;
    const reading = imageReading(this.structure.scheme), imageBytes = f.let(i32.mul(args.channels, args.imagePlane));
    f.for({ ...range, step: 4 }, (first) => {
      const tiles = this.#four(first, (index): Tile => {
        const { image, y, x } = this.#position(block, index);
        return {
          image: f.let(i32.mul(image, imageBytes)),
          row: f.let(i32.add(y, args.startY)),
          column: f.let(i32.add(x, args.startX)),
        };
      });
      const panel = i32.mul(i32.div_u(first, TILE_COLUMNS), args.vPanel);
      const row = f.let(i32.add(v, i32.add(panel, i32.shl(i32.rem_u(first, TILE_COLUMNS), 2))));
      f.for({ to: args.phases }, (phase) => {
        const x = phaseAddress(f, args, phase);
        const sources = tiles.map((tile) => ({ ...tile, image: f.let(i32.add(tile.image, x)) }));
        f.for({ to: args.channels }, () => {
          const to = f.let(row);
          readTiles(f, { reading, tiles: sources, sizes: { height, width, rowBytes }, patch: this.#patch }, (value) => {
            f.do(v128.store(to, value));
            f.increase(to, args.vPosition);
          });
          for (const { image } of sources) f.increase(image, args.imagePlane);
          f.increase(row, 4 * TILE_COLUMNS);
        });
      });
    });
  }

  /** `M = U · V` for some positions, rows and tiles. */
  #multiply(positions: number, { u, v, m, rows, tiles }: Product): void {
    const { f, args } = this;
    multiplyPositions(f, {
      positions,
      a: u,
      aOrder: "rows",
      aStride: args.uRow,
      aPosition: args.uPosition,
      b: v,
      bPanel: args.vPanel,
      bPosition: args.vPosition,
      c: m,
      cRow: args.mRow,
      cPosition: args.mPosition,
      rows,
      columns: tiles,
      depth: args.planes,
      accumulate: i32.const(0),
    });
  }

  /** Where the first filter's output of a tile goes: to the result, or to the block of it that the epilogue reads. */
  #target(block: Block, filters: Filters, index: Int): Target {
    const { f, args } = this;
    const { image, blockRow, y, x } = this.#position(block, index);
    const strip = this.structure.epilogue
      ? i32.add(this.#block, i32.mul(blockRow, i32.mul(args.chunk, this.#stripBytes)))
      : i32.add(i32.add(args.y, this.#plane(image, filters)), i32.mul(y, this.#rowBytes));
    const below = f.let(i32.sub(args.placesY, y)), beside = f.let(i32.sub(args.placesX, x));
    return {
      address: f.let(i32.add(strip, i32.mul(x, 4 * this.structure.step))),
      rows: f.let(i32.select(i32.lt_u(index, block.tiles), i32.min_u(below, OUTPUTS), 0)),
      columns: f.let(i32.min_u(beside, OUTPUTS)),
    };
  }

  /** Bytes before an image's plane of the first filter. */
  #plane(image: Int, { first }: Filters) {
    const { args } = this;
    return i32.mul(i32.add(i32.mul(image, args.filters), first), args.yPlane);
  }

  /** The result of some filters for a block, from M of the first of them. */
  #finish(block: Block, filters: Filters, m: Int): void {
    this.#transformOutput(block, filters, m);
    if (this.structure.epilogue) this.#applyEpilogue(this.structure.epilogue, block, filters);
  }

  /** `Aᵀ M A`. The block has a strip of four rows of places for each row of tiles and each filter. */
  #transformOutput(block: Block, filters: Filters, m: Int): void {
    const { f, args } = this;
    const { scheme, step } = this.structure;
    const writing = { scheme, positionBytes: args.mPosition, rowBytes: this.#rowBytes, step, patch: this.#patch };
    const filterBytes = this.structure.epilogue ? this.#stripBytes : args.yPlane;
    f.for({ to: block.tiles, step: 4 }, (tile) => {
      const targets = this.#four(tile, (index) => this.#target(block, filters, index));
      const from = f.let(i32.add(m, i32.shl(tile, 2)));
      f.for({ to: filters.count }, () => {
        writeTiles(f, { ...writing, from, targets });
        for (const { address } of targets) f.increase(address, filterBytes);
        f.increase(from, args.mRow);
      });
    });
  }

  /** The epilogue, strip by strip. */
  #applyEpilogue({ analysis }: Epilogue, block: Block, filters: Filters): void {
    const { f, args } = this;
    const pointer = f.let(this.#block);
    f.for({ to: block.rows }, (blockRow) => {
      const row = f.let(i32.add(block.firstRow, blockRow));
      const image = f.let(i32.div_u(row, args.tilesY));
      const y = f.let(i32.mul(i32.sub(row, i32.mul(image, args.tilesY)), OUTPUTS));
      const bottom = i32.min_u(f.let(i32.add(y, OUTPUTS)), args.placesY);
      const rowBegin = f.let(i32.add(i32.mul(image, args.filters), filters.first));
      new RegionWriter(f, args, analysis).write({
        rowBegin,
        rowEnd: f.let(i32.add(rowBegin, filters.count)),
        columnBegin: f.let(i32.mul(y, args.placesX)),
        columnEnd: f.let(i32.mul(bottom, args.placesX)),
        result: { pointer, rowBytes: this.#stripBytes },
      });
      f.increase(pointer, i32.mul(args.chunk, this.#stripBytes));
    });
  }
}
