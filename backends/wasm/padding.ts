/**
 * Images with a border, for windows that reach over the edge.
 *
 * @module
 */
import { size, stridesOf } from "../../core/shape.ts";
import type { Sliding } from "../../ops/window.ts";
import type { Call, Ref } from "./kernel.ts";
import { type BoundRegion, lowerRegion } from "./region.ts";

/** What there is to pad. */
export interface Image {
  readonly ref: Ref;
  readonly planes: number;
  readonly height: number;
  readonly width: number;
}

/** The part of the plane that is wanted. */
export interface Frame {
  /** Where the image's first element lies in it; negative if the frame begins inside of the image. */
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
  /** Columns 0, s, 2s, ... of each row come first, then 1, s + 1, ...: for windows s columns apart. 1 if not given. */
  readonly split?: number;
}

/** Images `[planes, height, width]` that every window lies inside of. */
export interface Padded {
  readonly ref: Ref;
  readonly height: number;
  readonly width: number;
  /** Columns from one part of a split row to the next. */
  readonly part: number;
  /** What makes it: nothing, if no window reaches over the edge. */
  readonly calls: readonly Call[];
}

/** How many places windows need: from the first element of the first to the last of the last. */
export function reach(windows: number, taps: number, stride: number, dilation: number): number {
  return (windows - 1) * stride + (taps - 1) * dilation + 1;
}

/** Copies images into temporary memory with `fill` around them, unless all windows lie inside already. */
export function padImage(
  image: Image,
  windows: readonly [number, number],
  taps: readonly [number, number],
  { stride, dilation, padding: [[top], [left]] }: Sliding,
  fill: number,
  temporary: (bytes: number) => Ref,
): Padded {
  const height = reach(windows[0], taps[0], stride[0], dilation[0]);
  const width = reach(windows[1], taps[1], stride[1], dilation[1]);
  return frameImage(image, { top, left, height, width }, fill, temporary);
}

/** The images' part inside a frame, with `fill` where there is no image: in place, if there is nothing to do. */
export function frameImage(image: Image, frame: Frame, fill: number, temporary: (bytes: number) => Ref): Padded {
  const { top, left, height, split = 1 } = frame;
  const inside = top <= 0 && left <= 0 && height - top <= image.height && frame.width - left <= image.width;
  if (split === 1 && inside) {
    const offset = image.ref.offset - 4 * (top * image.width + left);
    return { ...image, ref: { ...image.ref, offset }, part: 0, calls: [] };
  }
  const part = Math.ceil(frame.width / split), width = part * split;
  const shape = [image.planes, height, width];
  const ref = temporary(4 * size(shape));
  const bound = { name: "padding", outputs: [ref], outputTypes: ["f32" as const] };
  const border: BoundRegion = {
    ...bound,
    inputs: [],
    region: {
      outer: shape,
      inner: [],
      body: [{ kind: "const", value: fill, dtype: "f32" }],
      stores: [{ value: 0, output: 0, strides: stridesOf(shape), offset: 0 }],
    },
  };
  const copies = Array.from({ length: split }, (_, residue): BoundRegion => ({
    ...bound,
    inputs: [image.ref],
    region: copyOf(image, frame, residue, part),
  }));
  const calls = (inside ? copies : [border, ...copies]).flatMap((region) => lowerRegion(region, temporary));
  return { ref, height, width, part, calls };
}

/** Copies the columns of a frame that lie in part `residue` of its rows. */
function copyOf(image: Image, { top, left, height, width, split = 1 }: Frame, residue: number, part: number) {
  const y = Math.max(0, -top);
  const firstColumn = Math.max(left, 0);
  const column = firstColumn + (residue - firstColumn % split + split) % split; // in the frame
  const rows = Math.max(0, Math.min(image.height, height - top) - y);
  const columns = Math.max(0, Math.ceil((Math.min(image.width + left, width) - column) / split));
  const outer = [image.planes, rows, columns];
  const plane = image.height * image.width, row = part * split;
  const from = { strides: [plane, image.width, split], offset: y * image.width + column - left };
  const to = { strides: [height * row, row, 1], offset: (y + top) * row + residue * part + (column - residue) / split };
  return {
    outer,
    inner: [],
    body: [{ kind: "load" as const, input: 0, ...from, dtype: "f32" as const }],
    stores: [{ value: 0, output: 0, ...to }],
  };
}
