/**
 * Reading and writing at places given as data. Out of range, reading gives NaN or 0 and writing does nothing.
 *
 * All ops see their tensors as `[outer, axis, inner]`.
 *
 * @module
 */
import { isFloat } from "../../core/dtype.ts";
import { size } from "../../core/shape.ts";
import type { IndexAttrs } from "../../ops/index.ts";
import type { Func, Int } from "./assembler.ts";
import { type Expr, f32, i32 } from "./instructions.ts";
import { type Call, chunkOf, floatWord, kernel } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** Nanoseconds for one element moved alone, and for one in a vector. */
const ELEMENT_COST = 1, VECTOR_COST = 0.3;

function split(shape: readonly number[], axis: number) {
  return { outer: size(shape.slice(0, axis)), n: shape[axis], inner: size(shape.slice(axis + 1)) };
}

/** Address of 4-byte element `index`. */
function element(base: Expr<"i32">, index: Expr<"i32">): Expr<"i32"> {
  return i32.add(base, i32.shl(index, 2));
}

/** The place that the index at `address` names: negative ones count from the end; out of range it is not below n. */
function placeAt(f: Func, address: Expr<"i32">, n: Int): Int {
  const index = f.let(i32.load(address));
  return f.let(i32.add(index, i32.and(i32.shr_s(index, 31), n)));
}

/** Visits `count` neighbouring elements, four at a time and then one by one; `at` is the offset in bytes. */
function eachVector(f: Func, count: Int, visit: (at: Int, width: 4 | 1) => void): void {
  const bytes = f.let(i32.shl(count, 2));
  const at = f.let(i32.const(0));
  f.count(at, { to: f.let(i32.and(bytes, -16)), step: 16 }, () => visit(at, 4));
  f.count(at, { to: bytes, step: 4 }, () => visit(at, 1));
}

const GATHER_ARGS = ["x", "indices", "y", "n", "count", "inner", "outside"] as const;

/** Slice `j` of the output is slice `indices[j]` of x; a work item is one slice. */
const gatherKernel = kernel("gather", GATHER_ARGS, ({ f, args, begin, end }) => {
  const { x, indices, y, n, count, inner, outside } = args;
  const missing = f.let(i32x4.splat(outside));
  f.for({ from: begin, to: end }, (item) => {
    const index = placeAt(f, element(indices, i32.rem_u(item, count)), n);
    const slice = i32.add(i32.mul(i32.div_u(item, count), n), index);
    const from = f.let(element(x, i32.mul(slice, inner))), to = f.let(element(y, i32.mul(item, inner)));
    const inside = f.let(i32.lt_u(index, n));
    eachVector(f, inner, (at, width) => {
      const target = f.let(i32.add(to, at)), source = i32.add(from, at);
      if (width === 1) {
        f.if(inside, () => f.do(i32.store(target, i32.load(source))), () => f.do(i32.store(target, outside)));
      } else f.if(inside, () => f.do(v128.store(target, v128.load(source))), () => f.do(v128.store(target, missing)));
    });
  });
});

/** The rows of x that an index tensor names. */
export function lowerGather({ name, inputs: [x, indices], outputs: [y] }: OpCall, { axis }: IndexAttrs): Call[] {
  const { outer, n, inner } = split(x.shape, axis);
  const count = size(indices.shape), total = outer * count;
  if (total * inner === 0) return [];
  const outside = isFloat(x.dtype) ? floatWord(NaN) : 0;
  const args = { x: x.ref, indices: indices.ref, y: y.ref, n, count, inner, outside };
  return [{ name, kernel: gatherKernel, args, total, chunk: chunkOf(total, 5 + inner * VECTOR_COST) }];
}

const ELEMENTS_ARGS = ["x", "indices", "y", "n", "count", "inner", "outside"] as const;

/** A work item is one row of `inner` outputs. */
const gatherElementsKernel = kernel("gatherElements", ELEMENTS_ARGS, ({ f, args, begin, end }) => {
  const { x, indices, y, n, count, inner, outside } = args;
  f.for({ from: begin, to: end }, (item) => {
    const first = f.let(i32.mul(i32.div_u(item, count), n));
    const row = f.let(i32.mul(item, inner));
    f.for({ to: inner }, (i) => {
      const place = f.let(i32.shl(i32.add(row, i), 2));
      const index = placeAt(f, i32.add(indices, place), n);
      const source = element(x, i32.add(i32.mul(i32.add(first, index), inner), i));
      const target = f.let(i32.add(y, place));
      f.if(
        i32.lt_u(index, n),
        () => f.do(i32.store(target, i32.load(source))),
        () => f.do(i32.store(target, outside)),
      );
    });
  });
});

/** One element of x for each index. */
export function lowerGatherElements(call: OpCall, { axis }: IndexAttrs): Call[] {
  const { name, inputs: [x, indices], outputs: [y] } = call;
  const { n } = split(x.shape, axis);
  const { outer, n: count, inner } = split(indices.shape, axis);
  const total = outer * count;
  if (total * inner === 0) return [];
  const outside = isFloat(x.dtype) ? floatWord(NaN) : 0;
  const args = { x: x.ref, indices: indices.ref, y: y.ref, n, count, inner, outside };
  return [{ name, kernel: gatherElementsKernel, args, total, chunk: chunkOf(total, 2 + inner * ELEMENT_COST) }];
}

const ADD_ARGS = ["x", "indices", "updates", "y", "n", "count", "inner", "columns"] as const;

/**
 * Adds slices of updates into y, which starts as x. A work item is a piece of `columns` inner places of one outer
 * index, so that no two items write the same element and each adds in the order of the indices.
 */
const indexAddKernel = (kind: "f32" | "i32", perElement: boolean) =>
  kernel(`add ${kind}${perElement ? " elements" : ""}`, ADD_ARGS, ({ f, args, begin, end }) => {
    const { x, indices, y, n, count, inner, columns } = args;
    const pieces = f.let(i32.div_u(i32.add(inner, i32.sub(columns, 1)), columns));
    f.for({ from: begin, to: end }, (item) => {
      const outer = f.let(i32.div_u(item, pieces));
      const first = f.let(i32.mul(i32.rem_u(item, pieces), columns));
      const width = f.min(i32.sub(inner, first), columns);
      const into = f.let(i32.add(i32.mul(i32.mul(outer, n), inner), first));
      copyRows(f, { from: x, to: y, start: into, rows: n, inner, width });
      const from = f.let(i32.add(i32.mul(i32.mul(outer, count), inner), first));
      f.for({ to: count }, (j) => {
        const row = f.let(i32.add(from, i32.mul(j, inner)));
        if (perElement) addElements(f, kind, { args, row, into, width });
        else addSlice(f, kind, { args, index: placeAt(f, element(indices, j), n), row, into, width });
      });
    });
  });

/** The same for the last axis, with an index for every element. A work item is one row. */
const scatterRowsKernel = (kind: "f32" | "i32") =>
  kernel(`add ${kind} elements in rows`, ADD_ARGS, ({ f, args, begin, end }) => {
    const { x, indices, updates, y, n, count } = args;
    f.for({ from: begin, to: end }, (outer) => {
      const offset = f.let(i32.shl(i32.mul(outer, n), 2));
      const source = f.let(i32.add(x, offset)), target = f.let(i32.add(y, offset));
      eachVector(f, n, (at, lanes) => {
        const read = i32.add(source, at), write = i32.add(target, at);
        f.do(lanes === 4 ? v128.store(write, v128.load(read)) : i32.store(write, i32.load(read)));
      });
      const place = f.let(i32.shl(i32.mul(outer, count), 2));
      f.for({ to: count }, () => {
        const index = placeAt(f, i32.add(indices, place), n);
        f.if(i32.lt_u(index, n), () => f.do(addOne(kind, f.let(element(target, index)), i32.add(updates, place))));
        f.increase(place, 4);
      });
    });
  });

function copyRows(
  f: Func,
  { from, to, start, rows, inner, width }: Readonly<Record<"from" | "to" | "start" | "rows" | "inner" | "width", Int>>,
): void {
  f.for({ to: rows }, (row) => {
    const offset = f.let(i32.shl(i32.add(start, i32.mul(row, inner)), 2));
    const source = f.let(i32.add(from, offset)), target = f.let(i32.add(to, offset));
    eachVector(f, width, (at, lanes) => {
      const read = i32.add(source, at), write = i32.add(target, at);
      f.do(lanes === 4 ? v128.store(write, v128.load(read)) : i32.store(write, i32.load(read)));
    });
  });
}

interface Add {
  readonly args: Readonly<Record<typeof ADD_ARGS[number], Int>>;
  readonly row: Int;
  readonly into: Int;
  readonly width: Int;
}

/** One index for the whole slice. */
function addSlice(f: Func, kind: "f32" | "i32", { args, index, row, into, width }: Add & { index: Int }): void {
  const { updates, y, n, inner } = args;
  f.if(i32.lt_u(index, n), () => {
    const source = f.let(element(updates, row));
    const target = f.let(element(y, i32.add(into, i32.mul(index, inner))));
    eachVector(f, width, (at, lanes) => {
      const read = i32.add(source, at), write = f.let(i32.add(target, at));
      const add = kind === "f32" ? f32x4.add : i32x4.add;
      if (lanes === 4) f.do(v128.store(write, add(v128.load(write), v128.load(read))));
      else f.do(addOne(kind, write, read));
    });
  });
}

/** An index for every element. */
function addElements(f: Func, kind: "f32" | "i32", { args, row, into, width }: Add): void {
  const { indices, updates, y, n, inner } = args;
  f.for({ to: width }, (i) => {
    const place = f.let(i32.shl(i32.add(row, i), 2));
    const index = placeAt(f, i32.add(indices, place), n);
    f.if(i32.lt_u(index, n), () => {
      const write = f.let(element(y, i32.add(i32.add(into, i32.mul(index, inner)), i)));
      f.do(addOne(kind, write, i32.add(updates, place)));
    });
  });
}

function addOne(kind: "f32" | "i32", write: Int, read: Expr<"i32">): Expr<"none"> {
  return kind === "f32"
    ? f32.store(write, f32.add(f32.load(write), f32.load(read)))
    : i32.store(write, i32.add(i32.load(write), i32.load(read)));
}

const lowerAdd = (perElement: boolean) => (call: OpCall, { axis }: IndexAttrs): Call[] => {
  const { name, inputs: [x, indices, updates], outputs: [y] } = call;
  const { outer, n, inner } = split(x.shape, axis);
  const count = updates.shape[axis];
  if (outer * n * inner === 0) return [];
  const columns = Math.min(inner, 32), total = outer * Math.ceil(inner / columns);
  const args = { x: x.ref, indices: indices.ref, updates: updates.ref, y: y.ref, n, count, inner, columns };
  const cost = (n * VECTOR_COST + count * (perElement ? ELEMENT_COST : VECTOR_COST)) * columns;
  const kind = isFloat(x.dtype) ? "f32" : "i32";
  const kernel = perElement && inner === 1 ? scatterRowsKernel(kind) : indexAddKernel(kind, perElement);
  return [{ name, kernel, args, total, chunk: chunkOf(total, cost) }];
};

/** `y[indices[j]] += updates[j]` for every slice j. */
export const lowerIndexAdd = lowerAdd(false);
/** The same with an index for every element. */
export const lowerScatterAdd = lowerAdd(true);
