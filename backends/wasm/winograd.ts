/**
 * Winograd's F(4x4, 3x3): sixteen outputs of a 3x3 convolution from 36 multiplications instead of 144.
 *
 * ```text
 *  Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d  6x6, a tile of the image; tiles overlap by 2
 *                                          g  3x3, a filter             Y  4x4 outputs
 * ```
 *
 * Along one axis it multiplies polynomials: it evaluates both at the points 0, ±a, ±b and ∞, multiplies, interpolates.
 * Each of the 36 products is summed over channels before `Aᵀ . A`, so it is a matrix product of filters and tiles. As `Y`
 * is linear in `g`, the filter's gradient is made of the same matrices:
 *
 * ```text
 *  dg = Gᵀ [ (A dY Aᵀ) ⊙ (Bᵀ d B) ] G      summed over the tiles
 * ```
 *
 * The usual points 0, ±1, ±2 have powers up to 8, which cost digits. With ±5/8 and ±3/2, which are as exact in binary,
 * the error is half of that: about three times that of plain sums, near 1e-6 of the output's root mean square.
 *
 * @see Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, https://arxiv.org/abs/1509.09308
 * @see Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution, https://arxiv.org/abs/1803.10986
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import type { V128 } from "./instructions.ts";
import { f32x4 } from "./simd.ts";

/** Outputs of a tile, taps of a filter and pixels of a tile, along one axis. */
export const OUTPUTS = 4, TAPS = 3, PIXELS = 6;
/** Products of one tile. */
export const POSITIONS = PIXELS * PIXELS;

/** One row or column of a tile: four tiles at once, one a lane. */
export type Line = readonly Local<"v128">[];
/** One of the matrices, applied to a line. */
export type Transform = (f: Func, line: Line) => Local<"v128">[];

const A = 5 / 8, B = 3 / 2;
const A2 = A ** 2, B2 = B ** 2;
/** What the Lagrange polynomials of 0, ±a and ±b are divided by. */
const AT_ZERO = 1 / (A2 * B2), AT_A = 1 / (2 * A2 * (A2 - B2)), AT_B = 1 / (2 * B2 * (B2 - A2));

const times = (x: V128, factor: number) => f32x4.mul(x, f32x4.const(factor));

/** `Bᵀ d`: coefficients of the polynomials that vanish at all points but one. */
export const imageTransform: Transform = (f, [d0, d1, d2, d3, d4, d5]) => {
  const a = f32x4.const(A), b = f32x4.const(B), a2 = f32x4.const(A2), b2 = f32x4.const(B2);
  const sum = f32x4.const(A2 + B2), product = f32x4.const(A2 * B2);
  const evenA = f.let(f.nmadd(d2, b2, d4)), oddA = f.let(f.nmadd(d1, b2, d3));
  const evenB = f.let(f.nmadd(d2, a2, d4)), oddB = f.let(f.nmadd(d1, a2, d3));
  return [
    f.madd(d0, product, f.nmadd(d2, sum, d4)),
    f.madd(oddA, a, evenA),
    f.nmadd(oddA, a, evenA),
    f.madd(oddB, b, evenB),
    f.nmadd(oddB, b, evenB),
    f.madd(d1, product, f.nmadd(d3, sum, d5)),
  ].map((row) => f.let(row));
};

/** `G g`: the filter's values at the points, each divided for its Lagrange polynomial. */
export const filterTransform: Transform = (f, [g0, g1, g2]) => {
  const at = (point: number, scale: number) => {
    const even = f.let(f.madd(g2, f32x4.const(scale * point ** 2), times(g0, scale)));
    const odd = f32x4.const(scale * point);
    return [f.madd(g1, odd, even), f.nmadd(g1, odd, even)];
  };
  return [times(g0, AT_ZERO), ...at(A, AT_A), ...at(B, AT_B), g2].map((row) => f.let(row));
};

/** `Aᵀ m`: the output's coefficients from its values at the points. */
export const outputTransform: Transform = (f, [m0, m1, m2, m3, m4, m5]) => {
  const sumA = f.let(f32x4.add(m1, m2)), differenceA = f.let(f32x4.sub(m1, m2));
  const sumB = f.let(f32x4.add(m3, m4)), differenceB = f.let(f32x4.sub(m3, m4));
  const power = (n: number) => {
    const [atA, atB] = n % 2 === 0 ? [sumA, sumB] : [differenceA, differenceB];
    return f.madd(atA, f32x4.const(A ** n), times(atB, B ** n));
  };
  const rows = [f32x4.add(m0, f32x4.add(sumA, sumB)), power(1), power(2), f32x4.add(m5, power(3))];
  return rows.map((row) => f.let(row));
};

/** `A dy`: the output gradient's values at the points. */
export const outputGradTransform: Transform = (f, [y0, y1, y2, y3]) => {
  const at = (point: number) => {
    const even = f.let(f.madd(y2, f32x4.const(point ** 2), y0));
    const odd = f.let(f.madd(y3, f32x4.const(point ** 3), times(y1, point)));
    return [f32x4.add(even, odd), f32x4.sub(even, odd)];
  };
  return [y0, ...at(A), ...at(B), y3].map((row) => f.let(row));
};

/** `Gᵀ m`: the filter's gradient from its values at the points. */
export const filterGradTransform: Transform = (f, [m0, m1, m2, m3, m4, m5]) => {
  const sumA = f.let(f32x4.add(m1, m2)), differenceA = f.let(f32x4.sub(m1, m2));
  const sumB = f.let(f32x4.add(m3, m4)), differenceB = f.let(f32x4.sub(m3, m4));
  const tap = (n: number) => {
    const [atA, atB] = n % 2 === 0 ? [sumA, sumB] : [differenceA, differenceB];
    return f.madd(atA, f32x4.const(AT_A * A ** n), times(atB, AT_B * B ** n));
  };
  const rows = [f.madd(m0, f32x4.const(AT_ZERO), tap(0)), tap(1), f32x4.add(m5, tap(2))];
  return rows.map((row) => f.let(row));
};

/** `M x Mᵀ` of a small square held in variables, by rows: columns first, then rows. */
export function both(f: Func, transform: Transform, square: readonly Line[]): Local<"v128">[][] {
  const columns = square[0].map((_, column) => transform(f, square.map((row) => row[column])));
  return columns[0].map((_, row) => transform(f, columns.map((column) => column[row])));
}
