/**
 * Reading tiles of images into Winograd's domain and writing them back: four tiles at once, one a lane.
 *
 * A tile's columns are transformed first, where its rows are vectors; then four tiles are transposed, and their rows
 * transformed with one tile in each lane. A tile that reaches over the image's edge is first copied with zeros around.
 *
 * @module
 */
import type { Assembler, Func, Int, Local } from "./assembler.ts";
import { i32, type V128 } from "./instructions.ts";
import { i32x4, i8x16, transpose, v128 } from "./simd.ts";
import { type Line, MOST_PIXELS, OUTPUTS, type Scheme, type Transform } from "./winograd.ts";

/** Where a tile starts: its row and column, which may lie outside, in the image at an address. */
export interface Tile {
  readonly image: Int;
  readonly row: Int;
  readonly column: Int;
}

/** What is read of an image: pixels along an axis, the matrix, and how many values it makes of them. */
export interface Reading {
  readonly key: string;
  readonly pixels: number;
  readonly transform: Transform;
  readonly values: number;
}

/** `Bᵀ d B` of tiles of the input. */
export function imageReading({ pixels, image }: Scheme): Reading {
  return { key: `image ${pixels}`, pixels, transform: image, values: pixels };
}

/** `A dY Aᵀ` of tiles of the output's gradient. */
export function outputGradReading({ pixels, outputGrad }: Scheme): Reading {
  return { key: `output gradient ${pixels}`, pixels: OUTPUTS, transform: outputGrad, values: pixels };
}

/** Bytes of a row of a tile whose columns are transformed, and of the whole. */
const ROW_BYTES = 32, HALF_BYTES = 16, TILE_BYTES = MOST_PIXELS * ROW_BYTES;
/** Bytes that reading or writing four tiles takes at `patch`. */
export const PATCH_BYTES = 4 * TILE_BYTES;
const IOTA = i32x4.const(0, 1, 2, 3);

/** Sizes of images, and the bytes from row to row. */
export interface ImageSizes {
  readonly height: Int;
  readonly width: Int;
  readonly rowBytes: Int;
}

/** Four tiles to read. */
export interface FourTiles {
  readonly reading: Reading;
  readonly tiles: readonly Tile[];
  readonly sizes: ImageSizes;
  /** Memory for {@linkcode PATCH_BYTES}. */
  readonly patch: Int;
}

/** Transforms four tiles; `store` gets the values of the positions, in order. */
export function readTiles(
  f: Func,
  { reading, tiles, sizes: { height, width, rowBytes }, patch }: FourTiles,
  store: (value: Local<"v128">) => void,
): void {
  const columns = columnsFunction(f.module, reading);
  tiles.forEach(({ image, row, column }, lane) => {
    f.do(f.module.call(columns, image, row, column, height, width, rowBytes, i32.add(patch, lane * TILE_BYTES)));
  });
  for (let row = 0; row < reading.values; row++) {
    reading.transform(f, acrossTiles(f, patch, row, reading.pixels)).forEach(store);
  }
}

/** Row `row` of four tiles in memory as one vector a pixel. */
function acrossTiles(f: Func, patch: Int, row: number, pixels: number): Line {
  const half = (at: number) =>
    [0, 1, 2, 3].map((lane) => f.let(v128.load(patch, lane * TILE_BYTES + row * ROW_BYTES + at)));
  const left = transpose(f, half(0)).map((pixel) => f.let(pixel));
  if (pixels === OUTPUTS) return left;
  const [a, b, c, d] = half(HALF_BYTES);
  const ab = f.let(i8x16.shuffle32(a, b, [0, 4, 1, 5])), cd = f.let(i8x16.shuffle32(c, d, [0, 4, 1, 5]));
  const right = [i8x16.shuffle32(ab, cd, [0, 1, 4, 5]), i8x16.shuffle32(ab, cd, [2, 3, 6, 7])];
  return [...left, ...right.slice(0, pixels - OUTPUTS).map((pixel) => f.let(pixel))];
}

/** `columns(image, row, column, height, width, rowBytes, to)`: a tile with its columns transformed, rows 32 bytes apart. */
function columnsFunction(module: Assembler, { key, pixels, transform }: Reading): Func {
  return module.once(`winograd columns of ${key}`, () => {
    const f = module.func("columns", ["i32", "i32", "i32", "i32", "i32", "i32", "i32"]);
    const [image, row, column, height, width, rowBytes, to] = f.params as Int[];
    const halves = pixels > 4 ? [0, HALF_BYTES] : [0];
    const from = f.let(i32.add(image, i32.add(i32.mul(row, rowBytes), i32.shl(column, 2))));
    const fits = (start: Int, size: Int) => i32.and(i32.ge_s(start, 0), i32.le_s(i32.add(start, pixels), size));
    f.if(i32.eqz(i32.and(fits(row, height), fits(column, width))), () => {
      copyInside(f, { row, column, height, width, rowBytes, from, to, pixels, halves });
      f.set(from, to);
      f.set(rowBytes, i32.const(ROW_BYTES));
    });
    for (const half of halves) {
      const pixel = f.let(from);
      const line = Array.from({ length: pixels }, (_, i) => {
        if (i > 0) f.increase(pixel, rowBytes);
        return f.let(v128.load(pixel, half));
      });
      transform(f, line).forEach((value, i) => f.do(v128.store(to, value, i * ROW_BYTES + half)));
    }
    return f;
  });
}

/** Copies what of a tile lies inside of the image, and zeros for the rest. */
function copyInside(f: Func, { row: first, column, height, width, rowBytes, from, to, pixels, halves }: ImageSizes & {
  readonly row: Int;
  readonly column: Int;
  readonly from: Int;
  readonly to: Int;
  readonly pixels: number;
  readonly halves: readonly number[];
}): void {
  const inside = halves.map((half) => {
    const columns = i32x4.add(i32x4.splat(i32.add(column, half / 4)), IOTA);
    return f.let(i32x4.lt_u(columns, i32x4.splat(width)));
  });
  const pixel = f.let(from), row = f.let(first);
  for (let i = 0; i < pixels; i++) {
    const put = (value: (half: number, mask: Local<"v128">) => V128) =>
      halves.forEach((half, k) => f.do(v128.store(to, value(half, inside[k]), i * ROW_BYTES + half)));
    f.if(
      i32.lt_u(row, height),
      () => put((half, mask) => v128.and(v128.load(pixel, half), mask)),
      () => put(() => i32x4.const(0)),
    );
    f.increase(pixel, rowBytes);
    f.increase(row, 1);
  }
}

/** Where four outputs by four go, and how many rows and columns of them there are. */
export interface Target {
  readonly address: Int;
  readonly rows: Int;
  readonly columns: Int;
}

/** Four tiles to write. */
export interface Writing {
  readonly scheme: Scheme;
  /** The first position's values, and the bytes from position to position. */
  readonly from: Int;
  readonly positionBytes: Int;
  readonly targets: readonly Target[];
  /** Bytes from row to row of a target, and elements from column to column. */
  readonly rowBytes: Int;
  readonly step: number;
  /** Memory for {@linkcode PATCH_BYTES}. */
  readonly patch: Int;
}

/** Writes `Aᵀ m A` of four tiles. */
export function writeTiles(f: Func, { scheme, from, positionBytes, targets, rowBytes, step, patch }: Writing): void {
  const { pixels, output } = scheme;
  const down = f.let(i32.mul(positionBytes, pixels));
  const first = f.let(from);
  for (let column = 0; column < pixels; column++) {
    const at = f.let(first);
    const line = Array.from({ length: pixels }, () => {
      const value = f.let(v128.load(at));
      f.increase(at, down);
      return value;
    });
    f.increase(first, positionBytes);
    output(f, line).forEach((value, row) => f.do(v128.store(patch, value, 16 * (row * pixels + column))));
  }
  const addresses = targets.map(({ address }) => f.let(address));
  for (let row = 0; row < OUTPUTS; row++) {
    const line = Array.from({ length: pixels }, (_, column) => f.let(v128.load(patch, 16 * (row * pixels + column))));
    transpose(f, output(f, line)).forEach((value, lane) => {
      const { rows, columns } = targets[lane];
      f.if(i32.gt_u(rows, row), () => storeRow(f, addresses[lane], f.let(value), { columns, step }));
      f.increase(addresses[lane], rowBytes);
    });
  }
}

/** Stores the first lanes (1 to 4), `step` elements apart. */
function storeRow(
  f: Func,
  address: Int,
  value: Local<"v128">,
  { columns, step }: { readonly columns: Int; readonly step: number },
): void {
  const store = (lane: number) => f.do(v128.store32_lane(address, value, lane, 4 * step * lane));
  const all = () => step === 1 ? f.do(v128.store(address, value)) : [0, 1, 2, 3].forEach(store);
  f.if(i32.eq(columns, 4), all, () => {
    store(0);
    for (const lane of [1, 2]) f.if(i32.gt_u(columns, lane), () => store(lane));
  });
}
