/**
 * Choosing the next token from what a language model says of each.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  argmax,
  argsort,
  categorical,
  cumulativeSum,
  div,
  expandDims,
  gatherElements,
  type Key,
  less,
  slice,
  softmax,
  squeeze,
  where,
} from "../ops/mod.ts";

/** How chance and likelihood share the choice. */
export interface ChoiceOptions {
  /** Below 1 likely tokens become likelier, above 1 less so; 0 always takes the likeliest. 1 by default. */
  readonly temperature?: number;
  /** Choose among this many likeliest tokens only. */
  readonly topK?: number;
  /** Choose among the fewest likeliest tokens that together have this probability. */
  readonly topP?: number;
}

/** Throws if an option is out of its range, or chance is needed and there is no key. */
export function requireChoice(
  key: Key | undefined,
  { temperature = 1, topK = Infinity, topP = 1 }: ChoiceOptions,
): void {
  if (!(temperature >= 0)) {
    throw new ArgumentError(`Cannot choose at temperature ${temperature}: it must be at least 0`);
  }
  if (!(topK >= 1) || (topK < Infinity && !Number.isInteger(topK))) {
    throw new ArgumentError(`Cannot choose among the top ${topK}: it must be a whole number of at least 1`);
  }
  if (!(topP > 0 && topP <= 1)) throw new ArgumentError(`Cannot choose with topP ${topP}: it must be in (0, 1]`);
  if (!key && temperature !== 0) {
    throw new ArgumentError("Cannot choose tokens by chance without a key: give one, or the temperature 0");
  }
}

/**
 * A token for each row of logits `[B, V]`, by chance: i32 `[B]`. It is made of ops alone, so that it can be part of a
 * compiled step. At temperature 0 no key is needed.
 *
 * @throws {ArgumentError} If an option is out of its range, or chance is needed and there is no key.
 * @see https://arxiv.org/abs/1904.09751 (top-p)
 * @example
 * ```ts
 * import { key, log, tensor, use } from "@tenon/ml";
 * import { chooseTokens } from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const logits = log(tensor([[0.2, 0.7, 0.1], [0.8, 0.1, 0.1]]));
 * assertEquals(await chooseTokens(logits, undefined, { temperature: 0 }).array(), [1, 0]);
 * assertEquals(await chooseTokens(logits, key(0), { topP: 0.5 }).array(), [1, 0]);
 * ```
 */
export function chooseTokens(logits: Tensor, key: Key | undefined, options: ChoiceOptions = {}): Tensor {
  requireChoice(key, options);
  const { temperature = 1, topK = Infinity, topP = 1 } = options;
  if (temperature === 0 || !key) return argmax(logits, { axis: -1 });
  return scope(() => {
    const scores = div(logits, temperature);
    if (topK >= logits.shape[1] && topP === 1) return categorical(key, scores);
    const order = slice(argsort(scores, { descending: true }), 0, Math.min(topK, logits.shape[1]), { axis: 1 }); // [B, K]
    const likeliest = gatherElements(scores, order, { axis: 1 }); // [B, K]
    const before = cumulativeSum(softmax(likeliest), { exclusive: true }); // what likelier ones have together
    const rank = categorical(key, where(less(before, topP), likeliest, -Infinity)); // [B]
    return squeeze(gatherElements(order, expandDims(rank, 1), { axis: 1 }), 1);
  });
}
