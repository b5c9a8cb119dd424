/**
 * Writing with a recurrent model of tokens: each token is one run of one compiled step, which chooses it as well.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { expandDims, type Key, slice, split, squeeze, tensor } from "../../ops/mod.ts";
import type { GenerateOptions } from "../generate.ts";
import type { LstmState } from "../lstm.ts";
import { type ChoiceOptions, chooseTokens, requireChoice } from "../sampling.ts";
import { compile } from "../../transforms/compile.ts";
import { applyTokens, type TokenConfig, type TokenParams } from "./tokens.ts";

/** What a step takes and replaces. */
interface Writing {
  readonly state: LstmState;
  /** Those chosen last, `[B, 1]` i32. */
  readonly tokens: Tensor;
  /** None where nothing is left to chance. */
  readonly key: Key | undefined;
}

/** Reads tokens `[B, T]` and chooses the next. */
function advance(
  params: TokenParams,
  { tokens, key, state }: Omit<Writing, "state"> & { readonly state?: LstmState },
  config: TokenConfig,
  choice: ChoiceOptions,
): Writing {
  const [next, now] = key ? split(key) : [];
  const [logits, after] = applyTokens(params, tokens, config, state ? { state } : {}); // [B, T, V]
  const last = squeeze(slice(logits, -1, null, { axis: 1 }), 1); // [B, V]
  return { state: after, tokens: expandDims(chooseTokens(last, now, choice), 1), key: next };
}

const begin = compile(advance);
const step = compile(advance, { donate: [1] });

/**
 * Continues `prompt` token by token.
 *
 * @returns The new tokens, without the prompt.
 * @throws {ArgumentError} If the prompt is empty, chance is needed and there is no key, or an option is out of its range.
 * @example
 * ```ts
 * import { key, use } from "@tenon/ml";
 * import * as lstm from "@tenon/ml/models/lstm";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: lstm.TokenConfig = { vocabSize: 5, hidden: 8 };
 * const params = lstm.initTokens(key(0), config);
 * const tokens = await lstm.generate(params, [0, 1], config, { length: 6, topK: 3, key: key(1) });
 * assertEquals(tokens.length, 6);
 * ```
 */
export async function generate(
  params: TokenParams,
  prompt: readonly number[],
  config: TokenConfig,
  options: GenerateOptions,
): Promise<number[]> {
  return (await generateAll(params, [prompt], config, options))[0];
}

/**
 * Continues several prompts of one length at once: {@linkcode generate} for a batch.
 *
 * @returns The new tokens of each prompt.
 * @throws {ArgumentError} If prompts are empty or differ in length, chance is needed and there is no key, or an option is
 * out of its range.
 */
export async function generateAll(
  params: TokenParams,
  prompts: readonly (readonly number[])[],
  config: TokenConfig,
  { length, stop = [], key, onToken, ...choice }: GenerateOptions,
): Promise<number[][]> {
  requireChoice(key, choice);
  const T = prompts[0]?.length ?? 0;
  if (T === 0) throw new ArgumentError("Cannot continue an empty prompt: give it one token at least");
  if (prompts.some((prompt) => prompt.length !== T)) {
    throw new ArgumentError(
      `Cannot continue prompts of ${prompts.map((prompt) => prompt.length)} tokens: give equal ones`,
    );
  }
  const backend = params.head.weight.backend.name;
  using read = tensor(Int32Array.from(prompts.flat()), { shape: [prompts.length, T], backend });
  const texts: number[][] = prompts.map(() => []), ended = prompts.map(() => false);
  let writing: Writing | null = null;
  for (let i = 0; i < length && ended.includes(false); i++) {
    writing = writing ? step(params, writing, config, choice) : begin(params, { tokens: read, key }, config, choice);
    const chosen = await writing.tokens.data();
    texts.forEach((text, row) => {
      if (ended[row] || (ended[row] = stop.includes(chosen[row]))) return;
      text.push(chosen[row]);
      onToken?.(chosen[row], row);
    });
  }
  for (const tensor of tree.leaves(writing) as (Tensor | null | undefined)[]) tensor?.dispose();
  return texts;
}
