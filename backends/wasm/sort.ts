/**
 * Sorting: a radix sort of indices, stable, a byte of the key at a time.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import { size } from "../../core/shape.ts";
import type { SortAttrs } from "../../ops/sort.ts";
import { rowStart } from "./argmax.ts";
import type { Func, Int } from "./assembler.ts";
import { type Expr, f32, i32 } from "./instructions.ts";
import { type Call, chunkOf, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";

const ARGS = ["x", "y", "other", "n", "inner"] as const;
const BUCKETS = 256;

/** An unsigned number that sorts like the element at `address`; NaN is the largest either way. */
function keyAt(f: Func, dtype: DType, descending: boolean, address: Expr<"i32">): Int {
  const flip = (key: Expr<"i32">) => descending ? i32.xor(key, -1) : key;
  if (dtype === "u32") return f.let(flip(i32.load(address)));
  if (dtype !== "f32") return f.let(flip(i32.xor(i32.load(address), 0x80000000)));
  const value = f.let(f32.add(f32.load(address), f32.const(0))); // -0 becomes 0
  const bits = f.let(i32.reinterpret_f32(value));
  const ordered = i32.xor(bits, i32.or(i32.shr_s(bits, 31), 0x80000000));
  return f.let(i32.select(f32.ne(value, value), -1, flip(ordered)));
}

interface Row {
  /** Address of the row's first key, and bytes between its elements. */
  readonly keys: Int;
  readonly step: Int;
  readonly n: Int;
  /** Address of 256 words. */
  readonly counts: Int;
}

/** One pass: moves the indices in `from` (or 0, 1, 2, ...) to `to`, sorted by one byte of their keys. */
function sortByByte(f: Func, row: Row, byte: number, key: (address: Expr<"i32">) => Int, from: Int | null, to: Int) {
  const { keys, step, n, counts } = row;
  const countOf = (index: Expr<"i32">): Int => {
    const bits = key(i32.add(keys, i32.mul(index, step)));
    return f.let(i32.add(counts, i32.shl(i32.and(i32.shr_u(bits, 8 * byte), 255), 2)));
  };
  const indexAt = (i: Int): Int => from ? f.let(i32.load(i32.add(from, i32.mul(i, step)))) : i;
  f.for({ to: 4 * BUCKETS, step: 4 }, (at) => f.do(i32.store(i32.add(counts, at), i32.const(0))));
  f.for({ to: n }, (i) => {
    const count = countOf(indexAt(i));
    f.do(i32.store(count, i32.add(i32.load(count), 1)));
  });
  const before = f.let(i32.const(0));
  f.for({ to: 4 * BUCKETS, step: 4 }, (at) => {
    const place = f.let(i32.add(counts, at));
    const count = f.let(i32.load(place));
    f.do(i32.store(place, before));
    f.increase(before, count);
  });
  f.for({ to: n }, (i) => {
    const index = indexAt(i);
    const count = countOf(index);
    const place = f.let(i32.load(count));
    f.do(i32.store(count, i32.add(place, 1)));
    f.do(i32.store(i32.add(to, i32.mul(place, step)), index));
  });
}

/** A work item is one row; `other` is as large as the output. */
const sortKernel = (dtype: DType, descending: boolean) =>
  kernel(`argsort ${dtype}${descending ? " descending" : ""}`, ARGS, ({ f, args, begin, end }) => {
    const { x, y, other, n, inner } = args;
    const counts = f.let(f.module.global("scratch"));
    const step = f.let(i32.shl(inner, 2));
    const key = (address: Expr<"i32">) => keyAt(f, dtype, descending, address);
    f.for({ from: begin, to: end }, (index) => {
      const keys = f.let(rowStart(f, x, index, n, inner));
      const into = f.let(i32.add(y, i32.sub(keys, x))), between = f.let(i32.add(other, i32.sub(keys, x)));
      const row = { keys, step, n, counts };
      sortByByte(f, row, 0, key, null, between);
      sortByByte(f, row, 1, key, between, into);
      sortByByte(f, row, 2, key, into, between);
      sortByByte(f, row, 3, key, between, into);
    });
  });

/** The indices that sort each row along an axis. */
export function lowerArgsort(call: OpCall, { axis, descending }: SortAttrs): Call[] {
  const { name, inputs: [x], outputs: [y] } = call;
  const n = x.shape[axis], inner = size(x.shape.slice(axis + 1));
  if (size(x.shape) === 0) return [];
  const total = size(x.shape) / n;
  const args = { x: x.ref, y: y.ref, other: call.temporary(4 * size(x.shape)), n, inner };
  return [{ name, kernel: sortKernel(x.dtype, descending), args, total, chunk: chunkOf(total, 1000 + 15 * n) }];
}
