/**
 * How surprised a language model is.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import { type Numbers, read } from "./classification.ts";

/**
 * `exp` of the mean loss: between how many equally likely tokens a language model hesitates.
 *
 * @param losses Cross-entropies in nats: of tokens, or means over as many tokens each.
 * @throws {ArgumentError} If there are none.
 * @example
 * ```ts
 * import { perplexity } from "@tenon/ml/train/metrics";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * assertAlmostEquals(perplexity([Math.log(2), Math.log(8)]), 4, 1e-12);
 * ```
 */
export function perplexity(losses: Numbers): number {
  const values = Array.from(read(losses));
  if (values.length === 0) throw new ArgumentError("Cannot take the perplexity of no losses");
  return Math.exp(values.reduce((sum, loss) => sum + loss, 0) / values.length);
}
