/**
 * Models of tokens made of recurrent layers: they write text, or judge it.
 *
 * ```text
 *  tokens [B, T] ──> embedding, or one-hot ──> layers ──> linear: [B, T, V], what comes next
 *                                                    └──> pool ──> linear: [B, outputs], what the whole is
 * ```
 *
 * @module
 */
import { ShapeError } from "../../core/errors.ts";
import { scope } from "../../core/scope.ts";
import { show } from "../../core/shape.ts";
import type { Tensor } from "../../core/tensor.ts";
import {
  arange,
  cast,
  crossEntropy,
  div,
  dropout,
  embedding,
  expandDims,
  type Key,
  less,
  linear,
  type LinearParams,
  max,
  normal,
  split,
  sum,
  transpose,
  uniform,
  where,
} from "../../ops/mod.ts";
import {
  apply,
  type ApplyOptions,
  init,
  layerParameterCount,
  type LstmConfig,
  type LstmParams,
  type LstmState,
} from "../lstm.ts";

/** A model of tokens: what each is, recurrent layers, a linear layer. */
export interface TokenConfig extends Omit<LstmConfig, "inputs"> {
  /** Number of different tokens, V. */
  readonly vocabSize: number;
  /** Channels of an embedding, C; without it the layers read one-hot vectors. */
  readonly channels?: number;
  /** How many numbers come out; V by default. */
  readonly outputs?: number;
  /** Judge each sequence as a whole, by the largest or the mean output of each unit; by default, every step of it. */
  readonly pool?: "max" | "mean";
}

/** Parameters of a model of tokens. */
export interface TokenParams {
  /** `[V, C]`, where there is one. */
  readonly embedding?: Tensor;
  /** See {@linkcode LstmParams}. */
  readonly layers: LstmParams;
  /** `weight` `[D·H, outputs]` and `bias` `[outputs]`. */
  readonly head: Required<LinearParams>;
}

/** What {@linkcode loss} takes. */
export interface TokenBatch extends ApplyOptions {
  /** `[B, T]` i32 */
  readonly tokens: Tensor;
  /** i32: `[B, T]`, the token that comes next, or -1 where none counts; with `pool`, `[B]`, the class of the whole. */
  readonly targets: Tensor;
}

function layersOf({ channels, vocabSize, ...config }: TokenConfig): LstmConfig {
  return { ...config, inputs: channels ?? vocabSize };
}

/** Number of parameters of a model of tokens. */
export function parameterCount(config: TokenConfig): number {
  const { vocabSize: V, channels: C = 0, hidden: H, bidirectional = false, outputs = V } = config;
  return C * V + layerParameterCount(layersOf(config)) + ((bidirectional ? 2 : 1) * H + 1) * outputs;
}

/**
 * Fresh parameters of a model of tokens: a normal embedding, layers as by {@linkcode init}, and a last layer that
 * PyTorch would draw as well.
 *
 * @throws {ArgumentError} If a size is not a whole number of at least 1, or the dropout is not in [0, 1).
 * @example
 * ```ts
 * import { key, tensor, use } from "@tenon/ml";
 * import * as lstm from "@tenon/ml/models/lstm";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: lstm.TokenConfig = { cell: "gru", vocabSize: 5, hidden: 8 };
 * const params = lstm.initTokens(key(0), config);
 * const [logits, state] = lstm.applyTokens(params, tensor([[0, 1, 2]], { dtype: "i32" }), config);
 * assertEquals(logits.shape, [1, 3, 5]); // what may follow each token
 * const [next] = lstm.applyTokens(params, tensor([[3]], { dtype: "i32" }), config, { state }); // goes on
 * assertEquals(next.shape, [1, 1, 5]);
 * ```
 */
export function initTokens(key: Key, config: TokenConfig): TokenParams {
  const { vocabSize, channels, hidden, bidirectional = false, outputs = vocabSize } = config;
  return scope(() => {
    const [tableKey, layersKey, weightKey, biasKey] = split(key, 4);
    const width = bidirectional ? 2 * hidden : hidden, bound = 1 / Math.sqrt(width);
    return {
      ...(channels !== undefined && { embedding: normal(tableKey, [vocabSize, channels]) }),
      layers: init(layersKey, layersOf(config)),
      head: {
        weight: uniform(weightKey, [width, outputs], { min: -bound, max: bound }),
        bias: uniform(biasKey, [outputs], { min: -bound, max: bound }),
      },
    };
  });
}

/**
 * What the model says of tokens `[B, T]` i32: `[B, T, outputs]`, or `[B, outputs]` with `pool`; and the last state.
 *
 * With a key, dropout is on: between the layers, and before and after them all.
 *
 * @throws {ShapeError} If shapes do not fit.
 */
export function applyTokens(
  params: TokenParams,
  tokens: Tensor,
  config: TokenConfig,
  options: ApplyOptions = {},
): [logits: Tensor, state: LstmState] {
  if (tokens.rank !== 2) throw new ShapeError(`Cannot read tokens ${show(tokens.shape)}: they must be [batch, time]`);
  return scope(() => {
    const [firstKey, layersKey, lastKey] = options.key ? split(options.key, 3) : [];
    const ids = transpose(tokens); // [T, B]
    const xs = params.embedding ? drop(embedding(params.embedding, ids), config, firstKey) : ids; // [T, B, C]
    const [outputs, state] = apply(params.layers, xs, layersOf(config), { ...options, key: layersKey }); // [T, B, D·H]
    const seen = drop(config.pool ? pooled(outputs, config.pool, options.lengths) : outputs, config, lastKey);
    const logits = linear(seen, params.head);
    return [config.pool ? logits : transpose(logits, [1, 0, 2]), state];
  });
}

function drop(x: Tensor, { dropout: rate = 0 }: TokenConfig, key: Key | undefined): Tensor {
  return key && rate > 0 ? dropout(x, key, { rate }) : x;
}

/** All steps of each sequence as one: `[T, B, D·H]` -> `[B, D·H]`. */
function pooled(outputs: Tensor, pool: "max" | "mean", lengths: Tensor | undefined): Tensor {
  const T = outputs.shape[0];
  if (pool === "mean") {
    const counts = lengths ? expandDims(cast(lengths, outputs.dtype), 1) : T; // [B, 1]
    return div(sum(outputs, { axis: 0 }), counts); // outputs past the end are 0
  }
  if (!lengths) return max(outputs, { axis: 0 });
  const steps = arange(T, { backend: outputs.backend.name });
  const runs = expandDims(less(expandDims(steps, 1), lengths), 2); // [T, B, 1]
  return max(where(runs, outputs, -1), { axis: 0 }); // no output is less than -1
}

/**
 * Mean cross-entropy of the targets, in nats: the function to differentiate.
 *
 * @throws {ShapeError} If shapes do not fit.
 */
export function loss(params: TokenParams, batch: TokenBatch, config: TokenConfig): Tensor {
  return lossAndState(params, batch, config)[0];
}

/**
 * The {@linkcode loss} and the last state, from which the next batch may go on: truncated back-propagation through time
 * is `valueAndGrad(lossAndState, { hasAux: true })`.
 *
 * @throws {ShapeError} If shapes do not fit.
 */
export function lossAndState(params: TokenParams, batch: TokenBatch, config: TokenConfig): [Tensor, LstmState] {
  return scope(() => {
    const { tokens, targets, ...options } = batch;
    const [logits, state] = applyTokens(params, tokens, config, options);
    return [crossEntropy(logits, targets, { ignoreIndex: -1 }), state];
  });
}
