/**
 * Where the largest or smallest element of a row is. A NaN beats everything, and the first of equals wins.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import { size } from "../../core/shape.ts";
import type { ArgAttrs } from "../../ops/argmax.ts";
import type { Func, Int, Local } from "./assembler.ts";
import { type Expr, f32, i32 } from "./instructions.ts";
import { type Call, chunkOf, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";

const ARGS = ["x", "y", "n", "inner"] as const;

/** Whether `value` takes the place of `best`. */
function beats(op: "argmax" | "argmin", dtype: DType, value: Local, best: Local): Expr<"i32"> {
  if (dtype === "f32") {
    const [a, b] = [value, best] as Local<"f32">[];
    const better = op === "argmax" ? f32.gt(a, b) : f32.lt(a, b);
    return i32.or(better, i32.and(f32.ne(a, a), f32.eq(b, b)));
  }
  const [a, b] = [value, best] as Int[];
  if (dtype === "u32") return op === "argmax" ? i32.gt_u(a, b) : i32.lt_u(a, b);
  return op === "argmax" ? i32.gt_s(a, b) : i32.lt_s(a, b);
}

/** A work item is one row: all elements along the axis. */
const argKernel = (op: "argmax" | "argmin", dtype: DType) =>
  kernel(`${op} ${dtype}`, ARGS, ({ f, args: { x, y, n, inner }, begin, end }) => {
    const load = dtype === "f32" ? f32.load : i32.load;
    const step = f.let(i32.shl(inner, 2));
    f.for({ from: begin, to: end }, (row) => {
      const address = f.let(rowStart(f, x, row, n, inner));
      const best: Local = f.let(load(address)), value: Local = f.local(best.type);
      const at = f.let(i32.const(0));
      f.for({ from: 1, to: n }, (i) => {
        f.increase(address, step);
        f.set(value, load(address));
        f.if(beats(op, dtype, value, best), () => {
          f.set(best, value);
          f.set(at, i);
        });
      });
      f.do(i32.store(i32.add(y, i32.shl(row, 2)), at));
    });
  });

/** Address of the first element of row `row` of a tensor `[outer, n, inner]`, rows counted over outer and inner. */
export function rowStart(f: Func, x: Int, row: Int, n: Int, inner: Int) {
  const outer = f.let(i32.div_u(row, inner));
  const rest = i32.sub(row, i32.mul(outer, inner));
  return i32.add(x, i32.shl(i32.add(i32.mul(i32.mul(outer, n), inner), rest), 2));
}

const lowerArg =
  (op: "argmax" | "argmin") => ({ name, inputs: [x], outputs: [y] }: OpCall, { axis }: ArgAttrs): Call[] => {
    const n = x.shape[axis], inner = size(x.shape.slice(axis + 1)), total = size(y.shape);
    if (total === 0) return [];
    const args = { x: x.ref, y: y.ref, n, inner };
    return [{ name, kernel: argKernel(op, x.dtype), args, total, chunk: chunkOf(total, n) }];
  };

/** Index of the largest element. */
export const lowerArgmax = lowerArg("argmax");
/** Index of the smallest element. */
export const lowerArgmin = lowerArg("argmin");
