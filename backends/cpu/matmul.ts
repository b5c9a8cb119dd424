/**
 * Matrix multiplication: rows of `b`, scaled and added up in double precision.
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

/** The matrix at `start` as rows one after the other, whichever way it is stored. */
function asRows(from: Elements, start: number, rows: number, columns: number, transposed: boolean): Float64Array {
  const [down, right] = transposed ? [1, rows] : [columns, 1];
  const matrix = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) matrix[i * columns + j] = from[start + i * down + j * right];
  }
  return matrix;
}

const multiply: Kernel<Buffer, MatmulAttrs> = ({ inputs: [a, b], outputs: [y], attrs }) => {
  const [m, n] = y.shape.slice(-2);
  const k = a.shape.at(attrs.transposeA ? -2 : -1)!;
  const left = elements(a), right = elements(b), to = elements(y);
  const lefts = matrices(a.shape, y.shape), rights = matrices(b.shape, y.shape);
  const row = new Float64Array(n);
  for (let batch = 0; batch < lefts.length; batch++) {
    const A = asRows(left, lefts[batch], m, k, attrs.transposeA);
    const B = asRows(right, rights[batch], k, n, attrs.transposeB);
    for (let i = 0; i < m; i++) {
      row.fill(0);
      for (let p = 0; p < k; p++) {
        const scale = A[i * k + p];
        for (let j = 0; j < n; j++) row[j] += scale * B[p * n + j];
      }
      to.set(row, (batch * m + i) * n);
    }
  }
};

/** The kernel of matrix multiplication. */
export const matmul: KernelTable<Buffer> = { matmul: multiply };
