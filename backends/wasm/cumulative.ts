/**
 * Running sums along an axis.
 *
 * @module
 */
import { isFloat } from "../../core/dtype.ts";
import { size } from "../../core/shape.ts";
import type { CumulativeAttrs } from "../../ops/cumulative.ts";
import type { Int } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import { type Call, chunkOf, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

const ARGS = ["x", "y", "n", "inner", "first", "step"] as const;

/** A work item is one outer index; its inner places are done four at a time, each lane a running sum of its own. */
const cumulativeKernel = (kind: "f32" | "i32", exclusive: boolean) =>
  kernel(`cumulativeSum ${kind}${exclusive ? " exclusive" : ""}`, ARGS, ({ f, args, begin, end }) => {
    const { x, y, n, inner, first, step } = args;
    const add = kind === "f32" ? f32x4.add : i32x4.add;
    const column = (offset: Int, width: 4 | 1) => {
      const place = f.let(offset);
      const total = f.let(i32x4.const(0));
      f.for({ to: n }, () => {
        const from = i32.add(x, place), to = i32.add(y, place);
        const value = f.let(width === 4 ? v128.load(from) : v128.load32_zero(from));
        const next = f.let(add(total, value));
        const result = exclusive ? total : next;
        f.do(width === 4 ? v128.store(to, result) : v128.store32_lane(to, result, 0));
        f.set(total, next);
        f.increase(place, step);
      });
    };
    f.for({ from: begin, to: end }, (outer) => {
      const offset = f.let(i32.add(i32.shl(i32.mul(i32.mul(outer, n), inner), 2), first));
      const last = f.let(i32.add(offset, i32.shl(inner, 2)));
      const whole = f.let(i32.add(offset, i32.shl(i32.and(inner, -4), 2)));
      f.count(offset, { to: whole, step: 16 }, () => column(offset, 4));
      f.count(offset, { to: last, step: 4 }, () => column(offset, 1));
    });
  });

/** Running sums, from either end, with or without the element itself. */
export function lowerCumulativeSum({ name, inputs: [x], outputs: [y] }: OpCall, attrs: CumulativeAttrs): Call[] {
  const { axis, exclusive, reverse } = attrs;
  const n = x.shape[axis], inner = size(x.shape.slice(axis + 1)), total = size(x.shape.slice(0, axis));
  if (total * n * inner === 0) return [];
  const step = 4 * inner;
  const args = { x: x.ref, y: y.ref, n, inner, first: reverse ? (n - 1) * step : 0, step: reverse ? -step : step };
  const kernel = cumulativeKernel(isFloat(x.dtype) ? "f32" : "i32", exclusive);
  return [{ name, kernel, args, total, chunk: chunkOf(total, n * inner) }];
}
