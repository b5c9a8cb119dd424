/**
 * Images with a border, for windows that reach over the edge.
 *
 * @module
 */
import type { Sliding } from "../../ops/window.ts";
import type { Func, Int } from "./assembler.ts";
import { i32, type V128 } from "./instructions.ts";
import { type Call, chunkOf, floatWord, type Kernel, kernel, type Ref } from "./kernel.ts";
import { i32x4, i8x16, loadLanes, v128 } from "./simd.ts";

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
  const ref = temporary(4 * image.planes * height * width);
  const args: Record<string, number | Ref> = {
    from: image.ref,
    to: ref,
    fill: floatWord(fill),
    top,
    height,
    part,
    imageHeight: image.height,
    imageRow: 4 * image.width,
    imagePlane: 4 * image.height * image.width,
  };
  for (let residue = 0; residue < split; residue++) {
    const [begin, end] = [left, Math.min(left + image.width, frame.width)]
      .map((column) => Math.min(part, Math.max(0, Math.ceil((column - residue) / split))));
    args[`begin${residue}`] = begin;
    args[`end${residue}`] = Math.max(begin, end);
    args[`skip${residue}`] = 4 * (begin * split + residue - left);
  }
  const call = {
    name: "padding",
    kernel: frameKernel(Object.keys(args), split),
    args,
    total: image.planes,
    chunk: chunkOf(image.planes, COST * height * width),
  };
  return { ref, height, width, part, calls: [call] };
}

/** Nanoseconds that an element takes. */
const COST = 0.3;

/** One item is one plane, row by row. */
function frameKernel(names: readonly string[], split: number): Kernel {
  return kernel(`frame ${split}`, names, ({ f, args, begin, end }) => {
    const fill = f.let(i32x4.splat(args.fill));
    const to = f.let(i32.add(args.to, i32.mul(begin, i32.mul(args.height, i32.mul(args.part, 4 * split)))));
    const image = f.let(i32.add(args.from, i32.mul(begin, args.imagePlane)));
    const put = (width: 4 | 1, value: V128) => {
      f.do(width === 4 ? v128.store(to, value) : v128.store32_lane(to, f.let(value), 0));
      f.increase(to, 4 * width);
    };
    const border = (count: Int) => {
      f.while(i32.ge_u(count, 4), () => [put(4, fill), f.increase(count, -4)]);
      f.while(count, () => [put(1, fill), f.increase(count, -1)]);
    };
    f.for({ from: begin, to: end }, () => {
      f.for({ to: args.height }, (row) => {
        const imageRow = f.let(i32.sub(row, args.top));
        const inside = () => {
          const from = f.let(i32.add(image, i32.mul(imageRow, args.imageRow)));
          for (let residue = 0; residue < split; residue++) {
            const [first, last, skip] = [args[`begin${residue}`], args[`end${residue}`], args[`skip${residue}`]];
            border(f.let(first));
            const pixel = f.let(i32.add(from, skip)), count = f.let(i32.sub(last, first));
            const copy = (width: 4 | 1) => {
              put(width, width === 4 ? fourPixels(f, pixel, split) : v128.load32_zero(pixel));
              f.increase(pixel, 4 * width * split);
              f.increase(count, -width);
            };
            f.while(i32.ge_u(count, 4), () => copy(4));
            f.while(count, () => copy(1));
            border(f.let(i32.sub(args.part, last)));
          }
        };
        f.if(i32.lt_u(imageRow, args.imageHeight), inside, () => border(f.let(i32.mul(args.part, split))));
      });
      f.increase(image, args.imagePlane);
    });
  });
}

/** Four pixels, `split` apart. */
function fourPixels(f: Func, pixel: Int, split: number): V128 {
  if (split === 1) return v128.load(pixel);
  if (split === 2) return i8x16.shuffle32(f.let(v128.load(pixel)), f.let(v128.load(pixel, 16)), [0, 2, 4, 6]);
  return loadLanes(f, [pixel, pixel, pixel, pixel], (lane) => 4 * split * lane);
}
