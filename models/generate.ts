/**
 * Writing with a GPT: the prompts are read in one compiled call, then every token is one run of one compiled step, which
 * keeps keys and values of what it has read and chooses the token as well. Only the chosen tokens are read back.
 *
 * ```text
 *  prompts  . . 5 2      aligned at their ends; `start` says where each begins       B = 2 rows
 *           7 1 4 9
 *  cache    . . k k k _ _ _      length 5 of S = 8 places, the next token goes to place 5
 *           k k k k k _ _ _
 * ```
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { add, expandDims, gather, type Key, slice, split, squeeze, sub, tensor, zeros } from "../ops/mod.ts";
import { castFloats } from "../train/precision.ts";
import { compile } from "../transforms/compile.ts";
import { encode, type GptCache, type GptConfig, type GptParams, unembed } from "./gpt.ts";
import { type ChoiceOptions, chooseTokens, requireChoice } from "./sampling.ts";

/** A cache without tokens, for rows that begin at `start`, i32 `[B]`; of the parameters' dtype and backend. */
export function emptyCache(params: GptParams, start: Tensor, config: GptConfig): GptCache {
  const { layers, heads, channels, keyValueHeads: G = heads, context: S, dtype = params.token.dtype } = config;
  const backend = start.backend.name, shape = [2, start.shape[0], G, 1, S, channels / heads];
  return {
    blocks: Array.from({ length: layers }, () => zeros(shape, { dtype, backend })),
    length: zeros([], { dtype: "i32", backend }),
    start,
  };
}

/** How {@linkcode extend} reads on. */
export interface ExtendOptions {
  /** How many of the tokens are text, i32 `[]`; the rest, at their end, is padding. All by default. */
  readonly count?: Tensor;
}

/**
 * Reads on: tokens `[B, T]` i32 after those in the cache -> logits `[B, V]` of what follows the last, and the new cache.
 * Compiled with the cache donated, it updates the cache in place. Past the end of the context the logits mean nothing.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 * @example
 * ```ts
 * import { key, tensor, use } from "@tenon/ml";
 * import * as gpt from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: gpt.GptConfig = { vocabSize: 5, context: 8, layers: 1, heads: 2, channels: 8 };
 * const params = gpt.init(key(0), config), ids = (row: number[]) => tensor([row], { dtype: "i32" });
 *
 * let cache = gpt.emptyCache(params, tensor([0], { dtype: "i32" }), config), logits;
 * [logits, cache] = gpt.extend(params, ids([3, 1, 4]), cache, config);
 * [logits, cache] = gpt.extend(params, ids([2]), cache, config);
 * assertEquals(logits.shape, [1, 5]); // what may follow 3, 1, 4, 2
 * ```
 */
export function extend(
  params: GptParams,
  tokens: Tensor,
  cache: GptCache,
  config: GptConfig,
  { count }: ExtendOptions = {},
): [logits: Tensor, cache: GptCache] {
  const { x, blocks } = encode(params, tokens, config, { cache }); // [B, T, C]
  const last = count ? gather(x, sub(count, 1), { axis: 1 }) : squeeze(slice(x, -1, null, { axis: 1 }), 1); // [B, C]
  const length = add(cache.length, count ?? tokens.shape[1]);
  return [unembed(params, last), { blocks, length, start: cache.start }];
}

/** How {@linkcode generate} writes. */
export interface GenerateOptions extends ChoiceOptions {
  /** Most tokens to make. */
  readonly length: number;
  /** Tokens that end the text; they are not returned. */
  readonly stop?: readonly number[];
  /** Where chance comes from: the same key, the same tokens. Needed unless the temperature is 0. */
  readonly key?: Key;
  /** Called with each token as it is made, and the row that it belongs to. */
  readonly onToken?: (token: number, row: number) => void;
}

/**
 * Continues `prompt` token by token. When the text has filled the context, the last half of it is read anew and the
 * writing goes on from there: a token sees at least half a context, and at most a whole one.
 *
 * @returns The new tokens, without the prompt.
 * @throws {ArgumentError} If the prompt is empty, chance is needed and there is no key, or an option is out of its range.
 * @example
 * ```ts
 * import { key, use } from "@tenon/ml";
 * import * as gpt from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: gpt.GptConfig = { vocabSize: 5, context: 4, layers: 1, heads: 2, channels: 8 };
 * const params = gpt.init(key(0), config);
 * const tokens = await gpt.generate(params, [0, 1], config, { length: 6, topK: 3, key: key(1) });
 * assertEquals(tokens.length, 6);
 * ```
 */
export async function generate(
  params: GptParams,
  prompt: readonly number[],
  config: GptConfig,
  options: GenerateOptions,
): Promise<number[]> {
  return (await generateAll(params, [prompt], config, options))[0];
}

/**
 * Continues several prompts, of any lengths, at once: {@linkcode generate} for a batch. The weights are read once a step
 * for all of them. The context is as full as that of the longest.
 *
 * @returns The new tokens of each prompt.
 * @throws {ArgumentError} If a prompt is empty, chance is needed and there is no key, or an option is out of its range.
 * @example
 * ```ts
 * import { key, use } from "@tenon/ml";
 * import * as gpt from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: gpt.GptConfig = { vocabSize: 5, context: 8, layers: 1, heads: 2, channels: 8 };
 * const params = gpt.init(key(0), config), options = { length: 4, temperature: 0 };
 * const [a, b] = await gpt.generateAll(params, [[0, 1, 2], [3]], config, options);
 * assertEquals(a, await gpt.generate(params, [0, 1, 2], config, options));
 * assertEquals(b, await gpt.generate(params, [3], config, options));
 * ```
 */
export async function generateAll(
  params: GptParams,
  prompts: readonly (readonly number[])[],
  config: GptConfig,
  { length, stop = [], key, onToken, ...choice }: GenerateOptions,
): Promise<number[][]> {
  if (prompts.some((prompt) => prompt.length === 0)) {
    throw new ArgumentError("Cannot continue an empty prompt: give it one token at least");
  }
  requireChoice(key, choice);
  const texts = prompts.map((prompt) => [...prompt]);
  const ended = prompts.map(() => false);
  const { weights, release } = inDType(params, config);
  let state: State | null = null, room = 0;
  try {
    for (let i = 0; i < length && ended.includes(false); i++) {
      if (state && room > 0) {
        state = step(weights, state, config, choice);
        room--;
      } else {
        const windows = texts.map((text) => text.slice(state ? -Math.ceil(config.context / 2) : -config.context));
        [state, room] = read(weights, windows, config, { choice, state, key });
      }
      const chosen = await state.tokens.data();
      texts.forEach((text, row) => {
        if (ended[row] || (ended[row] = stop.includes(chosen[row]))) return;
        text.push(chosen[row]);
        onToken?.(chosen[row], row);
      });
    }
  } finally {
    if (state) dispose(state);
    release();
  }
  return texts.map((text, row) => text.slice(prompts[row].length));
}

/** The weights in the dtype that they are used in, cast once and not at every step. */
function inDType(params: GptParams, { dtype }: GptConfig): { weights: GptParams; release: () => void } {
  if (!dtype) return { weights: params, release: () => {} };
  const weights = castFloats(params, dtype);
  return { weights, release: () => dispose(weights) };
}

function dispose(tensors: unknown): void {
  for (const tensor of tree.leaves(tensors) as (Tensor | undefined)[]) tensor?.dispose();
}

/** What a step takes and replaces. */
interface State {
  readonly cache: GptCache;
  /** Those chosen last, not in the cache yet: `[B, 1]` i32. */
  readonly tokens: Tensor;
  /** None where nothing is left to chance. */
  readonly key: Key | undefined;
}

function choose(logits: Tensor, cache: GptCache, key: Key | undefined, choice: ChoiceOptions): State {
  const [next, now] = key ? split(key) : [];
  return { cache, tokens: expandDims(chooseTokens(logits, now, choice), 1), key: next };
}

/** One token more for every row: the same program at every place. */
const step = compile((params: GptParams, { tokens, cache, key }: State, config: GptConfig, choice: ChoiceOptions) => {
  const [logits, longer] = extend(params, tokens, cache, config);
  return choose(logits, longer, key, choice);
}, { donate: [1] });

/** Prompts, as one batch. */
interface Prompts {
  /** `[B, T]` i32: padding, text, padding. */
  readonly tokens: Tensor;
  /** Where each row's text begins, i32 `[B]`. */
  readonly start: Tensor;
  /** Where all texts end, i32 `[]`. */
  readonly count: Tensor;
}

/** Reads the prompts and chooses the first tokens. */
const begin = compile(
  (params: GptParams, prompts: Prompts, key: Key | undefined, config: GptConfig, choice: ChoiceOptions) => {
    const { tokens, start, count } = prompts;
    const [logits, cache] = extend(params, tokens, emptyCache(params, start, config), config, { count });
    return choose(logits, cache, key, choice);
  },
);

/** Least tokens that are read at once; more are rounded up to a power of two, so that few programs serve all lengths. */
const FEWEST = 16;

/** Reads windows of text into a new cache, in place of an old one. The state, and how many tokens it has room for. */
function read(
  params: GptParams,
  windows: readonly (readonly number[])[],
  config: GptConfig,
  { choice, state, key }: { readonly choice: ChoiceOptions; readonly state: State | null; readonly key?: Key },
): [State, number] {
  const { backend: { name: backend } } = params.token;
  const longest = Math.max(...windows.map((window) => window.length));
  const T = Math.min(config.context, Math.max(FEWEST, 2 ** Math.ceil(Math.log2(longest))));
  const flat = new Int32Array(windows.length * T);
  windows.forEach((window, row) => flat.set(window, row * T + longest - window.length));
  using tokens = tensor(flat, { shape: [windows.length, T], backend });
  using start = tensor(Int32Array.from(windows, (window) => longest - window.length), { backend });
  using count = tensor(new Int32Array([longest]), { shape: [], backend });
  const next = begin(params, { tokens, start, count }, state ? state.key : key, config, choice);
  if (state) dispose(state);
  return [next, config.context - longest];
}
