/**
 * Matrix multiplication: rows of `b`, scaled and added up in double precision, four at a time.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { broadcastStrides, type Shape, size } from "../../core/shape.ts";
import type { MatmulAttrs } from "../../ops/matmul.ts";
import { type Buffer, type Elements, elements, places } from "./memory.ts";

/** Where each matrix of a batch begins, for every matrix of the output. */
function matrices(shape: Shape, output: Shape): Int32Array {
  const area = size(shape.slice(-2));
  const batch = output.slice(0, -2);
  return places(batch, broadcastStrides(shape.slice(0, -2), batch).map((stride) => stride * area));
}

/** Copies a matrix, whichever way it is stored, into rows that begin `width` elements apart. */
function copyRows(to: Float64Array, width: number, from: Elements, [rows, columns]: Shape, transposed: boolean): void {
  const [down, right] = transposed ? [1, rows] : [columns, 1];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) to[i * width + j] = from[i * down + j * right];
  }
}

/** `row = a · B`, where `B` has a row for every element of `a`, as many as a multiple of four. */
function multiplyRow(row: Float64Array, a: Float64Array, B: Float64Array): void {
  const n = row.length;
  row.fill(0);
  for (let p = 0; p < a.length; p += 4) {
    const a0 = a[p], a1 = a[p + 1], a2 = a[p + 2], a3 = a[p + 3];
    const b0 = p * n, b1 = b0 + n, b2 = b1 + n, b3 = b2 + n;
    for (let j = 0; j < n; j++) row[j] += a0 * B[b0 + j] + a1 * B[b1 + j] + a2 * B[b2 + j] + a3 * B[b3 + j];
  }
}

const multiply: Kernel<Buffer, MatmulAttrs> = ({ inputs: [a, b], outputs: [y], attrs }) => {
  const [m, n] = y.shape.slice(-2);
  const k = a.shape.at(attrs.transposeA ? -2 : -1)!;
  const depth = Math.ceil(k / 4) * 4; // the rest of A's columns and B's rows stays 0
  const A = new Float64Array(m * depth), B = new Float64Array(depth * n), row = new Float64Array(n);
  const left = elements(a), right = elements(b), to = elements(y);
  const lefts = matrices(a.shape, y.shape), rights = matrices(b.shape, y.shape);
  for (let batch = 0; batch < lefts.length; batch++) {
    copyRows(A, depth, left.subarray(lefts[batch]), [m, k], attrs.transposeA);
    copyRows(B, n, right.subarray(rights[batch]), [k, n], attrs.transposeB);
    for (let i = 0; i < m; i++) {
      multiplyRow(row, A.subarray(i * depth, (i + 1) * depth), B);
      to.set(row, (batch * m + i) * n);
    }
  }
};

/** The kernel of matrix multiplication. */
export const matmul: KernelTable<Buffer> = { matmul: multiply };
