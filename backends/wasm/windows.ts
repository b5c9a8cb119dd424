/**
 * Packing for products with the windows of an image: `B[tap, place]` or its transpose, read as it is needed.
 *
 * A *place* (p, q) is where a window starts, a *tap* (channel, u, v) an element of the window. The pixel under a tap is
 *
 * ```text
 *  row = start + p step + u spread        column likewise, in the image of the tap's channel
 * ```
 *
 * The image is first framed, so that every window lies inside of it, and its columns are split by their remainder to the
 * step: then places side by side are pixels side by side, and every pixel is
 *
 * ```text
 *  address = image + offset of the place + offset of the tap
 * ```
 *
 * The offsets of the taps are in a table that a small kernel makes.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import type { Func, Int } from "./assembler.ts";
import { i32, type V128 } from "./instructions.ts";
import { type Call, type Kernel, kernel, type Ref } from "./kernel.ts";
import { packingOf, type Piece } from "./packing.ts";
import { frameImage, type Image, type Padded, reach } from "./padding.ts";
import type { OperandB } from "./product.ts";
import { loadLanes, transpose, v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";

type Pair = readonly [number, number];

/** How windows lie in an image; pairs are (height, width). */
export interface Windows {
  /** How many windows there are. */
  readonly places: Pair;
  readonly kernel: Pair;
  /** From window to window. */
  readonly step: Pair;
  /** From tap to tap. */
  readonly spread: Pair;
  /** Of the first tap of the first window. */
  readonly start: Pair;
}

/** Which of the two counts the columns of B; the other counts its rows. */
type Columns = "places" | "taps";

/** Windows as B. */
export interface WindowMatrix extends OperandB {
  /** Elements of one channel's plane. */
  readonly plane: number;
  /** What must be done before the product. */
  readonly calls: readonly Call[];
}

/** The windows of images of `channels` planes each as B. */
export function windowMatrix(
  image: Image,
  channels: number,
  windows: Windows,
  columns: Columns,
  temporary: (bytes: number) => Ref,
): WindowMatrix {
  if (isPointwise(image, windows)) return pointwise(image, columns);
  const { places, kernel, step, spread, start } = windows;
  // rows and columns are counted from the first that any window reads
  const back = [0, 1].map((axis) => Math.max(0, -(kernel[axis] - 1) * spread[axis]));
  const reaches = (axis: 0 | 1) => reach(places[axis], kernel[axis], step[axis], Math.abs(spread[axis]));
  const frame = { top: back[0] - start[0], left: back[1] - start[1], height: reaches(0), width: reaches(1) };
  const framed = frameImage(image, { ...frame, split: step[1] }, 0, temporary);
  const table = temporary(4 * channels * size(kernel));
  return {
    b: framed.ref,
    packing: {
      key: `windows by ${columns}`,
      args: ARGS,
      write: (f, args, piece) => new WindowPacker(f, args as Args).write(columns, piece),
    },
    packingArgs: { table, placesX: places[1], rowStep: 4 * step[0] * framed.width },
    bStride: 0,
    plane: framed.height * framed.width,
    calls: [...framed.calls, callTable(table, channels, windows, framed, back)],
  };
}

/** The call that writes the offsets of the taps; `first` is the first window's first tap, counted from the frame. */
function callTable(
  table: Ref,
  channels: number,
  { kernel, step, spread }: Windows,
  { height, width, part }: Padded,
  first: readonly number[],
): Call {
  const args = {
    table,
    kernelY: kernel[0],
    kernelX: kernel[1],
    plane: height * width,
    width,
    firstY: first[0],
    firstX: first[1],
    spreadY: spread[0],
    spreadX: spread[1],
    step: step[1],
    part,
  };
  const total = channels * size(kernel);
  return { name: "taps", kernel: TABLE, args, total, chunk: total };
}

/** Whether every window is one pixel, in order: the image is the matrix already. */
function isPointwise({ height, width }: Image, { places, kernel, step, start }: Windows): boolean {
  const all = (pair: Pair, n: number) => pair[0] === n && pair[1] === n;
  return all(kernel, 1) && all(step, 1) && all(start, 0) && height === places[0] && width === places[1];
}

/** An image `[channel, place]` as B, or transposed. */
function pointwise({ ref, height, width }: Image, columns: Columns): WindowMatrix {
  const plane = height * width;
  const b = columns === "places" ? { row: plane, column: 1 } : { row: 1, column: plane };
  return {
    b: ref,
    packing: packingOf(b),
    packingArgs: { bColumn: 4 * b.column },
    bStride: 4 * b.row,
    plane,
    calls: [],
  };
}

/** Writes the offset of each tap in bytes. */
const TABLE: Kernel = kernel(
  "table of taps",
  ["table", "kernelY", "kernelX", "plane", "width", "firstY", "firstX", "spreadY", "spreadX", "step", "part"],
  ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (tap) => {
      const rest = f.let(i32.div_u(tap, args.kernelX));
      const v = i32.sub(tap, i32.mul(rest, args.kernelX));
      const channel = f.let(i32.div_u(rest, args.kernelY));
      const u = i32.sub(rest, i32.mul(channel, args.kernelY));
      const row = f.let(i32.add(args.firstY, i32.mul(u, args.spreadY)));
      const column = f.let(i32.add(args.firstX, i32.mul(v, args.spreadX)));
      const inRow = i32.add(i32.mul(i32.rem_u(column, args.step), args.part), i32.div_u(column, args.step));
      const element = i32.add(i32.add(i32.mul(channel, args.plane), i32.mul(row, args.width)), inRow);
      f.do(i32.store(i32.add(args.table, i32.shl(tap, 2)), i32.shl(element, 2)));
    });
  },
);

const ARGS = ["table", "placesX", "rowStep"] as const;
type Args = Readonly<Record<typeof ARGS[number] | "b" | "columns", Int>>;

class WindowPacker {
  constructor(readonly f: Func, readonly args: Args) {}

  write(kind: Columns, { depthBegin, depth, columnBegin, columns, to }: Piece): void {
    const { f } = this;
    const target = f.let(to);
    f.for({ to: columns, step: TILE_COLUMNS }, (j) => {
      const first = f.let(i32.add(columnBegin, j)), address = f.let(target);
      if (kind === "places") this.#places(first, depthBegin, depth, address);
      else this.#taps(first, depthBegin, depth, address);
      f.increase(target, i32.mul(depth, 4 * TILE_COLUMNS));
    });
  }

  /** The columns of a panel; those past the last repeat the last one. */
  #panel(first: Int): Int[] {
    const { f, args } = this;
    const last = f.let(i32.sub(args.columns, 1));
    return Array.from({ length: TILE_COLUMNS }, (_, i) => f.min(i32.add(first, i), last));
  }

  /** Address of the pixel under a place's first tap, less the offset of that tap. */
  #place(index: Int): Int {
    const { f, args } = this;
    const row = f.let(i32.div_u(index, args.placesX));
    const column = i32.sub(index, i32.mul(row, args.placesX));
    return f.let(i32.add(args.b, i32.add(i32.mul(row, args.rowStep), i32.shl(column, 2))));
  }

  /** Address of the entry of tap `index`. */
  #entry(index: Int): Int {
    return this.f.let(i32.add(this.args.table, i32.shl(index, 2)));
  }

  /** Eight places, one tap after another: two vectors where fours lie in a row, else one by one. */
  #places(first: Int, depthBegin: Int, depth: Int, address: Int): void {
    const { f, args } = this;
    const panel = this.#panel(first);
    const entry = this.#entry(depthBegin);
    const eachTap = (pixels: (offset: Int) => V128[]) =>
      f.for({ to: depth }, () => {
        const offset = f.let(i32.load(entry));
        pixels(offset).forEach((four, half) => f.do(v128.store(address, four, 16 * half)));
        f.increase(entry, 4);
        f.increase(address, 4 * TILE_COLUMNS);
      });
    const inRow = (place: Int) => i32.le_u(i32.add(i32.rem_u(place, args.placesX), 4), args.placesX);
    const whole = i32.le_u(i32.add(first, TILE_COLUMNS), args.columns);
    const fours = f.let(i32.and(whole, i32.and(inRow(panel[0]), inRow(panel[4]))));
    f.if(fours, () => {
      const halves = [panel[0], panel[4]].map((place) => this.#place(place));
      eachTap((offset) => halves.map((half) => v128.load(i32.add(half, offset))));
    }, () => {
      const places = panel.map((place) => this.#place(place));
      eachTap((offset) => this.#lanes(places, offset));
    });
  }

  /** Eight taps, one place after another; or four places at once, transposed, where a row has them. */
  #taps(first: Int, depthBegin: Int, depth: Int, address: Int): void {
    const { f, args } = this;
    const taps = this.#panel(first).map((tap) => f.let(i32.load(this.#entry(tap))));
    const place = this.#place(depthBegin);
    const column = f.let(i32.rem_u(depthBegin, args.placesX));
    const left = f.let(depth);
    const toNextRow = f.let(i32.sub(args.rowStep, i32.shl(args.placesX, 2)));
    const advance = (places: number) => {
      f.increase(address, 4 * TILE_COLUMNS * places);
      f.increase(left, -places);
      f.increase(column, places);
      f.increase(place, 4 * places);
      f.if(i32.eq(column, args.placesX), () => {
        f.set(column, i32.const(0));
        f.increase(place, toNextRow);
      });
    };
    const four = () => {
      for (const half of [0, 1]) {
        const rows = taps.slice(4 * half, 4 * half + 4).map((tap) => f.let(v128.load(i32.add(place, tap))));
        transpose(f, rows).forEach((row, k) => f.do(v128.store(address, row, 4 * TILE_COLUMNS * k + 16 * half)));
      }
      advance(4);
    };
    const one = () => {
      this.#lanes(taps, place).forEach((row, half) => f.do(v128.store(address, row, 16 * half)));
      advance(1);
    };
    const together = i32.and(i32.ge_u(left, 4), i32.le_u(i32.add(column, 4), args.placesX));
    f.while(left, () => f.if(together, four, one));
  }

  /** The eight pixels at `places`, moved by `offset`. */
  #lanes(places: readonly Int[], offset: Int): V128[] {
    const { f } = this;
    const addresses = places.map((place) => i32.add(place, offset));
    return [0, 4].map((half) => loadLanes(f, addresses.slice(half, half + 4)));
  }
}
