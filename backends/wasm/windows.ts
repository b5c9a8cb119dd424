/**
 * Packing for products with the windows of an image: `B[tap, place]` or its transpose, gathered as it is needed.
 *
 * A *place* (p, q) is where a window starts, a *tap* (channel, u, v) an element of the window. The pixel under a tap is
 *
 * ```text
 *  row    = (start + p step + u spread) / divide        column likewise, in the image of the tap's channel
 * ```
 *
 * and 0 where that is outside of the image (or, dividing, not whole). Both summands are known apart: the sum of a place
 * and a tap costs one addition for each coordinate.
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import type { Packing, Piece, Product } from "./product.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";
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
  /** What coordinates are divided by. */
  readonly divide: Pair;
}

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
  "divideY",
  "divideX",
] as const;
type Args = Readonly<Record<typeof ARGS[number] | "b" | "columns", Int>>;

/** The parts of a product that read windows. */
export function imagePacking(
  windows: Windows,
  columns: Columns,
): Pick<Product, "packing" | "packingArgs" | "bStride"> {
  const { image, places, kernel, step, spread, start, divide } = windows;
  const divides = divide[0] > 1 || divide[1] > 1;
  const contiguous = columns === "places" && step[1] === 1 && !divides;
  const packing: Packing = {
    key: `windows by ${columns}${divides ? " divided" : ""}${contiguous ? " contiguous" : ""}`,
    args: ARGS,
    write: (f, args, piece) => new WindowPacker(f, args as Args, columns, divides, contiguous).write(piece),
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
    divideY: divide[0],
    divideX: divide[1],
  };
  return { packing, packingArgs, bStride: 0 };
}

/** One summand of a pixel's position: coordinates before division, and the first pixel of its channel's image. */
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
  readonly #divisorY: Local<"v128">;
  readonly #divisorX: Local<"v128">;

  constructor(
    readonly f: Func,
    readonly args: Args,
    readonly columns: Columns,
    readonly divides: boolean,
    readonly contiguous: boolean,
  ) {
    this.#divisorY = f.let(f32x4.convert_i32x4_s(i32x4.splat(args.divideY)));
    this.#divisorX = f.let(f32x4.convert_i32x4_s(i32x4.splat(args.divideX)));
  }

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
    const { f, args } = this;
    const gather = () => {
      const lanes = this.#lanes(first);
      this.#eachRow(depthBegin, depth, (row) => this.#store(address, this.#gather(lanes, row)));
    };
    if (!this.contiguous) return gather();
    // Four places side by side in one row of the image are four neighbours in memory.
    const column = f.let(i32.rem_u(first, args.placesX));
    f.if(i32.le_u(i32.add(column, 4), args.placesX), () => {
      const place = this.#place(first);
      const iota = f.let(i32x4.add(i32x4.splat(place.x), i32x4.const(0, 1, 2, 3)));
      this.#eachRow(depthBegin, depth, (row) => this.#store(address, this.#neighbours(place, iota, row)));
    }, gather);
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

  /** Visits `depth` rows of B from `begin` on, stepping from position to position without dividing. */
  #eachRow(begin: Int, depth: Int, visit: (row: Position) => void): void {
    const { f } = this;
    if (this.columns === "taps") return this.#eachPlace(begin, depth, visit);
    const { args } = this;
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

  #eachPlace(begin: Int, depth: Int, visit: (row: Position) => void): void {
    const { f, args } = this;
    const place = this.#place(begin);
    const column = f.let(i32.rem_u(begin, args.placesX));
    f.for({ to: depth }, () => {
      visit(place);
      f.increase(column, 1);
      f.increase(place.x, args.stepX);
      f.if(i32.eq(column, args.placesX), () => {
        f.set(column, i32.const(0));
        f.set(place.x, args.startX);
        f.increase(place.y, args.stepY);
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
    const y = this.#coordinate(i32x4.add(lanes.y, i32x4.splat(row.y)), this.#divisorY);
    const x = this.#coordinate(i32x4.add(lanes.x, i32x4.splat(row.x)), this.#divisorX);
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

  /** A coordinate divided, -1 where that is not whole. Small whole numbers divide exactly enough in f32. */
  #coordinate(sum: V128, divisor: Local<"v128">): Local<"v128"> {
    const { f } = this;
    if (!this.divides) return f.let(sum);
    const dividend = f.let(f32x4.convert_i32x4_s(sum));
    const quotient = f.let(f32x4.floor(f32x4.div(dividend, divisor)));
    const whole = f32x4.eq(f32x4.mul(quotient, divisor), dividend);
    return f.let(v128.or(i32x4.trunc_sat_f32x4_s(quotient), v128.not(whole)));
  }
}
