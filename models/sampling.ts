/**
 * Choosing the next token from what a language model says of each.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";

/** How chance and likelihood share the choice. */
export interface ChoiceOptions {
  /** Below 1 likely tokens become likelier, above 1 less so; 0 always takes the likeliest. 1 by default. */
  readonly temperature?: number;
  /** Choose among this many likeliest tokens only. */
  readonly topK?: number;
  /** Choose among the fewest likeliest tokens that together have this probability. */
  readonly topP?: number;
}

/**
 * The token whose share of the distribution `chance`, a number in [0, 1), falls into; likelier tokens come first.
 *
 * @throws {ArgumentError} If an option is out of its range.
 * @see https://arxiv.org/abs/1904.09751 (top-p)
 * @example
 * ```ts
 * import { chooseToken } from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = [Math.log(0.2), Math.log(0.7), Math.log(0.1)];
 * assertEquals([0, 0.69, 0.71, 0.95].map((chance) => chooseToken(logits, chance)), [1, 1, 0, 2]);
 * assertEquals(chooseToken(logits, 0.95, { topK: 2 }), 0);
 * assertEquals(chooseToken(logits, 0.95, { temperature: 0 }), 1);
 * ```
 */
export function chooseToken(
  logits: ArrayLike<number>,
  chance: number,
  { temperature = 1, topK = Infinity, topP = 1 }: ChoiceOptions = {},
): number {
  if (!(temperature >= 0)) {
    throw new ArgumentError(`Cannot choose at temperature ${temperature}: it must be at least 0`);
  }
  if (!(topK >= 1)) throw new ArgumentError(`Cannot choose among the top ${topK}: it must be at least 1`);
  if (!(topP > 0 && topP <= 1)) throw new ArgumentError(`Cannot choose with topP ${topP}: it must be in (0, 1]`);

  const order = Array.from(logits, (_, token) => token).sort((a, b) => logits[b] - logits[a] || a - b);
  if (temperature === 0) return order[0];
  const kept = order.slice(0, topK);
  const weights = kept.map((token) => Math.exp((logits[token] - logits[order[0]]) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);

  // The shortest beginning of the order that has probability topP, and its weight.
  let count = 0, nucleus = 0;
  while (count < kept.length && (count === 0 || nucleus < topP * total)) nucleus += weights[count++];

  let rest = chance * nucleus;
  for (let i = 0; i < count - 1; i++) {
    rest -= weights[i];
    if (rest < 0) return kept[i];
  }
  return kept[count - 1];
}
