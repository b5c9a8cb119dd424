/**
 * Numbers that every library is given alike: hashes of the index. `libraries/pytorch.py` holds the same lines.
 *
 * @module
 */

/** A 32-bit hash of element `i` of the array that `seed` stands for. */
function hash(i: number, seed: number): number {
  let h = (i + Math.imul(seed, 0x9e3779b9)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** `count` numbers spread evenly over `[-scale, scale)`. */
export function uniform(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count); // millions of them: no callbacks
  for (let i = 0; i < count; i++) values[i] = (hash(i, seed) / 2 ** 31 - 1) * scale;
  return values;
}

/** `count` whole numbers from 0 to `below`, that one excluded. */
export function integers(count: number, seed: number, below: number): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: count }, (_, i) => hash(i, seed) % below);
}

/** At most 499 of `values`, evenly spaced: what libraries compare. */
export function sample(values: ArrayLike<number>): number[] {
  const step = Math.max(1, Math.ceil(values.length / 499));
  return Array.from({ length: Math.ceil(values.length / step) }, (_, i) => values[i * step]);
}
