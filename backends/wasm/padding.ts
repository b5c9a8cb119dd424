/**
 * Images with a border, for windows that reach over the edge.
 *
 * @module
 */
import { size, stridesOf } from "../../core/shape.ts";
import type { Sliding } from "../../ops/window.ts";
import type { Call, Ref } from "./kernel.ts";
import { lowerRegion } from "./region.ts";

/** Images `[planes, height, width]` that every window lies inside of. */
export interface Padded {
  readonly ref: Ref;
  readonly height: number;
  readonly width: number;
  /** What makes it: nothing, if no window reaches over the edge. */
  readonly calls: readonly Call[];
}

/** What there is to pad. */
export interface Image {
  readonly ref: Ref;
  readonly planes: number;
  readonly height: number;
  readonly width: number;
}

/** How many places a window needs: from the first element of the first to the last of the last. */
function reach(windows: number, taps: number, stride: number, dilation: number): number {
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
  if (top === 0 && left === 0 && height <= image.height && width <= image.width) return { ...image, calls: [] };
  const shape = [image.planes, height, width], strides = stridesOf(shape);
  const ref = temporary(4 * size(shape));
  const outer = [image.planes, Math.min(image.height, height - top), Math.min(image.width, width - left)];
  const bound = { name: "padding", outputs: [ref], outputTypes: ["f32" as const] };
  const border = lowerRegion({
    ...bound,
    inputs: [],
    region: {
      outer: shape,
      inner: [],
      body: [{ kind: "const", value: fill, dtype: "f32" }],
      stores: [{ value: 0, output: 0, strides, offset: 0 }],
    },
  }, temporary);
  const inside = lowerRegion({
    ...bound,
    inputs: [image.ref],
    region: {
      outer,
      inner: [],
      body: [{
        kind: "load",
        input: 0,
        strides: stridesOf([image.planes, image.height, image.width]),
        offset: 0,
        dtype: "f32",
      }],
      stores: [{ value: 0, output: 0, strides, offset: top * width + left }],
    },
  }, temporary);
  return { ref, height, width, calls: [...border, ...inside] };
}
