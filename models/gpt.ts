/**
 * GPT-2 style language model, all in this file: a decoder of pre-norm transformer blocks with tied embeddings.
 *
 * Architecture and initialization are nanoGPT's (https://github.com/karpathy/nanoGPT). In shape comments: B batch,
 * T time, C channels, H heads, V vocabulary.
 *
 * @module
 */
import { compile } from "../core/compile.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  add,
  arange,
  attention,
  crossEntropy,
  dropout,
  expandDims,
  gather,
  gelu,
  type Key,
  layerNorm,
  lessEqual,
  linear,
  matmul,
  mul,
  normal,
  ones,
  reshape,
  slice,
  softmax,
  split,
  tensor,
  transpose,
  uniform,
  where,
  zeros,
} from "../ops/mod.ts";
import { type ChoiceOptions, chooseToken } from "./sampling.ts";

export { type ChoiceOptions, chooseToken };

/** Sizes and choices of a model. */
export interface GptConfig {
  /** Number of different tokens, V. */
  readonly vocabSize: number;
  /** Most tokens the model can look at. */
  readonly context: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** Attention heads; they share the channels evenly. */
  readonly heads: number;
  /** Width of the residual stream, C. */
  readonly channels: number;
  /** Whether linear layers add a bias and norms a shift; true by default. */
  readonly bias?: boolean;
  /** Part of the activations that is dropped in training (where a key is given); 0 by default. */
  readonly dropout?: number;
  /** GELU exactly (`none`, the default) or as GPT-2 was trained (`tanh`). */
  readonly gelu?: "none" | "tanh";
}

/** Scale and shift of a layer norm; without biases there is no shift. */
export interface NormParams {
  /** `[C]` */
  readonly scale: Tensor;
  /** `[C]` */
  readonly shift?: Tensor;
}

/** A linear layer. */
export interface LinearParams {
  /** `[in, out]` */
  readonly weight: Tensor;
  /** `[out]` */
  readonly bias?: Tensor;
}

/** A transformer block. */
export interface BlockParams {
  /** Before the attention. */
  readonly norm1: NormParams;
  /** `qkv`, C -> 3·C, makes queries, keys and values; `out`, C -> C, mixes what the heads found. */
  readonly attention: { readonly qkv: LinearParams; readonly out: LinearParams };
  /** Before the network. */
  readonly norm2: NormParams;
  /** `up`, C -> 4·C, and `down`, 4·C -> C, with a GELU between them. */
  readonly mlp: { readonly up: LinearParams; readonly down: LinearParams };
}

/** Parameters, as plain data: `tree.map`, optimizers and files take them as they are. */
export interface GptParams {
  /** `[V, C]`, the last layer's weight too. */
  readonly token: Tensor;
  /** `[context, C]` */
  readonly position: Tensor;
  /** In the order in which they are applied. */
  readonly blocks: readonly BlockParams[];
  /** After the last block. */
  readonly norm: NormParams;
}

/** What {@linkcode loss} takes: each of `targets` is the token after the one at its place in `tokens`. */
export interface GptBatch {
  /** `[B, T]` i32 */
  readonly tokens: Tensor;
  /** `[B, T]` i32 */
  readonly targets: Tensor;
  /** For dropout; without it nothing is dropped. */
  readonly key?: Key;
}

/**
 * The GPT-2 family, as released by OpenAI.
 *
 * @see https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
 */
export const presets: Readonly<Record<"gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl", GptConfig>> = {
  "gpt2": { vocabSize: 50257, context: 1024, layers: 12, heads: 12, channels: 768, gelu: "tanh" },
  "gpt2-medium": { vocabSize: 50257, context: 1024, layers: 24, heads: 16, channels: 1024, gelu: "tanh" },
  "gpt2-large": { vocabSize: 50257, context: 1024, layers: 36, heads: 20, channels: 1280, gelu: "tanh" },
  "gpt2-xl": { vocabSize: 50257, context: 1024, layers: 48, heads: 25, channels: 1600, gelu: "tanh" },
};

/**
 * Number of parameters, tied ones once.
 *
 * @example
 * ```ts
 * import { parameterCount, presets } from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parameterCount(presets.gpt2), 124_439_808);
 * ```
 */
export function parameterCount({ vocabSize, context, layers, channels: C, bias = true }: GptConfig): number {
  const norm = bias ? 2 * C : C;
  const linear = (from: number, to: number) => from * to + (bias ? to : 0);
  const block = 2 * norm + linear(C, 3 * C) + linear(C, C) + linear(C, 4 * C) + linear(4 * C, C);
  return (vocabSize + context) * C + layers * block + norm;
}

/** Standard deviation of fresh weights. */
const STD = 0.02;

/**
 * Fresh parameters, drawn from `key`: weights from a normal distribution of standard deviation 0.02, narrowed by
 * `√(2·layers)` where a branch ends and is added to the residual stream; scales one; biases and shifts zero.
 *
 * @throws {ArgumentError} If the heads do not share the channels evenly.
 * @example
 * ```ts
 * import { grad, key, tensor, use } from "@tenon/ml";
 * import * as gpt from "@tenon/ml/models/gpt";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: gpt.GptConfig = { vocabSize: 5, context: 4, layers: 1, heads: 2, channels: 8 };
 * const params = gpt.init(key(0), config);
 * const tokens = tensor([[0, 1, 2]], { dtype: "i32" }), targets = tensor([[1, 2, 3]], { dtype: "i32" });
 *
 * assertEquals(gpt.apply(params, tokens, config).shape, [1, 3, 5]); // what may follow each token
 * const gradients = grad(gpt.loss)(params, { tokens, targets }, config);
 * assertEquals(gradients.blocks[0].attention.qkv.weight.shape, [8, 24]);
 * ```
 */
export function init(key: Key, config: GptConfig): GptParams {
  validate(config);
  const { vocabSize, context, channels, layers } = config;
  return scope(() => {
    const [tokenKey, positionKey, ...blockKeys] = split(key, 2 + layers);
    return {
      token: normal(tokenKey, [vocabSize, channels], { std: STD }),
      position: normal(positionKey, [context, channels], { std: STD }),
      blocks: blockKeys.map((blockKey) => initBlock(blockKey, config)),
      norm: initNorm(config),
    };
  });
}

function validate({ channels, heads, dropout: rate = 0 }: GptConfig): void {
  if (channels % heads !== 0) {
    throw new ArgumentError(`Cannot make a GPT of ${channels} channels and ${heads} heads: they do not divide evenly`);
  }
  if (!(rate >= 0 && rate < 1)) throw new ArgumentError(`Cannot make a GPT with dropout ${rate}: it must be in [0, 1)`);
}

function initBlock(key: Key, config: GptConfig): BlockParams {
  const { channels: C, layers, bias = true } = config;
  const [qkv, out, up, down] = split(key, 4);
  const initLinear = (key: Key, from: number, to: number, std = STD): LinearParams => ({
    weight: normal(key, [from, to], { std }),
    ...(bias && { bias: zeros([to]) }),
  });
  const narrow = STD / Math.sqrt(2 * layers);
  return {
    norm1: initNorm(config),
    attention: { qkv: initLinear(qkv, C, 3 * C), out: initLinear(out, C, C, narrow) },
    norm2: initNorm(config),
    mlp: { up: initLinear(up, C, 4 * C), down: initLinear(down, 4 * C, C, narrow) },
  };
}

function initNorm({ channels, bias = true }: GptConfig): NormParams {
  return { scale: ones([channels]), ...(bias && { shift: zeros([channels]) }) };
}

/**
 * Logits of the next token at every place: tokens `[B, T]` i32 -> `[B, T, V]`. With a `key`, dropout is on.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 */
export function apply(params: GptParams, tokens: Tensor, config: GptConfig, key?: Key): Tensor {
  return unembed(params, encode(params, tokens, config, key));
}

/**
 * Mean cross-entropy of the next token, in nats: the function to differentiate.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 */
export function loss(params: GptParams, { tokens, targets, key }: GptBatch, config: GptConfig): Tensor {
  return crossEntropy(apply(params, tokens, config, key), targets);
}

/** What the model knows at every place: tokens `[B, T]` -> `[B, T, C]`. */
function encode(params: GptParams, tokens: Tensor, config: GptConfig, key?: Key): Tensor {
  const T = tokens.shape[1], { context, layers } = config;
  if (tokens.rank !== 2 || T > context) {
    throw new ShapeError(`Cannot apply a GPT to tokens ${show(tokens.shape)}: it takes [batch, at most ${context}]`);
  }
  const [embeddingKey, ...keys] = key ? split(key, 1 + 3 * layers) : [];
  let x = add(gather(params.token, tokens), slice(params.position, 0, T)); // [B, T, C]
  x = drop(x, config, embeddingKey);
  for (const [i, block] of params.blocks.entries()) {
    const [scoresKey, attentionKey, mlpKey] = keys.slice(3 * i);
    const attended = attend(block.attention, layerNorm(x, block.norm1), config, scoresKey);
    x = add(x, drop(attended, config, attentionKey));
    x = add(x, drop(feedForward(block.mlp, layerNorm(x, block.norm2), config), config, mlpKey));
  }
  return layerNorm(x, params.norm);
}

/** `[..., C]` -> `[..., V]`: how well each token's embedding fits. */
function unembed({ token }: GptParams, x: Tensor): Tensor {
  return matmul(x, token, { transposeB: true });
}

function drop(x: Tensor, { dropout: rate = 0 }: GptConfig, key: Key | undefined): Tensor {
  return key && rate > 0 ? dropout(x, key, { rate }) : x;
}

/** Causal self-attention, `[B, T, C]` -> `[B, T, C]`. */
function attend({ qkv, out }: BlockParams["attention"], x: Tensor, config: GptConfig, key?: Key): Tensor {
  const [B, T, C] = x.shape, { heads: H } = config;
  const [q, k, v] = split(linear(x, qkv), 3, { axis: -1 }) // 3 x [B, T, C] -> [B, H, T, C/H]
    .map((part) => transpose(reshape(part, [B, T, H, C / H]), [0, 2, 1, 3]));
  const y = key && config.dropout ? dropAttention(q, k, v, config, key) : attention(q, k, v, { causal: true });
  return linear(reshape(transpose(y, [0, 2, 1, 3]), [B, T, C]), out);
}

/** Causal attention that misses some of what it looks at; q, k, v `[B, H, T, D]`. */
function dropAttention(q: Tensor, k: Tensor, v: Tensor, config: GptConfig, key: Key): Tensor {
  const T = q.shape[2], D = q.shape[3];
  const past = lessEqual(arange(T), expandDims(arange(T), 1)); // [T, T]
  const scores = mul(matmul(q, k, { transposeB: true }), 1 / Math.sqrt(D)); // [B, H, T, T]
  return matmul(drop(softmax(where(past, scores, -Infinity)), config, key), v);
}

/** The same two-layer network at every place, `[B, T, C]` -> `[B, T, C]`. */
function feedForward({ up, down }: BlockParams["mlp"], x: Tensor, { gelu: approximate = "none" }: GptConfig): Tensor {
  return linear(gelu(linear(x, up), { approximate }), down);
}

/** How {@linkcode generate} writes. */
export interface GenerateOptions extends ChoiceOptions {
  /** Most tokens to make. */
  readonly length: number;
  /** Tokens that end the text; they are not returned. */
  readonly stop?: readonly number[];
  /** Where chance comes from: the same key, the same tokens. Needed unless the temperature is 0. */
  readonly key?: Key;
  /** Called with each token as it is made. */
  readonly onToken?: (token: number) => void;
}

/**
 * Continues `prompt` token by token. Looks back as far as the context reaches.
 *
 * @returns The new tokens, without the prompt.
 * @throws {ArgumentError} If the prompt is empty, or chance is needed and there is no key.
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
  { length, stop = [], key, onToken, ...choice }: GenerateOptions,
): Promise<number[]> {
  if (prompt.length === 0) throw new ArgumentError("Cannot continue an empty prompt: give it one token at least");
  const chances = choice.temperature === 0 ? null : await drawChances(key, length);
  const tokens = [...prompt];
  for (let i = 0; i < length; i++) {
    const logits = await nextLogits(params, tokens.slice(-config.context), config);
    const next = chooseToken(logits, chances?.[i] ?? 0, choice);
    if (stop.includes(next)) break;
    tokens.push(next);
    onToken?.(next);
  }
  return tokens.slice(prompt.length);
}

async function drawChances(key: Key | undefined, length: number): Promise<ArrayLike<number>> {
  if (!key) throw new ArgumentError("Cannot choose tokens by chance without a key: give one, or the temperature 0");
  using chances = uniform(key, [length]);
  return await chances.data();
}

/** Logits `[1, 1, V]` of the token after place `last` `[1]` of `tokens` `[1, T]`. */
const predict = compile((params: GptParams, tokens: Tensor, last: Tensor, config: GptConfig): Tensor => {
  const x = encode(params, tokens, config); // [1, T, C]
  return unembed(params, gather(x, last, { axis: 1 }));
});

/** Logits `[V]` of the token after `window`, which is padded to the context: one shape, so one program. */
async function nextLogits(params: GptParams, window: readonly number[], config: GptConfig): Promise<ArrayLike<number>> {
  const backend = params.token.backend.name;
  const padded = Int32Array.from({ length: config.context }, (_, i) => window[i] ?? 0);
  using tokens = tensor(padded, { shape: [1, config.context], backend });
  using last = tensor(new Int32Array([window.length - 1]), { backend });
  using logits = predict(params, tokens, last, config);
  return await logits.data();
}
