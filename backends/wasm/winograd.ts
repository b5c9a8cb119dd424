/**
 * Winograd's F(4x4, 3x3): sixteen outputs of a 3x3 convolution from 36 multiplications instead of 144; and F(4x4, 2x2),
 * from 25 instead of 64.
 *
 * ```text
 *  Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d  6x6 or 5x5, a tile of the image; tiles overlap by 2 or 1
 *                                          g  3x3 or 2x2, a filter             Y  4x4 outputs
 * ```
 *
 * Along one axis it multiplies polynomials: it evaluates both at some points and ∞, multiplies, interpolates. Each of
 * the products is summed over channels before `Aᵀ . A`, so it is a matrix product of filters and tiles. As `Y` is linear
 * in `g`, the filter's gradient is made of the same matrices:
 *
 * ```text
 *  dg = Gᵀ [ (A dY Aᵀ) ⊙ (Bᵀ d B) ] G      summed over the tiles
 * ```
 *
 * The usual points 0, ±1, ±2 have powers up to 8, which cost digits. With ±5/8 and ±3/2, which are as exact in binary,
 * the error is half of that: about three times that of plain sums, near 1e-6 of the output's root mean square. For 2x2
 * filters, ±3/4 and 7/4 do as well.
 *
 * @see Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, https://arxiv.org/abs/1509.09308
 * @see Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution, https://arxiv.org/abs/1803.10986
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import type { V128 } from "./instructions.ts";
import { f32x4 } from "./simd.ts";

/** Outputs of a tile along one axis, and the most pixels. */
export const OUTPUTS = 4, MOST_PIXELS = 6;

/** One row or column of a tile: four tiles at once, one a lane. */
export type Line = readonly Local<"v128">[];
/** One of the matrices, applied to a line. */
export type Transform = (f: Func, line: Line) => Local<"v128">[];

/** The algorithm for filters of one size. */
export interface Scheme {
  /** Taps of a filter and pixels of a tile, along one axis. */
  readonly taps: number;
  readonly pixels: number;
  /** Products of one tile. */
  readonly positions: number;
  /** `Bᵀ d`: coefficients of the polynomials that vanish at all points but one. */
  readonly image: Transform;
  /** `G g`: the filter's values at the points, each divided for its Lagrange polynomial. */
  readonly filter: Transform;
  /** `Aᵀ m`: the output's coefficients from its values at the points. */
  readonly output: Transform;
  /** `A dy`: the output gradient's values at the points. */
  readonly outputGrad: Transform;
  /** `Gᵀ m`: the filter's gradient from its values at the points. */
  readonly filterGrad: Transform;
}

/** Points besides 0 and ∞, in order: some with their negatives, then some without. */
interface Points {
  readonly paired: readonly number[];
  readonly single: readonly number[];
}

/** For filters of 3x3. */
export const THREE: Scheme = scheme(3, { paired: [5 / 8, 3 / 2], single: [] });
/** For filters of 2x2. */
export const TWO: Scheme = scheme(2, { paired: [3 / 4], single: [7 / 4] });

function scheme(taps: number, points: Points): Scheme {
  const { paired, single } = points;
  const all = [0, ...paired.flatMap((p) => [p, -p]), ...single];
  const scales = all.map((p) => 1 / all.reduce((product, q) => q === p ? product : product * (p - q), 1));
  const pixels = all.length + 1;
  // by rows: a row for each point, and one for ∞
  const filter = [...all.map((p, i) => powers(p, taps).map((power) => power * scales[i])), powers(0, taps).reverse()];
  return {
    taps,
    pixels,
    positions: pixels * pixels,
    image: imageTransform(points, all),
    filter: (f, line) => filter.map((row) => sum(f, row, line)),
    output: outputTransform(points),
    outputGrad: outputGradTransform(points),
    filterGrad: (f, line) => Array.from({ length: taps }, (_, tap) => sum(f, filter.map((row) => row[tap]), line)),
  };
}

function powers(x: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => x ** n);
}

/** Coefficients of the polynomial with these roots, from that of 1. */
function withRoots(roots: readonly number[]): number[] {
  return roots.reduce((p, root) => [0, ...p].map((above, n) => above - root * (p[n] ?? 0)), [1]);
}

/** The sum of a line's vectors, each times its factor. */
function sum(f: Func, factors: readonly number[], line: Line): Local<"v128"> {
  const used = line.map((x, i) => ({ x, factor: factors[i] ?? 0 })).filter(({ factor }) => factor !== 0);
  const [first, ...rest] = used.sort((a, b) => Number(b.factor === 1) - Number(a.factor === 1));
  const start: V128 = first.factor === 1 ? first.x : f32x4.mul(first.x, f32x4.const(first.factor));
  return f.let(rest.reduce<V128>((total, { x, factor }) => {
    if (factor === 1) return f32x4.add(x, total);
    return factor < 0 ? f.nmadd(x, f32x4.const(-factor), total) : f.madd(x, f32x4.const(factor), total);
  }, start));
}

function imageTransform({ paired, single }: Points, all: readonly number[]): Transform {
  return (f, line) => {
    const without = (...points: number[]) => withRoots(all.filter((p) => !points.includes(p)));
    return [
      sum(f, without(0), line),
      ...paired.flatMap((p) => {
        const rest = without(p, -p); // times x + p and x - p
        const even = sum(f, [0, ...rest], line), odd = sum(f, rest, line);
        return [f.let(f.madd(odd, f32x4.const(p), even)), f.let(f.nmadd(odd, f32x4.const(p), even))];
      }),
      ...single.map((p) => sum(f, without(p), line)),
      sum(f, without(), line),
    ];
  };
}

function outputTransform({ paired, single }: Points): Transform {
  return (f, [atZero, ...line]) => {
    const pairs = paired.map((_, i) => line.slice(2 * i, 2 * i + 2));
    const sums = pairs.map(([plus, minus]) => f.let(f32x4.add(plus, minus)));
    const differences = pairs.map(([plus, minus]) => f.let(f32x4.sub(plus, minus)));
    const rest = [...line.slice(2 * pairs.length), atZero]; // the single points, infinity, 0
    return Array.from({ length: OUTPUTS }, (_, n) => {
      const factors = [...paired, ...single].map((p) => p ** n);
      return sum(f, [...factors, n === OUTPUTS - 1 ? 1 : 0, 0 ** n], [...(n % 2 === 0 ? sums : differences), ...rest]);
    });
  };
}

function outputGradTransform({ paired, single }: Points): Transform {
  return (f, line) => [
    line[0],
    ...paired.flatMap((p) => {
      const part = (parity: number) => sum(f, powers(p, OUTPUTS).map((x, n) => n % 2 === parity ? x : 0), line);
      const even = part(0), odd = part(1);
      return [f.let(f32x4.add(even, odd)), f.let(f32x4.sub(even, odd))];
    }),
    ...single.map((p) => sum(f, powers(p, OUTPUTS), line)),
    line[OUTPUTS - 1],
  ];
}

/** `M x Mᵀ` of a small square held in variables, by rows: columns first, then rows. */
export function both(f: Func, transform: Transform, square: readonly Line[]): Local<"v128">[][] {
  const columns = square[0].map((_, column) => transform(f, square.map((row) => row[column])));
  return columns[0].map((_, row) => transform(f, columns.map((column) => column[row])));
}
