/**
 * Eigenvalues and eigenvectors of symmetric matrices, by cyclic Jacobi rotations (Golub and Van Loan, "Matrix
 * Computations", 4th edition, section 8.5). Matrices are `[n, n]` in row-major order.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";

/** `A = V·diag(values)·Vᵀ` */
interface Eigen {
  readonly values: Float64Array;
  /** V, transposed: each row is an eigenvector. */
  readonly vectors: Float64Array;
}

/** No symmetric matrix takes more than about ten. */
const MOST_SWEEPS = 60;

function sideOf(matrix: Float64Array): number {
  const n = Math.sqrt(matrix.length);
  if (!Number.isInteger(n)) throw new ArgumentError(`Cannot use ${matrix.length} elements as a square matrix`);
  return n;
}

/** Rows `p` and `q` of a matrix as `c·p - s·q` and `s·p + c·q`. */
function rotateRows(matrix: Float64Array, p: number, q: number, [c, s]: readonly [number, number]): void {
  const n = Math.sqrt(matrix.length);
  for (let k = 0, i = p * n, j = q * n; k < n; k++, i++, j++) {
    const a = matrix[i], b = matrix[j];
    matrix[i] = c * a - s * b;
    matrix[j] = s * a + c * b;
  }
}

/** The rotation `[c, s]` of the axes p and q that makes the element between them 0. */
function rotation(app: number, aqq: number, apq: number): readonly [number, number] {
  const tau = (aqq - app) / (2 * apq);
  const t = (tau >= 0 ? 1 : -1) / (Math.abs(tau) + Math.hypot(1, tau));
  const c = 1 / Math.hypot(1, t);
  return [c, t * c];
}

function decompose(matrix: Float64Array): Eigen {
  const n = sideOf(matrix), a = matrix.slice(), vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  const norm = Math.sqrt(a.reduce((sum, value) => sum + value * value, 0));
  if (!Number.isFinite(norm)) throw new ArgumentError("Cannot find the eigenvalues of a matrix that is not finite");
  const enough = norm * Number.EPSILON / n; // smaller elements do not change an eigenvalue any more
  for (let sweep = 0, rotated = true; rotated; sweep++) {
    if (sweep === MOST_SWEEPS) throw new ArgumentError("Cannot find the eigenvalues of a matrix: they do not settle");
    rotated = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(a[p * n + q]) <= enough) continue;
        rotated = true;
        rotateBoth(a, p, q, vectors);
      }
    }
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]), vectors };
}

/** `JᵀAJ` and `JᵀVᵀ` for the rotation J that makes `A[p, q]` 0. */
function rotateBoth(a: Float64Array, p: number, q: number, vectors: Float64Array): void {
  const n = Math.sqrt(a.length), app = a[p * n + p], aqq = a[q * n + q], apq = a[p * n + q];
  const [c, s] = rotation(app, aqq, apq);
  rotateRows(a, p, q, [c, s]);
  rotateRows(vectors, p, q, [c, s]);
  // the columns are the rows of a symmetric matrix, save where both meet
  for (let k = 0; k < n; k++) {
    a[k * n + p] = a[p * n + k];
    a[k * n + q] = a[q * n + k];
  }
  const t = s / c;
  a[p * n + p] = app - t * apq;
  a[q * n + q] = aqq + t * apq;
  a[p * n + q] = a[q * n + p] = 0;
}

/** The eigenvalues of a symmetric matrix, in no order. */
export function eigenvalues(matrix: Float64Array): Float64Array {
  return decompose(matrix).values;
}

/** A symmetric matrix with other eigenvalues, `V·diag(f(values))·Vᵀ`: its square root, with the root as `f`. */
export function mapEigenvalues(matrix: Float64Array, f: (value: number) => number): Float64Array {
  const { values, vectors } = decompose(matrix), n = values.length;
  const scaled = vectors.map((element, i) => element * f(values[Math.floor(i / n)])); // diag(f)·Vᵀ
  return multiply(transpose(vectors), scaled);
}

function transpose(matrix: Float64Array): Float64Array {
  const n = sideOf(matrix);
  return matrix.map((_, i) => matrix[(i % n) * n + Math.floor(i / n)]);
}

/** The product of two square matrices. */
export function multiply(a: Float64Array, b: Float64Array): Float64Array {
  const n = sideOf(a), product = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const factor = a[i * n + k];
      for (let j = 0; j < n; j++) product[i * n + j] += factor * b[k * n + j];
    }
  }
  return product;
}
