/**
 * Random bits by Threefry-2x32, as loops over integers: what the composites of `ops/threefry.ts` spell out in ops.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { PARITY, type RandomBitsAttrs, ROTATIONS, type SplitKeyAttrs } from "../../ops/threefry.ts";
import { type Buffer, type Elements, elements } from "./memory.ts";

/** The two random words of `key` at the counter `(0, counter)`. */
function threefry([k0, k1]: Elements, counter: number): [number, number] {
  const schedule = [k0, k1, k0 ^ k1 ^ PARITY];
  let x = k0 | 0, y = (counter + k1) | 0;
  for (let group = 0; group < 5; group++) {
    for (const bits of ROTATIONS[group % 2]) {
      x = (x + y) | 0;
      y = ((y << bits) | (y >>> (32 - bits))) ^ x;
    }
    x = (x + schedule[(group + 1) % 3]) | 0;
    y = (y + schedule[(group + 2) % 3] + group + 1) | 0;
  }
  return [x, y];
}

const randomBits: Kernel<Buffer, RandomBitsAttrs> = ({ inputs: [key], outputs: [bits] }) => {
  const words = elements(key), to = elements(bits);
  for (let i = 0; i < to.length; i++) {
    const [x, y] = threefry(words, i);
    to[i] = x ^ y;
  }
};

const splitKey: Kernel<Buffer, SplitKeyAttrs> = ({ inputs: [key], outputs: [keys], attrs: { count } }) => {
  const words = elements(key), to = elements(keys);
  for (let i = 0; i < count; i++) to.set(threefry(words, i), 2 * i);
};

/** Kernels of random numbers. */
export const random: KernelTable<Buffer> = { randomBits, splitKey };
