/**
 * Sorting, by JavaScript's stable sort.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { stridesOf } from "../../core/shape.ts";
import type { SortAttrs } from "../../ops/sort.ts";
import { type Buffer, elements } from "./memory.ts";
import { rowStarts } from "./reduce.ts";

const argsort: Kernel<Buffer, SortAttrs> = ({ inputs: [x], outputs: [y], attrs: { axis, descending } }) => {
  const from = elements(x), to = elements(y);
  const n = x.shape[axis], step = stridesOf(x.shape)[axis];
  for (const start of rowStarts(x, axis)) {
    const value = (i: number) => from[start + i * step];
    const compare = (i: number, j: number) => {
      const a = value(i), b = value(j);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
      return descending ? b - a : a - b;
    };
    const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => compare(i, j) || 0);
    order.forEach((index, i) => to[start + i * step] = index);
  }
};

/** Kernels that sort. */
export const sort: KernelTable<Buffer> = { argsort };
