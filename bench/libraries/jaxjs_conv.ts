/**
 * Convolutions for jax-js as products, since the gradients of its own take minutes where these take seconds. Images lie as
 * `[C, B, H, W]`, so that a convolution is one product `[O, I·kh·kw]·[I·kh·kw, B·h·w]`; filters are OIHW.
 *
 * @module
 */
import { type Array as JaxArray, numpy as np } from "npm:@jax-js/jax@0.1.25";

type Pair = [number, number];

/** `[B, C, H, W]` -> `[C, B, H, W]`, or back. */
export function channelsFirst(x: JaxArray): JaxArray {
  return x.transpose([1, 0, 2, 3]);
}

/** The product of a filter with what it sees at each tap, kh·kw times `[I, B, h, w]`. */
function product(taps: JaxArray[], w: JaxArray): JaxArray {
  const [, B, height, width] = taps[0].shape, O = w.shape[0];
  const seen = np.stack(taps, 1).reshape([-1, B * height * width]); // [I·kh·kw, B·h·w]
  return np.matmul(w.reshape([O, -1]), seen).reshape([O, B, height, width]);
}

/** A convolution without padding. */
export function conv(x: JaxArray, w: JaxArray): JaxArray {
  const [, , H, W] = x.shape, [, , kh, kw] = w.shape, taps: JaxArray[] = [];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) taps.push(x.ref.slice([], [], [i, H - kh + 1 + i], [j, W - kw + 1 + j]));
  }
  x.dispose();
  return product(taps, w);
}

/** A convolution by a filter of 4 at every second place, padding 1: half as many rows and columns. */
export function halvingConv(x: JaxArray, w: JaxArray): JaxArray {
  const [C, B, H, W] = x.shape, height = H / 2, width = W / 2, taps: JaxArray[] = [];
  const padded = np.pad(x, [[0, 0], [0, 0], [1, 1], [1, 1]]);
  const pairs = padded.reshape([C, B, height + 1, 2, width + 1, 2]);
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 4; j++) {
      const rows = [i >> 1, (i >> 1) + height] as Pair,
        columns = [j >> 1, (j >> 1) + width] as Pair;
      taps.push(pairs.ref.slice([], [], rows, i % 2, columns, j % 2));
    }
  }
  pairs.dispose();
  return product(taps, w);
}

/** The transposed convolution of {@linkcode halvingConv}, its filter `[I, O, 4, 4]`: twice as many rows and columns. */
export function doublingConv(x: JaxArray, w: JaxArray): JaxArray {
  const [I, B, H, W] = x.shape, O = w.shape[1];
  const shares = np.matmul(w.reshape([I, O * 16]).transpose(), x.reshape([I, B * H * W])); // [O·16, B·H·W]
  const rows = interleave(shares.reshape([O, 4, 4, B, H, W]), 4); // [O, 4, B, H, 2, W]
  const columns = interleave(rows.reshape([O, 4, B, 2 * H, W]), 4); // [O, B, 2·H, W, 2]
  return columns.reshape([O, B, 2 * H, 2 * W]);
}

/** Even places get the taps 1 of this place and 3 of the last, odd ones 2 of this and 0 of the next; taps are axis 1. */
function interleave(shares: JaxArray, axis: number): JaxArray {
  const [next, even, odd, last] = [0, 1, 2, 3].map((tap) => shares.ref.slice([], tap));
  shares.dispose();
  const along = <T>(there: T, elsewhere: T) => even.shape.map((_, i) => i === axis - 1 ? there : elsewhere);
  const size = even.shape[axis - 1];
  const fromLast = np.pad(last.slice(...along<Pair | []>([0, size - 1], [])), along<Pair>([1, 0], [0, 0]));
  const fromNext = np.pad(next.slice(...along<Pair | []>([1, size], [])), along<Pair>([0, 1], [0, 0]));
  return np.stack([even.add(fromLast), odd.add(fromNext)], axis);
}
