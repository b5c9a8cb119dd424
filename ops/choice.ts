/**
 * Random whole numbers: from a range, by weight, or in a new order.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind, type Op } from "../core/op.ts";
import { normalizeAxis, reduceShape, type Shape } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { argmax } from "./argmax.ts";
import { iota } from "./create.ts";
import { add, cast, log, mod, mul, neg } from "./elementwise.ts";
import { gather } from "./index.ts";
import { uniformOf } from "./random.ts";
import { reshape, slice } from "./shape.ts";
import { argsort } from "./sort.ts";
import { bitsOf, drawOp, type Key, requireKey, splitKeyOp } from "./threefry.ts";

/** The words of two new keys. */
function twoKeys(words: Tensor): [Tensor, Tensor] {
  const rows = bind(splitKeyOp, [words], { count: 2 });
  return [reshape(slice(rows, 0, 1), [2]), reshape(slice(rows, 1, 2), [2])];
}

/** Attributes of {@linkcode randintOp}. */
export interface RandintAttrs {
  readonly shape: Shape;
  readonly min: number;
  readonly max: number;
}

/** See {@linkcode randint}: 64 bits an element, of which the remainder is taken; the modulus biases by 2⁻³² at most. */
export const randintOp: Op<1, RandintAttrs> = drawOp("randint", "i32", (words, { shape, min, max }) => {
  const span = max - min;
  const [high, low] = twoKeys(words).map((half) => bitsOf(half, shape));
  if (span === 2 ** 32) return add(cast(low, "i32"), min);
  // (high · 2³² + low) mod span, with 2³² mod span as JAX computes it in 32 bits
  const half = 2 ** 16 % span;
  const carried = mul(mod(high, span), (half * half) % 2 ** 32 % span);
  return add(cast(mod(add(carried, mod(low, span)), span), "i32"), min);
});

/**
 * Whole numbers spread evenly from `min` (included) to `max` (not included), i32.
 *
 * @throws {ArgumentError} If the bounds are not whole, do not fit in 32 bits, or hold nothing between them.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.randint(tn.key(0), [5], { max: 6 }).array(), [1, 0, 2, 1, 5]);
 * ```
 */
export function randint(
  key: Key,
  shape: Shape,
  { min = 0, max }: { readonly min?: number; readonly max: number },
): Tensor {
  const whole = Number.isInteger(min) && Number.isInteger(max);
  if (!whole || min < -(2 ** 31) || max > 2 ** 31 || min >= max) {
    throw new ArgumentError(
      `Cannot draw whole numbers from ${min} to ${max}: the bounds must be i32, the first less than the second`,
    );
  }
  return bind(randintOp, [key.threefry], { shape, min, max });
}

/** See {@linkcode categorical}; the inputs are the key's words and the logits. */
export const categoricalOp: Op<2, { readonly axis: number }> = {
  name: "categorical",
  constant: true,
  infer([words, logits], { axis }) {
    requireKey(words);
    requireDType("categorical", logits.dtype, FLOATS);
    return { shape: reduceShape(logits.shape, [axis], false), dtype: "i32" };
  },
  // the Gumbel-max trick: argmax(logits - log(-log u)), u uniform in (0, 1)
  body([words, logits], { axis }) {
    const u = uniformOf(words, logits.shape, 2 ** -126, 1);
    return argmax(add(neg(log(neg(log(u)))), cast(logits, "f32")), { axis });
  },
};

/**
 * One draw from every row of logits: index i with probability `softmax(logits)[i]`.
 *
 * @param logits At least one axis, f32 or f16; `-Infinity` is never drawn.
 * @param options `axis` is that of the classes, the last by default.
 * @returns i32, the shape of the logits without the axis.
 * @throws {ShapeError} If there is no such axis.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const logits = tn.log(tn.tensor([[0, 1, 0], [0, 0, 1]]));
 * assertEquals(await tn.categorical(tn.key(0), logits).array(), [1, 2]);
 * ```
 */
export function categorical(key: Key, logits: Tensor, { axis = -1 }: { readonly axis?: number } = {}): Tensor {
  return bind(categoricalOp, [key.threefry, logits], { axis: normalizeAxis("draw", axis, logits.rank) });
}

/** The numbers below `count` in random order, i32; see {@linkcode permutation}. */
export const permutationOp: Op<1, { readonly count: number }> = {
  name: "permutation",
  constant: true,
  infer([words], { count }) {
    requireKey(words);
    return { shape: [count], dtype: "i32" };
  },
  // sorting by 32 random bits, repeated until no two elements are likely to have had equal bits every time
  body([words], { count }) {
    const rounds = Math.ceil(3 * Math.log(Math.max(1, count)) / Math.log(2 ** 32 - 1));
    let order: Tensor | null = null, next = words;
    for (let round = 0; round < rounds; round++) {
      const [kept, used] = twoKeys(next);
      const places = argsort(bitsOf(used, [count]));
      order = order ? gather(order, places) : places;
      next = kept;
    }
    return order ?? iota([count], 0, "i32", words.backend);
  },
};

/**
 * The numbers below `n`, or the slices of a tensor along an axis, in random order.
 *
 * @param x A whole number, for i32 `[n]`; or a tensor of at least one axis.
 * @param options `axis` is the one to shuffle, 0 by default.
 * @throws {ArgumentError} If `n` is not a whole number of at least 0.
 * @throws {ShapeError} If there is no such axis.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.permutation(tn.key(0), 5).array(), [0, 1, 4, 3, 2]);
 * ```
 */
export function permutation(key: Key, x: number | Tensor, { axis = 0 }: { readonly axis?: number } = {}): Tensor {
  if (typeof x === "number" && !(Number.isInteger(x) && x >= 0)) {
    throw new ArgumentError(`Cannot permute ${x}: it must be a tensor or a whole number of at least 0`);
  }
  if (typeof x === "number") return bind(permutationOp, [key.threefry], { count: x });
  const along = normalizeAxis("permute", axis, x.rank);
  using order = bind(permutationOp, [key.threefry], { count: x.shape[along] });
  return gather(x, order, { axis: along });
}
