/**
 * What happens to images on the host, before they become tensors: scaling and augmentation.
 *
 * @module
 */
import { ShapeError } from "../../core/errors.ts";
import { show } from "../../core/shape.ts";
import type { HostArray, HostData } from "./dataset.ts";
import type { Random } from "./random.ts";

/** A straight line through values: `value * scale + offset`. */
export interface ToFloatOptions {
  /** 1 by default; `1 / 255` takes bytes to 0 ... 1. */
  readonly scale?: number;
  /** 0 by default. */
  readonly offset?: number;
}

/**
 * The elements as `f32`, scaled and moved.
 *
 * @example
 * ```ts
 * import { hostArray, toFloat } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = hostArray(Uint8Array.of(0, 51, 255));
 * assertEquals([...toFloat(bytes, { scale: 2 / 255, offset: -1 }).data].map((x) => x.toFixed(1)), ["-1.0", "-0.6", "1.0"]);
 * ```
 */
export function toFloat(
  { data, shape }: HostArray,
  { scale = 1, offset = 0 }: ToFloatOptions = {},
): HostArray<Float32Array> {
  const floats = new Float32Array(data.length);
  for (let i = 0; i < floats.length; i++) floats[i] = data[i] * scale + offset;
  return { data: floats, shape };
}

/** How far images move. */
export interface RandomShiftOptions {
  /** Where the ways come from. */
  readonly random: Random;
  /** At most this many pixels in each direction. */
  readonly pixels: number;
  /** What comes in at the edges; 0 by default. */
  readonly fill?: number;
}

/**
 * Each image moved by a few whole pixels, along both axes by chance.
 *
 * @param images `[B, C, H, W]`
 * @throws {ShapeError} If there are not four axes.
 * @example
 * ```ts
 * import { hostArray, random, randomShift } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const images = hostArray([[[[1, 2], [3, 4]]]]);
 * assertEquals(randomShift(images, { random: random(0), pixels: 1 }).shape, [1, 1, 2, 2]);
 * ```
 */
export function randomShift<T extends HostData>(
  images: HostArray<T>,
  { random, pixels, fill = 0 }: RandomShiftOptions,
): HostArray<T> {
  const { data, shape } = images;
  if (shape.length !== 4) throw new ShapeError(`Cannot shift images of shape ${show(shape)}: it must be [B, C, H, W]`);
  const [count, channels, height, width] = shape;
  const moved = new (data.constructor as new (length: number) => T)(data.length).fill(fill) as T;
  for (let i = 0; i < count; i++) {
    const down = random.integer(2 * pixels + 1) - pixels, right = random.integer(2 * pixels + 1) - pixels;
    const left = Math.max(0, -right), end = Math.min(width, width - right); // the columns that stay in view
    for (let row = 0; row < channels * height; row++) {
      const y = row % height + down;
      if (y < 0 || y >= height || left >= end) continue;
      const from = (i * channels * height + row) * width, to = from + down * width + right;
      for (let x = left; x < end; x++) moved[to + x] = data[from + x];
    }
  }
  return { data: moved, shape };
}
