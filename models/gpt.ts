/**
 * A language model: a decoder of pre-norm transformer blocks. As it comes it is GPT-2, with nanoGPT's initialization
 * (https://github.com/karpathy/nanoGPT); by its configuration (`gpt_config.ts`) it is Llama (Touvron et al. 2023,
 * arXiv:2302.13971). How it writes is in `generate.ts`.
 *
 * In shape comments: B batch, T time, C channels, H heads, G heads of keys and values, D channels of a head, S places of
 * a cache, V vocabulary.
 *
 * @module
 */
import { ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  add,
  and,
  arange,
  attention,
  cast,
  crossEntropy,
  dropout,
  expandDims,
  gather,
  gelu,
  greaterEqual,
  type Key,
  layerNorm,
  lessEqual,
  linear,
  matmul,
  max,
  mul,
  normal,
  ones,
  reshape,
  rmsNorm,
  rotary,
  silu,
  slice,
  softmax,
  split,
  squeeze,
  stack,
  sub,
  transpose,
  updateSlice,
  where,
  zeros,
} from "../ops/mod.ts";
import { castFloats } from "../train/precision.ts";
import { complete, type GptConfig, validate } from "./gpt_config.ts";

export { emptyCache, extend, type ExtendOptions, generate, generateAll, type GenerateOptions } from "./generate.ts";
export { type GptConfig, parameterCount, presets } from "./gpt_config.ts";
export { type ChoiceOptions, chooseTokens } from "./sampling.ts";

/** Scale and shift of a norm; without biases, and in an RMS norm, there is no shift. */
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
  /** `qkv`, C -> (H + 2·G)·D, makes queries, keys and values; `out`, C -> C, mixes what the heads found. */
  readonly attention: { readonly qkv: LinearParams; readonly out: LinearParams };
  /** Before the network. */
  readonly norm2: NormParams;
  /** `up`, C -> hidden, and `down`, hidden -> C, with a GELU between them; or `gate`, C -> hidden, by whose SiLU it goes. */
  readonly mlp: { readonly gate?: LinearParams; readonly up: LinearParams; readonly down: LinearParams };
}

/** Parameters, as plain data: `tree.map`, optimizers and files take them as they are. */
export interface GptParams {
  /** `[V, C]`, the last layer's weight too where it is tied. */
  readonly token: Tensor;
  /** `[context, C]`, where positions are learned. */
  readonly position?: Tensor;
  /** In the order in which they are applied. */
  readonly blocks: readonly BlockParams[];
  /** After the last block. */
  readonly norm: NormParams;
  /** `[V, C]`, where it is not tied. */
  readonly output?: Tensor;
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
  const { vocabSize, context, channels, layers, positions, tied } = complete(config);
  return scope(() => {
    const [tokenKey, positionKey, ...blockKeys] = split(key, 2 + layers);
    const [outputKey] = split(tokenKey, 1);
    return {
      token: normal(tokenKey, [vocabSize, channels], { std: STD }),
      ...(positions === "learned" && { position: normal(positionKey, [context, channels], { std: STD }) }),
      blocks: blockKeys.map((blockKey) => initBlock(blockKey, config)),
      norm: initNorm(config),
      ...(!tied && { output: normal(outputKey, [vocabSize, channels], { std: STD }) }),
    };
  });
}

function initBlock(key: Key, config: GptConfig): BlockParams {
  const { channels: C, heads, keyValueHeads, hidden, mlp, layers, bias } = complete(config);
  const [qkv, out, up, down] = split(key, 4);
  const initLinear = (key: Key, from: number, to: number, std = STD): LinearParams => ({
    weight: normal(key, [from, to], { std }),
    ...(bias && { bias: zeros([to]) }),
  });
  const narrow = STD / Math.sqrt(2 * layers);
  return {
    norm1: initNorm(config),
    attention: {
      qkv: initLinear(qkv, C, C + 2 * keyValueHeads * C / heads),
      out: initLinear(out, C, C, narrow),
    },
    norm2: initNorm(config),
    mlp: {
      ...(mlp === "swiglu" && { gate: initLinear(split(up, 1)[0], C, hidden) }),
      up: initLinear(up, C, hidden),
      down: initLinear(down, hidden, C, narrow),
    },
  };
}

function initNorm(config: GptConfig): NormParams {
  const { channels, bias, norm } = complete(config);
  return { scale: ones([channels]), ...(bias && norm === "layer" && { shift: zeros([channels]) }) };
}

/**
 * Logits of the next token at every place: tokens `[B, T]` i32 -> `[B, T, V]`. With a `key`, dropout is on.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 */
export function apply(params: GptParams, tokens: Tensor, config: GptConfig, key?: Key): Tensor {
  return unembed(params, encode(params, tokens, config, { key }).x);
}

/**
 * Mean cross-entropy of the next token, in nats: the function to differentiate. It is f32 whatever the parameters are.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 */
export function loss(params: GptParams, { tokens, targets, key }: GptBatch, config: GptConfig): Tensor {
  return crossEntropy(cast(apply(params, tokens, config, key), "f32"), targets);
}

/**
 * What a model keeps of the tokens it has read, so that it need not read them again; always as large as the context, so
 * that one compiled function serves texts of every length.
 */
export interface GptCache {
  /** Keys and values of each block, `[2, B, G, 1, S, D]`. */
  readonly blocks: readonly Tensor[];
  /** Places that are filled: where the next token goes. i32 `[]` */
  readonly length: Tensor;
  /** Where each row's text begins; what lies before it is padding. i32 `[B]` */
  readonly start: Tensor;
}

/** What {@linkcode encode} takes besides tokens. */
export interface EncodeOptions {
  /** For dropout; without it nothing is dropped. */
  readonly key?: Key;
  /** What comes before the tokens. */
  readonly cache?: GptCache;
}

/**
 * The model without its last layer: tokens `[B, T]` -> x `[B, T, C]`; and the blocks of the cache, if there is one, with
 * the tokens in them.
 *
 * @throws {ShapeError} If there are more tokens in a row than the context holds.
 */
export function encode(
  params: GptParams,
  tokens: Tensor,
  config: GptConfig,
  { key, cache }: EncodeOptions = {},
): { readonly x: Tensor; readonly blocks: readonly Tensor[] } {
  const T = tokens.shape[1], { context, layers, dtype } = config;
  if (tokens.rank !== 2 || T > context) {
    throw new ShapeError(`Cannot apply a GPT to tokens ${show(tokens.shape)}: it takes [batch, at most ${context}]`);
  }
  const weights = dtype ? castFloats(params, dtype) : params;
  const [embeddingKey, ...keys] = key ? split(key, 1 + 3 * layers) : [];
  const places = placesOf(tokens, config, cache);
  let x = gather(weights.token, tokens); // [B, T, C]
  if (weights.position) {
    x = add(x, cache ? gather(weights.position, places.positions) : slice(weights.position, 0, T));
  }
  x = drop(x, config, embeddingKey);
  const blocks: Tensor[] = [];
  for (const [i, block] of weights.blocks.entries()) {
    const [scoresKey, attentionKey, mlpKey] = keys.slice(3 * i);
    const past = cache && { block: cache.blocks[i], length: cache.length };
    const looking = { ...places, past, key: scoresKey };
    const attended = attend(block.attention, normalize(x, block.norm1, config), config, looking);
    if (attended.block) blocks.push(attended.block);
    x = add(x, drop(attended.y, config, attentionKey));
    x = add(x, drop(feedForward(block.mlp, normalize(x, block.norm2, config), config), config, mlpKey));
  }
  return { x: normalize(x, weights.norm, config), blocks };
}

/** The last layer, `[..., C]` -> `[..., V]`: how well each token's embedding (or row of the output layer) fits. */
export function unembed({ token, output = token }: GptParams, x: Tensor): Tensor {
  return matmul(x, cast(output, x.dtype), { transposeB: true });
}

/** Where tokens stand, and what they may look at. */
interface Places {
  /** In the text: `[T]`, or `[B, T]` with a cache. */
  readonly positions: Tensor;
  /** The places of the cache, `[B, 1, 1, T, S]`; without it all tokens before. */
  readonly mask?: Tensor;
}

function placesOf(tokens: Tensor, { context }: GptConfig, cache: GptCache | undefined): Places {
  const [B, T] = tokens.shape, count = (n: number) => arange(n, { dtype: "i32", backend: tokens.backend.name });
  if (!cache) return { positions: count(T) };
  const at = add(cache.length, count(T)); // [T], in the cache
  const written = lessEqual(count(context), expandDims(at, 1)); // [T, S]
  const mask = and(written, greaterEqual(count(context), reshape(cache.start, [B, 1, 1]))); // [B, T, S]
  return { positions: max(sub(at, expandDims(cache.start, 1)), 0), mask: expandDims(mask, [1, 2]) };
}

function drop(x: Tensor, { dropout: rate = 0 }: GptConfig, key: Key | undefined): Tensor {
  return key && rate > 0 ? dropout(x, key, { rate }) : x;
}

function normalize(x: Tensor, params: NormParams, config: GptConfig): Tensor {
  const { norm, normEps: eps } = complete(config);
  return norm === "rms" ? rmsNorm(x, params, { eps }) : layerNorm(x, params, { eps });
}

/** What {@linkcode attend} takes besides x. */
interface AttendOptions extends Places {
  /** What is kept of earlier tokens, `[2, B, G, 1, S, D]`, and how many they are. */
  readonly past?: { readonly block: Tensor; readonly length: Tensor };
  readonly key?: Key;
}

/** Causal self-attention, `[B, T, C]` -> `[B, T, C]`; with a past, its block with these tokens in it too. */
function attend(
  { qkv, out }: BlockParams["attention"],
  x: Tensor,
  config: GptConfig,
  { positions, mask, past, key }: AttendOptions,
): { y: Tensor; block?: Tensor } {
  const [B, T, C] = x.shape, { heads: H, keyValueHeads: G } = complete(config), D = C / H;
  const [queries, keys, values] = split(reshape(linear(x, qkv), [B, T, H + 2 * G, D]), [H, G, G], { axis: 2 });
  const [q, ...kv] = [turn(queries, positions, config), turn(keys, positions, config), values]
    .map((part) => transpose(reshape(part, [B, T, G, -1, D]), [0, 2, 3, 1, 4])); // each [B, G, H/G or 1, T, D]
  const block = past && updateSlice(past.block, stack(kv), past.length, { axis: 4 }); // [2, B, G, 1, S, D]
  const [k, v] = block ? split(block, 2).map((part) => squeeze(part, 0)) : kv; // [B, G, 1, T or S, D]
  const y = key && config.dropout
    ? dropAttention(q, k, v, config, key)
    : attention(q, k, v, mask ? { mask } : { causal: true });
  return { y: linear(reshape(transpose(y, [0, 3, 1, 2, 4]), [B, T, C]), out), block };
}

/** Turns queries or keys `[B, T, heads, D]` by their positions, where these are rotary. */
function turn(x: Tensor, positions: Tensor, config: GptConfig): Tensor {
  const { positions: kind, rotaryBase: base } = complete(config);
  if (kind === "learned") return x;
  return rotary(x, expandDims(positions, -1), { base, pairs: kind === "rotary halves" ? "halves" : "neighbours" });
}

/** Causal attention that misses some of what it looks at; q `[B, G, H/G, T, D]`, k and v `[B, G, 1, T, D]`. */
function dropAttention(q: Tensor, k: Tensor, v: Tensor, config: GptConfig, key: Key): Tensor {
  const [T, D] = q.shape.slice(-2);
  const past = lessEqual(arange(T), expandDims(arange(T), 1)); // [T, T]
  const scores = mul(matmul(q, k, { transposeB: true }), 1 / Math.sqrt(D)); // [B, G, H/G, T, T]
  return matmul(drop(softmax(where(past, scores, -Infinity)), config, key), v);
}

/** The same network at every place, `[B, T, C]` -> `[B, T, C]`. */
function feedForward({ gate, up, down }: BlockParams["mlp"], x: Tensor, config: GptConfig): Tensor {
  const inside = gate
    ? mul(silu(linear(x, gate)), linear(x, up)) // [B, T, hidden]
    : gelu(linear(x, up), { approximate: config.gelu });
  return linear(inside, down);
}
