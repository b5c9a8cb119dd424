/**
 * Part of a tensor replaced, in place where the plan allows it.
 *
 * @module
 */
import { sharePlace } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { IndexAttrs } from "../../ops/index.ts";
import { i32, memory } from "./instructions.ts";
import { type Call, chunkOf, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { lowerCopy } from "./region.ts";

const ARGS = ["y", "update", "start", "n", "count", "bytes"] as const;

/** A work item is one row of `bytes` bytes of the update, counted over outer axes and the axis. */
const updateKernel = kernel("updateSlice", ARGS, ({ f, args, begin, end }) => {
  const { y, update, start, n, count, bytes } = args;
  const first = f.let(i32.load(start));
  f.increase(first, i32.and(i32.shr_s(first, 31), n)); // negative ones count from the end
  f.for({ from: begin, to: end }, (item) => {
    const outer = f.let(i32.div_u(item, count));
    const place = f.let(i32.add(first, i32.sub(item, i32.mul(outer, count))));
    f.if(i32.lt_u(place, n), () => {
      const to = i32.add(y, i32.mul(i32.add(i32.mul(outer, n), place), bytes));
      f.do(memory.copy(to, i32.add(update, i32.mul(item, bytes)), bytes));
    });
  });
});

/** Writes the update's rows; x goes to y first unless it is there already. */
export function lowerUpdateSlice(call: OpCall, { axis }: IndexAttrs): Call[] {
  const { name, inputs: [x, update, start], outputs: [y], program: { buffers } } = call;
  if (size(x.shape) === 0) return [];
  const there = sharePlace(buffers[x.ref.buffer], buffers[y.ref.buffer]);
  const from = { ref: x.ref, strides: [1] }, to = { ref: y.ref, strides: [1] };
  const calls = there ? [] : lowerCopy(call, { shape: [size(x.shape)], from, to, dtype: x.dtype });
  const n = x.shape[axis], count = update.shape[axis], total = size(update.shape.slice(0, axis + 1));
  if (total === 0) return calls;
  const bytes = 4 * size(x.shape.slice(axis + 1));
  const args = { y: y.ref, update: update.ref, start: start.ref, n, count, bytes };
  return [...calls, { name, kernel: updateKernel, args, total, chunk: chunkOf(total, 10 + bytes / 16) }];
}
