/**
 * Packing for products with the windows of an image: `B[tap, place]` or its transpose, gathered as it is needed.
 *
 * A *place* (p, q) is where a window starts, a *tap* (channel, u, v) an element of the window. The pixel under a tap is
 *
 * ```text
 *  row = start + p step + u spread        column likewise, in the image of the tap's channel
 * ```
 *
 * and 0 where that is outside of the image. Places side by side in a row are pixels side by side, if the step is 1: then
 * four are loaded at once. Otherwise they are gathered one by one.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import type { Func, Local } from "./assembler.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import { packingOf } from "./packing.ts";
import type { Packing, Piece, Product } from "./product.ts";
import { i32x4, transpose, v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";

type Int = Local<"i32">;
type Pair = readonly [number, number];

/** How windows lie in an image; pairs are (height, width). */
export interface Windows {
  readonly image: Pair;
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

/** Lane numbers. */
const IOTA = i32x4.const(0, 1, 2, 3);

/** Which of the two counts the columns of B; the other counts its rows. */
type Columns = "places" | "taps";

const ARGS = [
  "height",
  "width",
  "placesX",
  "kernelY",
  "kernelX",
  "stepY",
  "stepX",
  "spreadY",
  "spreadX",
  "startY",
  "startX",
] as const;
type Args = Readonly<Record<typeof ARGS[number] | "b" | "columns", Int>>;

/** The parts of a product that read windows. */
export function imagePacking(
  windows: Windows,
  columns: Columns,
): Pick<Product, "packing" | "packingArgs" | "bStride"> {
  const { image, places, kernel, step, spread, start } = windows;
  if (isPointwise(windows)) return matrixPacking(size(image), columns);
  const contiguous = step[1] === 1;
  const packing: Packing = {
    key: `windows by ${columns}${contiguous ? " contiguous" : ""}`,
    args: ARGS,
    write: (f, args, piece) => new WindowPacker(f, args as Args, columns, contiguous).write(piece),
  };
  const packingArgs: Record<typeof ARGS[number], number> = {
    height: image[0],
    width: image[1],
    placesX: places[1],
    kernelY: kernel[0],
    kernelX: kernel[1],
    stepY: step[0],
    stepX: step[1],
    spreadY: spread[0],
    spreadX: spread[1],
    startY: start[0],
    startX: start[1],
  };
  return { packing, packingArgs, bStride: 0 };
}

/** Whether every window is one pixel, in order: the image is the matrix already. */
function isPointwise({ image, places, kernel, step, start }: Windows): boolean {
  const all = (pair: Pair, n: number) => pair[0] === n && pair[1] === n;
  return all(kernel, 1) && all(step, 1) && all(start, 0) && image[0] === places[0] && image[1] === places[1];
}

/** An image `[channel, place]` as B, or transposed. */
function matrixPacking(plane: number, columns: Columns): Pick<Product, "packing" | "packingArgs" | "bStride"> {
  const b = columns === "places" ? { row: plane, column: 1 } : { row: 1, column: plane };
  return { packing: packingOf(b), packingArgs: { bColumn: 4 * b.column }, bStride: 4 * b.row };
}

/** One summand of a pixel's position: coordinates, and the first pixel of its channel's image. */
interface Position {
  readonly y: Int;
  readonly x: Int;
  readonly plane: Int;
}

/** The same for four lanes. */
interface Positions {
  readonly y: Local<"v128">;
  readonly x: Local<"v128">;
  readonly plane: Local<"v128">;
}

class WindowPacker {
  constructor(
    readonly f: Func,
    readonly args: Args,
    readonly columns: Columns,
    readonly contiguous: boolean,
  ) {}

  write({ depthBegin, depth, columnBegin, columns, to }: Piece): void {
    const { f } = this;
    const target = f.let(to);
    f.for({ to: columns, step: TILE_COLUMNS }, (j) => {
      for (const half of [0, 1]) {
        const first = f.let(i32.add(i32.add(columnBegin, j), 4 * half));
        const address = f.let(i32.add(target, 16 * half));
        this.#half(first, depthBegin, depth, address);
      }
      f.increase(target, i32.mul(depth, 4 * TILE_COLUMNS));
    });
  }

  /** Four columns, for all k of the piece. */
  #half(first: Int, depthBegin: Int, depth: Int, address: Int): void {
    if (this.columns === "places") this.#places(first, depthBegin, depth, address);
    else this.#taps(first, depthBegin, depth, address);
  }

  /** Four places, one tap after another. */
  #places(first: Int, depthBegin: Int, depth: Int, address: Int): void {
    const { f, args } = this;
    const gather = () => {
      const lanes = this.#lanes(first);
      this.#eachTap(depthBegin, depth, (tap) => this.#store(address, this.#gather(lanes, tap)));
    };
    if (!this.contiguous) return gather();
    const column = f.let(i32.rem_u(first, args.placesX));
    f.if(i32.le_u(i32.add(column, 4), args.placesX), () => {
      const place = this.#place(first);
      const columns = f.let(i32x4.add(i32x4.splat(place.x), IOTA));
      this.#eachTap(depthBegin, depth, (tap) => this.#store(address, this.#neighbours(place, columns, tap)));
    }, gather);
  }

  /** Four taps, one place after another; or four places at once, transposed, where a row has them. */
  #taps(first: Int, depthBegin: Int, depth: Int, address: Int): void {
    const { f, args } = this;
    const lanes = this.#lanes(first);
    const taps = [0, 1, 2, 3].map((lane): Position => ({
      y: f.let(i32x4.extract(lanes.y, lane)),
      x: f.let(i32x4.extract(lanes.x, lane)),
      plane: f.let(i32x4.extract(lanes.plane, lane)),
    }));
    const place = this.#place(depthBegin);
    const column = f.let(i32.rem_u(depthBegin, args.placesX));
    const left = f.let(depth);
    const advance = (places: number) => {
      f.increase(left, -places);
      f.increase(column, places);
      f.increase(place.x, i32.mul(places, args.stepX));
      f.if(i32.eq(column, args.placesX), () => {
        f.set(column, i32.const(0));
        f.set(place.x, args.startX);
        f.increase(place.y, args.stepY);
      });
    };
    const one = () => {
      this.#store(address, this.#gather(lanes, place));
      advance(1);
    };
    const four = () => {
      const columns = f.let(i32x4.add(i32x4.splat(place.x), IOTA));
      const vectors = taps.map((tap) => f.let(this.#neighbours(place, columns, tap)));
      for (const row of transpose(f, vectors)) this.#store(address, row);
      advance(4);
    };
    const together = i32.and(i32.ge_u(left, 4), i32.le_u(i32.add(column, 4), args.placesX));
    f.while(left, () => this.contiguous ? f.if(together, four, one) : one());
  }

  #store(address: Int, value: V128): void {
    this.f.do(v128.store(address, value));
    this.f.increase(address, 4 * TILE_COLUMNS);
  }

  // Positions.

  #place(index: Expr<"i32">): Position {
    const { f, args } = this;
    const row = f.let(i32.div_u(index, args.placesX));
    const column = i32.sub(index, i32.mul(row, args.placesX));
    return {
      y: f.let(i32.add(args.startY, i32.mul(row, args.stepY))),
      x: f.let(i32.add(args.startX, i32.mul(column, args.stepX))),
      plane: f.let(i32.const(0)),
    };
  }

  #tap(index: Int): Position & { readonly u: Int; readonly v: Int } {
    const { f, args } = this;
    const rest = f.let(i32.div_u(index, args.kernelX));
    const v = f.let(i32.sub(index, i32.mul(rest, args.kernelX)));
    const channel = f.let(i32.div_u(rest, args.kernelY));
    const u = f.let(i32.sub(rest, i32.mul(channel, args.kernelY)));
    return {
      u,
      v,
      y: f.let(i32.mul(u, args.spreadY)),
      x: f.let(i32.mul(v, args.spreadX)),
      plane: f.let(i32.mul(channel, i32.mul(args.height, args.width))),
    };
  }

  /** Columns `first` to `first + 3`. */
  #lanes(first: Int): Positions {
    const { f } = this;
    const lanes: Positions = { y: f.local("v128"), x: f.local("v128"), plane: f.local("v128") };
    for (let lane = 0; lane < 4; lane++) {
      // The columns that fill up the last panel repeat the last one: no tap is past the last channel.
      const index = f.let(i32.min_u(f.let(i32.add(first, lane)), f.let(i32.sub(this.args.columns, 1))));
      const position = this.columns === "places" ? this.#place(index) : this.#tap(index);
      for (const key of ["y", "x", "plane"] as const) {
        f.set(lanes[key], i32x4.replace(lanes[key], lane, position[key]));
      }
    }
    return lanes;
  }

  /** Visits `depth` taps from `begin` on, stepping from one to the next without dividing. */
  #eachTap(begin: Int, depth: Int, visit: (tap: Position) => void): void {
    const { f, args } = this;
    const tap = this.#tap(begin);
    const area = f.let(i32.mul(args.height, args.width));
    f.for({ to: depth }, () => {
      visit(tap);
      f.increase(tap.v, 1);
      f.increase(tap.x, args.spreadX);
      f.if(i32.eq(tap.v, args.kernelX), () => {
        f.set(tap.v, i32.const(0));
        f.set(tap.x, i32.const(0));
        f.increase(tap.u, 1);
        f.increase(tap.y, args.spreadY);
        f.if(i32.eq(tap.u, args.kernelY), () => {
          f.set(tap.u, i32.const(0));
          f.set(tap.y, i32.const(0));
          f.increase(tap.plane, area);
        });
      });
    });
  }

  // Pixels.

  /** Four neighbours in a row of the image, zeros where it ends. */
  #neighbours(place: Position, columns: Local<"v128">, tap: Position): V128 {
    const { f, args } = this;
    const y = f.let(i32.add(place.y, tap.y));
    const pixel = i32.add(i32.add(tap.plane, i32.mul(y, args.width)), i32.add(place.x, tap.x));
    const value = f.local("v128");
    f.if(i32.lt_u(y, args.height), () => {
      const inside = i32x4.lt_u(i32x4.add(columns, i32x4.splat(tap.x)), i32x4.splat(args.width));
      f.set(value, v128.and(v128.load(i32.add(args.b, i32.shl(pixel, 2))), inside));
    }, () => f.set(value, i32x4.const(0)));
    return value;
  }

  /** Four pixels anywhere; lanes outside of the image read the first pixel instead, and give 0. */
  #gather(lanes: Positions, row: Position): V128 {
    const { f, args } = this;
    const y = f.let(i32x4.add(lanes.y, i32x4.splat(row.y)));
    const x = f.let(i32x4.add(lanes.x, i32x4.splat(row.x)));
    const inside = v128.and(i32x4.lt_u(y, i32x4.splat(args.height)), i32x4.lt_u(x, i32x4.splat(args.width)));
    const valid = f.let(inside);
    const plane = i32x4.add(lanes.plane, i32x4.splat(row.plane));
    const pixel = i32x4.add(plane, i32x4.add(i32x4.mul(y, i32x4.splat(args.width)), x));
    const offset = f.let(i32x4.shl(v128.and(pixel, valid), 2));
    const address = (lane: number) => i32.add(args.b, i32x4.extract(offset, lane));
    const value = f.let(v128.load32_zero(address(0)));
    for (let lane = 1; lane < 4; lane++) f.set(value, v128.load32_lane(address(lane), value, lane));
    return v128.and(value, valid);
  }
}
