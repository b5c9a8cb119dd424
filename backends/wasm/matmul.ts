/**
 * Matrix products: which operand lies how, and so which loops compute it.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { Func, Local } from "./assembler.ts";
import { epilogueOf, storeOnly, withSeparateEpilogue } from "./epilogue.ts";
import { i32, type V128 } from "./instructions.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./lowering.ts";
import { callProduct, type Epilogue, fillsTiles, type Packing, type Piece } from "./product.ts";
import { type BoundRegion, lowerRegion } from "./region.ts";
import { i8x16, v128 } from "./simd.ts";
import { TILE_COLUMNS } from "./tile.ts";

/** Attributes of the op. */
export interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** A matrix, or a batch of them, with strides in elements. */
interface Matrix {
  readonly ref: Ref;
  readonly batch: readonly number[];
  readonly row: number;
  readonly column: number;
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
/** B up to this many bytes is read in place as well: it stays in the first-level cache. */
const SMALL_B = 16384;

/** The calls that compute a matrix product and what is fused after it. */
export function lowerMatmul(call: OpCall, attrs: MatmulAttrs): Call[] {
  const shapes = shapesOf(call, attrs);
  const { batch, rows, columns, depth } = shapes;
  if (size(batch) * rows * columns === 0) return [];
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
  const { batch, rows, columns, depth, b } = shapes;
  const { a, calls } = readableA(call, shapes);
  const aOrder = a.column === 1 ? "rows" : "columns";
  const inPlace = b.column === 1 && (rows < FEW_ROWS || 4 * depth * columns <= SMALL_B);
  const product = callProduct({
    name: call.name,
    rows,
    columns,
    depth,
    batch,
    aBatch: a.batch.map((stride) => 4 * stride),
    bBatch: b.batch.map((stride) => 4 * stride),
    a: a.ref,
    aOrder,
    aStride: 4 * (aOrder === "rows" ? a.row : a.column),
    packA: aOrder === "columns" && 4 * a.column >= FAR && columns >= MANY_COLUMNS,
    b: b.ref,
    packing: inPlace ? null : packingOf(b),
    bStride: 4 * b.row,
    packingArgs: inPlace ? {} : { bColumn: 4 * b.column },
    c: call.outputs[0].ref,
    epilogue: epilogue ?? (fillsTiles(columns) ? null : storeOnly(call, size(batch) * rows, columns)),
  });
  return [...calls, product];
}

/** A as the tiles can read it: copied where neither its rows nor its columns are contiguous. */
function readableA(call: OpCall, { a, batch, rows, depth }: Shapes): { a: Matrix; calls: Call[] } {
  if (a.column === 1 || a.row === 1) return { a, calls: [] };
  const distinct = batch.map((n, axis) => a.batch[axis] === 0 ? 1 : n);
  const outer = [...distinct, rows, depth];
  const strides = stridesOf(outer);
  const ref = call.temporary(4 * size(outer));
  const region: Region = {
    outer,
    inner: [],
    body: [{ kind: "load", input: 0, strides: [...a.batch, a.row, a.column], offset: 0, dtype: "f32" }],
    stores: [{ value: 0, output: 0, strides, offset: 0 }],
  };
  const bound: BoundRegion = { name: call.name, region, inputs: [a.ref], outputs: [ref], outputTypes: ["f32"] };
  const copied = { ref, batch: a.batch.map((stride, axis) => stride === 0 ? 0 : strides[axis]), row: depth, column: 1 };
  return { a: copied, calls: lowerRegion(bound, call.temporary) };
}

// Packing.

/** The packing for a matrix B with these strides. */
export function packingOf(b: Pick<Matrix, "row" | "column">): Packing {
  if (b.column === 1) return { key: "rows", args: [], write: packRows };
  if (b.row === 1) return { key: "columns", args: ["bColumn"], write: packColumns };
  return { key: "strided", args: ["bColumn"], write: packStrided };
}

type Args = Readonly<Record<string, Local<"i32">>>;

/**
 * Two panels side by side, so that every cache line of B is read once; what is read past the last column is never used.
 */
export function packRows(f: Func, { b, bStride }: Args, { depthBegin, depth, columnBegin, columns, to }: Piece): void {
  const PAIR = 2 * TILE_COLUMNS;
  const first = f.let(i32.add(i32.add(b, i32.mul(depthBegin, bStride)), i32.shl(columnBegin, 2)));
  const panelBytes = f.let(i32.mul(depth, 4 * TILE_COLUMNS));
  const left = f.let(to);
  const pack = (panels: 1 | 2) => {
    const from = f.let(first), near = f.let(left), far = f.let(i32.add(left, panelBytes));
    f.for({ to: depth }, () => {
      for (let vector = 0; vector < 2 * panels; vector++) {
        f.do(v128.store(vector < 2 ? near : far, v128.load(from, 16 * vector), 16 * (vector % 2)));
      }
      f.increase(from, bStride);
      f.increase(near, 4 * TILE_COLUMNS);
      f.increase(far, 4 * TILE_COLUMNS);
    });
  };
  f.for({ to: columns, step: PAIR }, (j) => {
    f.if(i32.gt_u(i32.sub(columns, j), TILE_COLUMNS), () => pack(2), () => pack(1));
    f.increase(first, 4 * PAIR);
    f.increase(left, i32.shl(panelBytes, 1));
  });
}

/** Addresses of a panel's eight columns at the first k; past the last column the last one again. */
function panelColumns(f: Func, { b, bStride, bColumn }: Args, piece: Piece, j: Local<"i32">): Local<"i32">[] {
  const first = f.let(i32.add(b, i32.mul(piece.depthBegin, bStride)));
  const last = f.let(i32.sub(piece.columns, 1));
  return Array.from({ length: TILE_COLUMNS }, (_, i) => {
    const column = i32.add(piece.columnBegin, i32.min_u(f.let(i32.add(j, i)), last));
    return f.let(i32.add(first, i32.mul(column, bColumn)));
  });
}

/** Four k of four columns at a time, transposed in registers. What is past the last k is overwritten or never used. */
export function packColumns(f: Func, args: Args, piece: Piece): void {
  const target = f.let(piece.to);
  f.for({ to: piece.columns, step: TILE_COLUMNS }, (j) => {
    const columns = panelColumns(f, args, piece, j);
    const address = f.let(target);
    f.for({ to: piece.depth, step: 4 }, () => {
      for (const half of [0, 1]) {
        const four = columns.slice(4 * half, 4 * half + 4).map((column) => f.let(v128.load(column)));
        transpose(f, four).forEach((row, k) => f.do(v128.store(address, row, 4 * TILE_COLUMNS * k + 16 * half)));
      }
      for (const column of columns) f.increase(column, 16);
      f.increase(address, 16 * TILE_COLUMNS);
    });
    f.increase(target, i32.mul(piece.depth, 4 * TILE_COLUMNS));
  });
}

/** Four vectors of four, rows and columns exchanged. */
export function transpose(f: Func, [a, b, c, d]: readonly Local<"v128">[]): V128[] {
  const low = (x: V128, y: V128) => f.let(i8x16.shuffle32(x, y, [0, 4, 1, 5]));
  const high = (x: V128, y: V128) => f.let(i8x16.shuffle32(x, y, [2, 6, 3, 7]));
  const [ab, cd, abHigh, cdHigh] = [low(a, b), low(c, d), high(a, b), high(c, d)];
  return [
    i8x16.shuffle32(ab, cd, [0, 1, 4, 5]),
    i8x16.shuffle32(ab, cd, [2, 3, 6, 7]),
    i8x16.shuffle32(abHigh, cdHigh, [0, 1, 4, 5]),
    i8x16.shuffle32(abHigh, cdHigh, [2, 3, 6, 7]),
  ];
}

/** One element at a time. */
export function packStrided(f: Func, args: Args, piece: Piece): void {
  const target = f.let(piece.to);
  f.for({ to: piece.columns, step: TILE_COLUMNS }, (j) => {
    const columns = panelColumns(f, args, piece, j);
    f.for({ to: piece.depth }, () => {
      columns.forEach((column, i) => {
        f.do(i32.store(target, i32.load(column), 4 * i));
        f.increase(column, args.bStride);
      });
      f.increase(target, 4 * TILE_COLUMNS);
    });
  });
}
