/**
 * Threefry-2x32 with 20 rounds, the counter-based generator behind all random numbers (Salmon et al. 2011, "Parallel
 * random numbers: as easy as 1, 2, 3").
 *
 * A key and a counter, two words each, give two random words. Element i of a random tensor has the counter `(0, i)`: it
 * depends on nothing but the key and its place, so every backend gives the same bits, those of JAX's default generator.
 *
 * @module
 */
import { type DType, requireDType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { type Shape, show, size, type Spec, validateShape } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, equal, or, shiftLeft, shiftRight, where, xor } from "./elementwise.ts";
import { iota } from "./create.ts";
import { broadcastTo, reshape, slice } from "./shape.ts";

/** Where random numbers come from. A plain object, so keys pass through trees and `compile`. */
export interface Key {
  /** The words, u32 `[2]`. */
  readonly threefry: Tensor;
}

/** Bits that a word is rotated by, in even and in odd groups of four rounds. */
export const ROTATIONS: readonly [readonly number[], readonly number[]] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/** What makes the third key word differ from 0 where the first two do. */
export const PARITY = 0x1bd11bda;

function rotate(x: Tensor, bits: number): Tensor {
  return or(shiftLeft(x, bits), shiftRight(x, 32 - bits));
}

/** The two random words of the key `[2]` at the counters `(0, counter)`, in the counter's shape. */
export function threefry(key: Tensor, counter: Tensor): [Tensor, Tensor] {
  // all in one shape, so that one fused kernel takes in everything
  const [k0, k1] = [0, 1].map((word) => broadcastTo(reshape(slice(key, word, word + 1), []), counter.shape));
  const schedule = [k0, k1, xor(xor(k0, k1), PARITY)];
  let x = k0, y = add(counter, k1); // the counter's high word is 0
  for (let group = 0; group < 5; group++) {
    for (const bits of ROTATIONS[group % 2]) {
      x = add(x, y);
      y = xor(rotate(y, bits), x);
    }
    x = add(x, schedule[(group + 1) % 3]);
    y = add(y, add(schedule[(group + 2) % 3], group + 1));
  }
  return [x, y];
}

/** Throws unless the input is a key's words. */
export function requireKey({ shape, dtype }: Spec): void {
  requireDType("random numbers with key words", dtype, ["u32"]);
  if (shape.length !== 1 || shape[0] !== 2) {
    throw new ShapeError(`Cannot make random numbers from a key of shape ${show(shape)}: it must be [2]`);
  }
}

/** An op that draws a tensor of `attrs.shape` from the words of a key. */
export function drawOp<A extends { readonly shape: Shape }>(
  name: string,
  dtype: DType,
  body: (words: Tensor, attrs: A) => Tensor,
): Op<1, A> {
  return {
    name,
    constant: true,
    infer([words], { shape }) {
      requireKey(words);
      validateShape("make random numbers of shape", shape);
      return { shape, dtype };
    },
    body: ([words], attrs) => body(words, attrs),
  };
}

/** Attributes of {@linkcode randomBitsOp}. */
export interface RandomBitsAttrs {
  readonly shape: Shape;
}

/** 32 random bits an element: the two words of the element's counter, combined by exclusive or. */
export const randomBitsOp: Op<1, RandomBitsAttrs> = drawOp("randomBits", "u32", (key, { shape }) => {
  const [x, y] = threefry(key, reshape(iota([size(shape)], 0, "u32", key.backend), shape));
  return xor(x, y);
});

/** Attributes of {@linkcode splitKeyOp}. */
export interface SplitKeyAttrs {
  readonly count: number;
}

/** New keys, one a row: key i is the two words of counter i; `[count, 2]`. */
export const splitKeyOp: Op<1, SplitKeyAttrs> = {
  name: "splitKey",
  constant: true,
  infer([key], { count }) {
    requireKey(key);
    return { shape: [count, 2], dtype: "u32" };
  },
  body([key], { count }) {
    const place = (axis: number) => iota([count, 2], axis, "u32", key.backend);
    const [x, y] = threefry(key, place(0));
    return where(equal(place(1), 0), x, y);
  },
};

/** 32 random bits an element, u32. */
export function bitsOf(key: Tensor, shape: Shape): Tensor {
  return bind(randomBitsOp, [key], { shape });
}
