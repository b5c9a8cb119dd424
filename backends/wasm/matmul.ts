/**
 * Matrix products: which operand lies how, and so which loops compute it.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { MatmulAttrs } from "../../ops/matmul.ts";
import { epilogueOf, storeOnly, withSeparateEpilogue } from "./epilogue.ts";
import type { Call, Ref } from "./kernel.ts";
import { FEWEST_COLUMNS, lowerVectorProduct, MOST_VECTORS } from "./matvec.ts";
import type { OpCall } from "./op_call.ts";
import { packingOf, type Strides } from "./packing.ts";
import { callPacking, packedBytes, paysAhead } from "./packing_ahead.ts";
import { callProduct, depthBlockOf, type Epilogue, fillsTiles, type OperandB } from "./product.ts";
import { type BoundRegion, lowerCopy, lowerRegion } from "./region.ts";

/** A matrix, or a batch of them, with strides in elements. */
interface Matrix extends Strides {
  readonly ref: Ref;
  readonly batch: readonly number[];
}

/** A product with its batch axes aligned. */
interface Shapes {
  readonly batch: readonly number[];
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly a: Matrix;
  readonly b: Matrix;
}

/** Products with fewer rows than this read B in place, if its rows are contiguous: packing it would not pay. */
const FEW_ROWS = 16;
/** Products with fewer rows or columns than this are rows of dot products. */
const THIN = 4;

/** A whose columns are this many bytes apart is packed as well, if enough columns of B share the cost. */
const FAR = 1024, MANY_COLUMNS = 64;
/** Columns of B that pay for packing A where its rows are contiguous: a tile then reads four of its five rows at once. */
const COLUMNS_FOR_ROWS = 384;
/** B up to this many bytes is read in place as well: it stays in the first-level cache. */
const SMALL_B = 16384;

/** The calls that compute a matrix product and what is fused after it. */
export function lowerMatmul(call: OpCall, attrs: MatmulAttrs): Call[] {
  const shapes = shapesOf(call, attrs);
  const { batch, rows, columns, depth } = shapes;
  if (size(batch) * rows * columns === 0) return [];
  if (isVectorProduct(shapes)) return withSeparateEpilogue(call, (plain) => vectorProduct(plain, shapes));
  if (depth === 0 || rows < THIN || columns < THIN) {
    return withSeparateEpilogue(call, (plain) => lowerRegion(dotRegion(plain, shapes), call.temporary));
  }
  const epilogue = epilogueOf(call, size(batch) * rows, columns);
  if (epilogue === "separate") return withSeparateEpilogue(call, (plain) => tiled(plain, shapes, null));
  return tiled(call, shapes, epilogue);
}

function shapesOf({ inputs: [a, b], outputs: [out] }: OpCall, { transposeA, transposeB }: MatmulAttrs): Shapes {
  const batch = out.shape.slice(0, -2);
  const matrix = ({ shape, strides, ref }: OpCall["inputs"][number], transposed: boolean): Matrix => {
    const rank = shape.length, lead = batch.length - (rank - 2);
    const [row, column] = transposed ? [rank - 1, rank - 2] : [rank - 2, rank - 1];
    return {
      ref,
      batch: batch.map((_, axis) => axis < lead || shape[axis - lead] === 1 ? 0 : strides[axis - lead]),
      row: strides[row],
      column: strides[column],
    };
  };
  const [rows, columns] = out.shape.slice(-2);
  const depth = a.shape.at(transposeA ? -2 : -1)!;
  return foldBatch({ batch, rows, columns, depth, a: matrix(a, transposeA), b: matrix(b, transposeB) });
}

/** Batch axes of size 1 go; axes along which B stays the same and A goes on like its rows become rows. */
function foldBatch(shapes: Shapes): Shapes {
  const kept = shapes.batch.map((_, axis) => axis).filter((axis) => shapes.batch[axis] !== 1);
  const pick = (matrix: Matrix): Matrix => ({ ...matrix, batch: kept.map((axis) => matrix.batch[axis]) });
  let { rows } = shapes;
  const batch = kept.map((axis) => shapes.batch[axis]);
  let [a, b] = [pick(shapes.a), pick(shapes.b)];
  while (batch.length > 0 && b.batch.at(-1) === 0 && (rows === 1 || a.batch.at(-1) === rows * a.row)) {
    if (rows === 1) a = { ...a, row: a.batch.at(-1)! };
    rows *= batch.pop()!;
    [a, b] = [{ ...a, batch: a.batch.slice(0, -1) }, { ...b, batch: b.batch.slice(0, -1) }];
  }
  return { ...shapes, batch, rows, a, b };
}

function isVectorProduct({ batch, rows, columns, depth, b }: Shapes): boolean {
  return batch.length <= 1 && rows <= MOST_VECTORS && columns >= FEWEST_COLUMNS && depth > 0 && b.column === 1;
}

/** A few rows: every element of B is read once. */
function vectorProduct(call: OpCall, { batch, rows, columns, depth, a, b }: Shapes): Call[] {
  const { name, outputs: [out], temporary } = call;
  return lowerVectorProduct({
    name,
    rows,
    columns,
    depth,
    batch: size(batch),
    a: { ...a.ref, batch: 4 * (a.batch[0] ?? 0), row: 4 * a.row, column: 4 * a.column },
    b: { ...b.ref, batch: 4 * (b.batch[0] ?? 0), row: 4 * b.row },
    c: out.ref,
  }, temporary);
}

/** Every element as a reduction of its own: best for few rows or columns. */
function dotRegion({ name, outputs: [out] }: OpCall, { batch, rows, columns, depth, a, b }: Shapes): BoundRegion {
  const outer = [...batch, rows, columns];
  const body: Region["body"] = [
    { kind: "load", input: 0, strides: [...a.batch, a.row, 0, a.column], offset: 0, dtype: "f32" },
    { kind: "load", input: 1, strides: [...b.batch, 0, b.column, b.row], offset: 0, dtype: "f32" },
    { kind: "scalar", op: "mul", args: [0, 1], dtype: "f32" },
    { kind: "reduce", op: "sum", arg: 2, dtype: "f32" },
  ];
  const stores = [{ value: 3, output: 0, strides: [...stridesOf(outer), 0], offset: 0 }];
  const region = { outer, inner: [depth], body, stores };
  return { name, region, inputs: [a.ref, b.ref], outputs: [out.ref], outputTypes: ["f32"] };
}

/** Blocks and tiles. */
function tiled(call: OpCall, shapes: Shapes, epilogue: Epilogue | null): Call[] {
  const { batch, rows, columns, depth } = shapes;
  const { a, calls } = readableA(call, shapes);
  const aOrder = a.column === 1 ? "rows" : "columns";
  const { b, calls: packingCalls } = readableB(call, shapes);
  const product = callProduct({
    name: call.name,
    threads: call.threads,
    rows,
    columns,
    depth,
    batch,
    aBatch: a.batch.map((stride) => 4 * stride),
    bBatch: shapes.b.batch.map((stride) => 4 * stride),
    a: a.ref,
    aOrder,
    aStride: 4 * (aOrder === "rows" ? a.row : a.column),
    packA: aOrder === "columns" ? 4 * a.column >= FAR && columns >= MANY_COLUMNS : columns >= COLUMNS_FOR_ROWS,
    ...b,
    c: call.outputs[0].ref,
    epilogue: epilogue ?? (fillsTiles(columns) ? null : storeOnly(call, size(batch) * rows, columns)),
  });
  return [...calls, ...packingCalls, product];
}

/** B as the tiles can read it: in place, or packed by the product, or ahead of it. */
function readableB(
  call: OpCall,
  { b, batch, rows, columns, depth }: Shapes,
): { b: OperandB; calls: Call[] } {
  const inPlace = b.column === 1 && (rows < FEW_ROWS || 4 * depth * columns <= SMALL_B);
  const bStride = 4 * b.row;
  if (inPlace) return { b: { b: b.ref, bStride, packing: null, packingArgs: {} }, calls: [] };
  const packing = packingOf(b), packingArgs = { bColumn: 4 * b.column };
  if (batch.length > 0 || !paysAhead(rows, columns, depth)) {
    return { b: { b: b.ref, bStride, packing, packingArgs }, calls: [] };
  }
  const panels = call.temporary(packedBytes(depth, columns));
  const from = {
    name: call.name,
    depth,
    columns,
    depthBlock: depthBlockOf(depth),
    b: b.ref,
    bStride,
    packing,
    packingArgs,
  };
  const packed: OperandB = {
    b: panels,
    bStride: packedBytes(1, columns),
    packing: "ahead",
    packingArgs: {},
  };
  return { b: packed, calls: [callPacking(from, panels)] };
}

/** A as the tiles can read it: copied where neither its rows nor its columns are contiguous. */
function readableA(call: OpCall, { a, batch, rows, depth }: Shapes): { a: Matrix; calls: Call[] } {
  if (a.column === 1 || a.row === 1) return { a, calls: [] };
  const distinct = batch.map((n, axis) => a.batch[axis] === 0 ? 1 : n);
  const outer = [...distinct, rows, depth];
  const strides = stridesOf(outer);
  const ref = call.temporary(4 * size(outer));
  const from = { ref: a.ref, strides: [...a.batch, a.row, a.column] };
  const copied = { ref, batch: a.batch.map((stride, axis) => stride === 0 ? 0 : strides[axis]), row: depth, column: 1 };
  return { a: copied, calls: lowerCopy(call, { shape: outer, from, to: { ref, strides } }) };
}
