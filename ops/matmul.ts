/**
 * Products of vectors and matrices.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { broadcastShapes, type Shape, show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { mul } from "./elementwise.ts";
import { sumTo } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** Which operands to read with their last two axes swapped. */
export interface MatmulOptions {
  /** Read `a` as its transpose; false by default. */
  readonly transposeA?: boolean;
  /** Read `b` as its transpose; false by default. */
  readonly transposeB?: boolean;
}

/** Attributes of {@linkcode matmulOp}. */
export type MatmulAttrs = Required<MatmulOptions>;

/** Rows and columns as the product reads them. */
function matrixSizes(shape: Shape, transposed: boolean): [rows: number, columns: number] {
  const [rows, columns] = shape.slice(-2);
  return transposed ? [columns, rows] : [rows, columns];
}

/** The leading axes of both operands, broadcast. */
function batchShape(a: Shape, b: Shape): number[] {
  const [left, right] = [a.slice(0, -2), b.slice(0, -2)];
  for (let i = 1; i <= Math.min(left.length, right.length); i++) {
    const [m, n] = [left.at(-i), right.at(-i)];
    if (m !== n && m !== 1 && n !== 1) {
      throw new ShapeError(`Cannot multiply ${show(a)} by ${show(b)}: batch sizes ${m} and ${n} do not broadcast`);
    }
  }
  return broadcastShapes("multiply", left, right);
}

/** `matmul` as data. Operands have at least 2 axes; all but the last two broadcast. */
export const matmulOp: Op<2, MatmulAttrs> = {
  name: "matmul",

  infer([a, b], { transposeA, transposeB }) {
    requireSameDType("multiply", a, b);
    requireDType("matmul", a.dtype, FLOATS);
    if (a.shape.length < 2 || b.shape.length < 2) {
      throw new ShapeError(`Cannot multiply ${show(a.shape)} by ${show(b.shape)}: both need at least 2 axes`);
    }
    const [m, inner] = matrixSizes(a.shape, transposeA);
    const [rows, n] = matrixSizes(b.shape, transposeB);
    if (inner !== rows) {
      throw new ShapeError(
        `Cannot multiply ${show(a.shape)} by ${show(b.shape)}: inner sizes are ${inner} and ${rows}`,
      );
    }
    return { shape: [...batchShape(a.shape, b.shape), m, n], dtype: a.dtype };
  },

  // With Y = A·B:  dA = dY·Bᵀ  and  dB = Aᵀ·dY. With A read as its transpose the result is transposed in turn:
  // d(Aᵀ) = dY·Bᵀ, so dA = B·dYᵀ. Axes over which an operand was repeated are summed.
  vjp({ inputs: [a, b], grad: dy, attrs: { transposeA, transposeB }, wanted }) {
    const da = () =>
      transposeA
        ? matmul(b, dy, { transposeA: transposeB, transposeB: true })
        : matmul(dy, b, { transposeB: !transposeB });
    const db = () =>
      transposeB
        ? matmul(dy, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, dy, { transposeA: !transposeA });
    return [wanted[0] ? sumTo(da(), a.shape) : null, wanted[1] ? sumTo(db(), b.shape) : null];
  },
};

/**
 * Matrix product over the last two axes, leading axes broadcast: `[..., m, k]` times `[..., k, n]` is `[..., m, n]`.
 *
 * A vector on the left counts as one row, on the right as one column, and its axis is missing in the result (NumPy).
 *
 * @param a f32 or f16, with at least one axis.
 * @param b Same dtype, with at least one axis.
 * @throws {ShapeError} If the inner sizes differ, leading axes do not broadcast, or an operand is a scalar.
 * @throws {DTypeError} If the dtypes differ or are not floats.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const a = tn.tensor([[1, 2], [3, 4]]);
 * assertEquals(await tn.matmul(a, tn.tensor([1, 1])).array(), [3, 7]);
 * assertEquals(await tn.matmul(a, a, { transposeB: true }).array(), [[5, 11], [11, 25]]);
 * ```
 */
export function matmul(a: Tensor, b: Tensor, { transposeA = false, transposeB = false }: MatmulOptions = {}): Tensor {
  if (a.rank === 0 || b.rank === 0) {
    throw new ShapeError(`Cannot multiply ${show(a.shape)} by ${show(b.shape)}: a scalar has no axes, use mul`);
  }
  if (a.rank === 1 || b.rank === 1) return vectorProduct(a, b, { transposeA, transposeB });
  const attrs = { transposeA, transposeB };
  if (a.rank === 2 || b.rank > 2 || transposeA) return bind(matmulOp, [a, b], attrs);
  // Rows of all batches share one right operand: one tall product instead of many.
  matmulOp.infer([a, b], attrs);
  const [m, k] = a.shape.slice(-2);
  const batch = a.shape.slice(0, -2);
  const rows = batch.reduce((product, n) => product * n, m);
  using tall = reshape(a, [rows, k]);
  using product = bind(matmulOp, [tall, b], attrs);
  return reshape(product, [...batch, m, product.shape[1]]);
}

/** The product where an operand is a vector; transposition leaves a vector as it is. */
function vectorProduct(a: Tensor, b: Tensor, { transposeA, transposeB }: MatmulAttrs): Tensor {
  const inner = (shape: Shape, axis: -1 | -2) => shape.length === 1 ? shape[0] : shape.at(axis);
  const [left, right] = [inner(a.shape, transposeA ? -2 : -1), inner(b.shape, transposeB ? -1 : -2)];
  if (left !== right) {
    throw new ShapeError(`Cannot multiply ${show(a.shape)} by ${show(b.shape)}: inner sizes are ${left} and ${right}`);
  }
  return scope(() => {
    const rows = a.rank === 1 ? reshape(a, [1, a.size]) : a;
    const columns = b.rank === 1 ? reshape(b, [b.size, 1]) : b;
    const product = matmul(rows, columns, {
      transposeA: transposeA && a.rank > 1,
      transposeB: transposeB && b.rank > 1,
    });
    const batch = product.shape.slice(0, -2), [m, n] = product.shape.slice(-2);
    return reshape(product, [...batch, ...(a.rank === 1 ? [] : [m]), ...(b.rank === 1 ? [] : [n])]);
  });
}

/**
 * Inner product of two vectors; with more axes the same as {@linkcode matmul}, with a scalar the same as `mul`.
 *
 * @throws {ShapeError} If the inner sizes differ.
 * @throws {DTypeError} If the dtypes differ or are not floats.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.dot(tn.tensor([1, 2]), tn.tensor([3, 4])).item(), 11);
 * ```
 */
export function dot(a: Tensor, b: Tensor): Tensor {
  return a.rank === 0 || b.rank === 0 ? mul(a, b) : matmul(a, b);
}

/**
 * Every element of `a` times every element of `b`: flattened to `[a.size, b.size]`, as `numpy.outer`.
 *
 * @throws {DTypeError} If the dtypes differ or are bool.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.outer(tn.tensor([1, 2]), tn.tensor([3, 4])).array(), [[3, 4], [6, 8]]);
 * ```
 */
export function outer(a: Tensor, b: Tensor): Tensor {
  using column = reshape(a, [a.size, 1]);
  using row = reshape(b, [1, b.size]);
  return mul(column, row);
}
