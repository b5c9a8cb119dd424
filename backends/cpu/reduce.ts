/**
 * Reductions, the places of extremes, and running totals. Sums are kept in double precision.
 *
 * @module
 */
import type { Kernel, KernelTable, View } from "../../core/backend.ts";
import { neutralOf, type ReduceOp } from "../../core/scalar.ts";
import { stridesOf } from "../../core/shape.ts";
import type { ArgAttrs } from "../../ops/argmax.ts";
import type { CumulativeAttrs } from "../../ops/cumulative.ts";
import type { ReduceAttrs } from "../../ops/reduce.ts";
import { type Buffer, type Elements, elements, places, type Walk, walk } from "./memory.ts";
import { specialized } from "./specialize.ts";

type Combine = (a: number, b: number) => number;

/** How two values become one; whole numbers wrap when they are stored, but products must wrap at once to stay exact. */
const combine = {
  sum: (a: number, b: number) => a + b,
  prod: (a: number, b: number) => a * b,
  max: (a: number, b: number) => Math.max(a, b),
  min: (a: number, b: number) => Math.min(a, b),
  any: (a: number, b: number) => a | b,
  all: (a: number, b: number) => a & b,
} satisfies Record<ReduceOp, Combine>;

/** For every place, all elements that a walk from there visits, combined. */
const foldLoop = specialized(
  (f: Combine, first: number, to: Elements, from: Elements, places: Int32Array, rows: Walk) => {
    const { length, steps: [step], starts: [starts] } = rows;
    for (let i = 0; i < to.length; i++) {
      let result = first;
      for (let row = 0; row < starts.length; row++) {
        const at = places[i] + starts[row];
        for (let j = 0; j < length; j++) result = f(result, from[at + j * step]);
      }
      to[i] = result;
    }
  },
);

function reduction(op: ReduceOp): Kernel<Buffer, ReduceAttrs> {
  return ({ inputs: [x], outputs: [y], attrs: { axes } }) => {
    const whole = x.dtype === "i32" || x.dtype === "u32";
    const f = op === "prod" && whole ? Math.imul : combine[op];
    const strides = stridesOf(x.shape);
    const rows = walk(axes.map((axis) => x.shape[axis]), axes.map((axis) => strides[axis]));
    const loop = foldLoop(`${op} ${x.dtype}`);
    loop(f, neutralOf(op, x.dtype), elements(y), elements(x), places(y.shape, strides), rows);
  };
}

/** The first place along an axis whose element is NaN, or else beats all others. */
function argExtreme(beats: (a: number, b: number) => boolean): Kernel<Buffer, ArgAttrs> {
  return ({ inputs: [x], outputs: [y], attrs: { axis } }) => {
    const from = elements(x), to = elements(y);
    const rows = rowStarts(x, axis), step = stridesOf(x.shape)[axis];
    rows.forEach((start, row) => {
      let best = 0;
      for (let i = 1; i < x.shape[axis]; i++) {
        const value = from[start + i * step], record = from[start + best * step];
        if (!Number.isNaN(record) && (Number.isNaN(value) || beats(value, record))) best = i;
      }
      to[row] = best;
    });
  };
}

/** Where every row along `axis` begins. */
export function rowStarts({ shape }: View<Buffer>, axis: number): Int32Array {
  return places(shape.with(axis, 1), stridesOf(shape));
}

const cumulativeSum: Kernel<Buffer, CumulativeAttrs> = ({ inputs: [x], outputs: [y], attrs }) => {
  const { axis, exclusive, reverse } = attrs;
  const from = elements(x), to = elements(y);
  const n = x.shape[axis], step = stridesOf(x.shape)[axis];
  for (const start of rowStarts(x, axis)) {
    let total = 0;
    for (let i = 0; i < n; i++) {
      const place = start + (reverse ? n - 1 - i : i) * step;
      const value = from[place];
      to[place] = exclusive ? total : total + value;
      total += value;
    }
  }
};

/** Kernels that combine values along axes. */
export const reduce: KernelTable<Buffer> = {
  sum: reduction("sum"),
  prod: reduction("prod"),
  reduceMax: reduction("max"),
  reduceMin: reduction("min"),
  any: reduction("any"),
  all: reduction("all"),
  argmax: argExtreme((a, b) => a > b),
  argmin: argExtreme((a, b) => a < b),
  cumulativeSum,
};
