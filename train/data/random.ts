/**
 * Random numbers on the host, for what happens to data before it becomes tensors: order and augmentation.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import type { Key } from "../../ops/random.ts";
import { PARITY, ROTATIONS } from "../../ops/threefry.ts";

/** A stream of random numbers: each call gives the next one. */
export interface Random {
  /** A number from 0 (included) to 1 (not included). */
  uniform(): number;
  /** A whole number from 0 (included) to `limit` (not included). */
  integer(limit: number): number;
  /** A normally distributed number. */
  normal(): number;
  /** The numbers from 0 to `length - 1` in random order. */
  permutation(length: number): Int32Array;
}

/** The two words of a key. */
type Words = readonly [number, number];

/** The two random words of a key at a counter of two words; see `ops/threefry.ts`. */
function threefry([k0, k1]: Words, [c0, c1]: Words): Words {
  const schedule = [k0, k1, k0 ^ k1 ^ PARITY];
  let x = (c0 + k0) | 0, y = (c1 + k1) | 0;
  for (let group = 0; group < 5; group++) {
    for (const bits of ROTATIONS[group % 2]) {
      x = (x + y) | 0;
      y = ((y << bits) | (y >>> (32 - bits))) ^ x;
    }
    x = (x + schedule[(group + 1) % 3]) | 0;
    y = (y + schedule[(group + 2) % 3] + group + 1) | 0;
  }
  return [x >>> 0, y >>> 0];
}

/** The stream of a key: the words of its counters, one after the other. */
function stream(key: Words): Random {
  let counter = 0, second: number | undefined, spare: number | undefined;
  const word = () => {
    if (second !== undefined) {
      const next = second;
      second = undefined;
      return next;
    }
    const [first, other] = threefry(key, [0, counter++]);
    second = other;
    return first;
  };
  const uniform = () => word() / 2 ** 32;
  const integer = (limit: number) => Math.floor(uniform() * limit);
  return {
    uniform,
    integer,
    // Box and Muller 1958: two normal numbers from two uniform ones
    normal() {
      if (spare !== undefined) {
        const next = spare;
        spare = undefined;
        return next;
      }
      const length = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
      spare = length * Math.sin(angle);
      return length * Math.cos(angle);
    },
    // Fisher and Yates
    permutation(length) {
      const order = Int32Array.from({ length }, (_, i) => i);
      for (let i = length - 1; i > 0; i--) {
        const j = integer(i + 1), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
      }
      return order;
    },
  };
}

/** The words of the key that a path leads to: at each number, a new key from the one before. */
function follow(words: Words, path: readonly number[]): Words {
  return path.reduce((key, at) => threefry(key, [0, at]), words);
}

/**
 * A stream of random numbers that depends on nothing but its seed and path, such as an epoch and a step.
 *
 * @param seed A whole number of at least 0.
 * @example
 * ```ts
 * import { random } from "@tenon/ml/train/data";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const first = random(42, 3, 17), second = random(42, 3, 17), other = random(42, 3, 18);
 * assertEquals(first.integer(1000), second.integer(1000));
 * assert(first.uniform() !== other.uniform());
 * ```
 */
export function random(seed: number, ...path: number[]): Random {
  return stream(follow(wordsOfSeed(seed), path));
}

function wordsOfSeed(seed: number): Words {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ArgumentError(`Cannot draw random numbers from the seed ${seed}: it is a whole number of at least 0`);
  }
  return [Math.floor(seed / 2 ** 32), seed >>> 0];
}

/** The same of a key, whose words may have to come from a device. */
export async function randomOf(key: Key | number, ...path: number[]): Promise<Random> {
  if (typeof key === "number") return random(key, ...path);
  const [first, second] = await key.threefry.data();
  return stream(follow([first, second], path));
}
