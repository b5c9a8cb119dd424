/**
 * Pooling: maxima and sums of windows of an image.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, type Spec } from "../../core/shape.ts";
import type { PoolAttrs, SumPoolGradAttrs } from "../../ops/pool.ts";
import type { Func, Int } from "./assembler.ts";
import { f32, i32, type V128 } from "./instructions.ts";
import { type Call, chunkOf, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { padImage, reach } from "./padding.ts";
import { lowerRegion } from "./region.ts";
import { f32x4, i32x4, i8x16, v128 } from "./simd.ts";

const ARGS = [
  "large",
  "small",
  "height",
  "width",
  "rows",
  "columns",
  "windowHeight",
  "windowWidth",
  "strideY",
  "strideX",
  "top",
  "left",
  "dilationY",
  "dilationX",
] as const;
type Args = Readonly<Record<typeof ARGS[number], Int>>;

/** What is done around one window, and for each of its elements. */
interface Visit {
  begin(place: Int): void;
  /** `index` counts in the plane; `address` is where the element is. */
  element(index: Int, address: Int, place: Int): void;
  end(place: Int): void;
}

/** Visits the windows of plane `plane`; elements in the padding are left out. `place` is an address in `small`. */
function eachWindow(f: Func, args: Args, plane: Int, visit: Visit): void {
  const { large, small, height, width, rows, columns } = args;
  const image = f.let(i32.add(large, i32.shl(i32.mul(plane, i32.mul(height, width)), 2)));
  const place = f.let(i32.add(small, i32.shl(i32.mul(plane, i32.mul(rows, columns)), 2)));
  f.for({ to: rows }, (p) => {
    const firstRow = f.let(i32.sub(i32.mul(p, args.strideY), args.top));
    f.for({ to: columns }, (q) => {
      const firstColumn = f.let(i32.sub(i32.mul(q, args.strideX), args.left));
      visit.begin(place);
      f.for({ to: args.windowHeight }, (u) => {
        const row = f.let(i32.add(firstRow, i32.mul(u, args.dilationY)));
        f.if(i32.lt_u(row, height), () => {
          const column = f.let(firstColumn);
          f.for({ to: args.windowWidth }, () => {
            f.if(i32.lt_u(column, width), () => {
              const index = f.let(i32.add(i32.mul(row, width), column));
              visit.element(index, f.let(i32.add(image, i32.shl(index, 2))), place);
            });
            f.increase(column, args.dilationX);
          });
        });
      });
      visit.end(place);
      f.increase(place, 4);
    });
  });
}

/** The index in its plane of the first maximum of each window; a NaN wins. */
const indexKernel = kernel("maxPoolIndices", ARGS, ({ f, args, begin, end }) => {
  const best = f.local("f32"), at = f.local("i32");
  f.for({ from: begin, to: end }, (plane) =>
    eachWindow(f, args, plane, {
      begin: () => f.set(at, i32.const(-1)),
      element(index, address) {
        const value = f.let(f32.load(address));
        const better = i32.or(i32.lt_s(at, 0), i32.or(f32.gt(value, best), f32.ne(value, value)));
        f.if(better, () => {
          f.set(best, value);
          f.set(at, index);
        });
      },
      end: (place) => f.do(i32.store(place, at)),
    }));
});

/** How far apart the windows of a row are, as far as loading four of their elements is concerned. */
type Step = "1" | "2" | "s";

/** Elements of four windows side by side, `strideX` columns apart; nothing but they and what is between them is read. */
function loadFour(f: Func, step: Step, address: Int, strideX: Int): V128 {
  if (step === "1") return v128.load(address);
  if (step === "2") return i8x16.shuffle32(f.let(v128.load(address)), f.let(v128.load(address, 12)), [0, 2, 5, 7]);
  const value = f.let(v128.load32_zero(address)), next = f.let(address);
  for (const lane of [1, 2, 3]) {
    f.increase(next, i32.shl(strideX, 2));
    f.set(value, v128.load32_lane(next, value, lane));
  }
  return value;
}

/** The same for windows that lie inside of the image, at least four in a row: four at a time. */
const insideIndexKernel = (step: Step) =>
  kernel(`maxPoolIndices inside ${step}`, ARGS, ({ f, args, begin, end }) => {
    const { large, small, height, width, rows, columns } = args;
    const lanes = f.let(i32x4.mul(i32x4.const(0, 1, 2, 3), i32x4.splat(args.strideX)));
    const last = f.let(i32.sub(columns, 4));
    f.for({ from: begin, to: end }, (plane) => {
      const image = f.let(i32.add(large, i32.shl(i32.mul(plane, i32.mul(height, width)), 2)));
      const places = f.let(i32.add(small, i32.shl(i32.mul(plane, i32.mul(rows, columns)), 2)));
      f.for({ to: rows }, (p) => {
        const rowBegin = f.let(i32.mul(i32.mul(p, args.strideY), width));
        f.for({ to: columns, step: 4 }, (column) => {
          const q = f.let(i32.min_u(column, last)); // the last four may overlap those before
          const first = f.let(i32.add(rowBegin, i32.mul(q, args.strideX)));
          const at = f.let(i32x4.splat(first));
          const best = f.let(loadFour(f, step, f.let(i32.add(image, i32.shl(first, 2))), args.strideX));
          f.for({ to: args.windowHeight }, (u) => {
            const index = f.let(i32.add(first, i32.mul(i32.mul(u, args.dilationY), width)));
            f.for({ to: args.windowWidth }, () => {
              const value = f.let(loadFour(f, step, f.let(i32.add(image, i32.shl(index, 2))), args.strideX));
              const better = f.let(v128.or(f32x4.gt(value, best), f32x4.ne(value, value)));
              f.set(best, v128.select(better, value, best));
              f.set(at, v128.select(better, i32x4.splat(index), at));
              f.increase(index, args.dilationX);
            });
          });
          f.do(v128.store(i32.add(places, i32.shl(i32.add(i32.mul(p, columns), q), 2)), i32x4.add(at, lanes)));
        });
      });
    });
  });

/** Spreads each window's value over its elements. */
const sumGradKernel = kernel("sumPoolGrad", ARGS, ({ f, args, begin, end }) => {
  const { large, height, width } = args;
  const grad = f.local("f32");
  f.for({ from: begin, to: end }, (plane) => {
    const address = f.let(i32.add(large, i32.shl(i32.mul(plane, i32.mul(height, width)), 2)));
    const last = f.let(i32.add(address, i32.shl(i32.mul(height, width), 2)));
    f.count(address, { to: last, step: 4 }, () => f.do(f32.store(address, f32.const(0))));
    eachWindow(f, args, plane, {
      begin: (place) => f.set(grad, f32.load(place)),
      element: (_, address) => f.do(f32.store(address, f32.add(f32.load(address), grad))),
      end: () => {},
    });
  });
});

/** The arguments: `large` is the image, `small` has one element a window. */
function argsOf(large: OpCall["outputs"][number], small: OpCall["outputs"][number], attrs: PoolAttrs) {
  const { size: window, stride, padding: [[top], [left]], dilation } = attrs;
  return {
    large: large.ref,
    small: small.ref,
    height: large.shape[2],
    width: large.shape[3],
    rows: small.shape[2],
    columns: small.shape[3],
    windowHeight: window[0],
    windowWidth: window[1],
    strideY: stride[0],
    strideX: stride[1],
    top,
    left,
    dilationY: dilation[0],
    dilationX: dilation[1],
  };
}

function planes(large: Spec, small: Spec, attrs: PoolAttrs): { total: number; chunk: number } {
  const total = large.shape[0] * large.shape[1];
  const perPlane = size(small.shape.slice(2)) * (3 + 1.5 * attrs.size[0] * attrs.size[1]);
  return { total, chunk: chunkOf(total, perPlane) };
}

/** Every window's elements combined: a reduction over the window's axes of the padded image. */
const lowerPool = (op: "max" | "sum") => (call: OpCall, attrs: PoolAttrs): Call[] => {
  const { name, inputs: [x], outputs: [y], temporary } = call;
  const [batch, channels, rows, columns] = y.shape;
  if (size(y.shape) === 0) return [];
  const image = { ref: x.ref, planes: batch * channels, height: x.shape[2], width: x.shape[3] };
  const fill = op === "max" ? -Infinity : 0;
  const { ref, height, width, calls } = padImage(image, [rows, columns], attrs.size, attrs, fill, temporary);
  const { stride, dilation } = attrs;
  const strides = [height * width, stride[0] * width, stride[1], dilation[0] * width, dilation[1]];
  const region: Region = {
    outer: [image.planes, rows, columns],
    inner: attrs.size,
    body: [
      { kind: "load", input: 0, strides, offset: 0, dtype: "f32" },
      { kind: "reduce", op, arg: 0, dtype: "f32" },
    ],
    stores: [{ value: 1, output: 0, strides: [rows * columns, columns, 1, 0, 0], offset: 0 }],
  };
  return [...calls, ...lowerRegion({ name, region, inputs: [ref], outputs: [y.ref], outputTypes: ["f32"] }, temporary)];
};

/** Largest element of each window. */
export const lowerMaxPool = lowerPool("max");
/** Sum of each window. */
export const lowerSumPool = lowerPool("sum");

/** Index of the largest element of each window. */
export function lowerMaxPoolIndices({ name, inputs: [x], outputs: [y] }: OpCall, attrs: PoolAttrs): Call[] {
  if (size(y.shape) === 0) return [];
  const { size: window, stride, padding, dilation } = attrs;
  const inside = [0, 1].every((axis) =>
    padding[axis][0] === 0 && reach(y.shape[2 + axis], window[axis], stride[axis], dilation[axis]) <= x.shape[2 + axis]
  );
  const step = stride[1] === 1 ? "1" : stride[1] === 2 ? "2" : "s";
  const kernel = inside && y.shape[3] >= 4 ? insideIndexKernel(step) : indexKernel;
  return [{ name, kernel, args: argsOf(x, y, attrs), ...planes(x, y, attrs) }];
}

/** The adjoint of the sum. */
export function lowerSumPoolGrad({ name, inputs: [dy], outputs: [dx] }: OpCall, attrs: SumPoolGradAttrs): Call[] {
  if (size(dx.shape) === 0) return [];
  return [{ name, kernel: sumGradKernel, args: argsOf(dx, dy, attrs), ...planes(dx, dy, attrs) }];
}
