/**
 * Recurrent networks: plain tanh cells, LSTM and GRU, in layers, both ways, over sequences of any lengths. Models of
 * tokens made of them, which write text or judge it, are in `lstm/tokens.ts` and exported here.
 *
 * Shapes are written as B batch, T time, I inputs, H hidden units, G gates (4 LSTM, 3 GRU, 1 plain), D directions (2 if
 * bidirectional), L layers; for tokens, V different ones and C channels of an embedding.
 *
 * Weights are PyTorch's, with its names, shapes and order, so that what `nn.LSTM`, `nn.GRU` and `nn.RNN` save is what
 * {@linkcode apply} takes, and the other way round. No speed is lost: the product along time reads a transposed copy,
 * which is made once a call. Time comes first, as it does there.
 *
 * @example A layer saved by PyTorch
 * ```ts ignore
 * import { readSafetensors } from "@tenon/ml/io/safetensors";
 * import * as lstm from "@tenon/ml/models/lstm";
 *
 * // from safetensors.torch import save_file; save_file(torch.nn.LSTM(8, 16, num_layers=2).state_dict(), "lstm.safetensors")
 * const { tree: params } = await readSafetensors("lstm.safetensors");
 * const [outputs, { hidden, cell }] = lstm.apply(params as lstm.LstmParams, xs, { inputs: 8, hidden: 16, layers: 2 });
 * ```
 *
 * @see https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  add,
  concat,
  dropout,
  full,
  type Key,
  type RecurrentParams,
  slice,
  split,
  squeeze,
  stack,
  transpose,
  uniform,
  zeros,
} from "../ops/mod.ts";
import { gru, lstm, rnn } from "../transforms/recurrent.ts";

export {
  applyTokens,
  initTokens,
  loss,
  lossAndState,
  parameterCount,
  type TokenBatch,
  type TokenConfig,
  type TokenParams,
} from "./lstm/tokens.ts";
export { generate, generateAll } from "./lstm/generate.ts";
export type { GenerateOptions } from "./generate.ts";
export { type ChoiceOptions, chooseTokens } from "./sampling.ts";

/** What the layers are made of. */
export interface LstmConfig {
  /** `lstm` (the default), `gru`, or `rnn` for plain tanh cells. */
  readonly cell?: "lstm" | "gru" | "rnn";
  /** Width of what comes in, I. */
  readonly inputs: number;
  /** Units of a layer, H. */
  readonly hidden: number;
  /** Layers, each reading what the one before gives; 1 by default. */
  readonly layers?: number;
  /** Whether each layer also walks from the end to the start; its outputs are then twice as wide. False by default. */
  readonly bidirectional?: boolean;
  /** Whether gates have biases; true by default. */
  readonly bias?: boolean;
  /** What the forget gates of a fresh LSTM begin with (Jozefowicz et al. 2015 advise 1); 0, as PyTorch has it, by default. */
  readonly forgetBias?: number;
  /** Part of each layer's outputs that the next one misses in training (where a key is given); 0 by default. */
  readonly dropout?: number;
}

/** What PyTorch calls a layer in one direction; the names of its weights end so. */
export type LayerName = `l${number}` | `l${number}_reverse`;

/**
 * Weights by PyTorch's names: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then `..._l0_reverse`, then
 * the next layer's. Gates stand below each other: input, forget, cell, output (LSTM); reset, update, new (GRU).
 */
export interface LstmParams {
  /** `[G·H, I]`, `[G·H, D·H]` from the second layer on: from the input to the gates. */
  readonly [input: `weight_ih_${LayerName}`]: Tensor;
  /** `[G·H, H]`: from the last hidden state to the gates. */
  readonly [hidden: `weight_hh_${LayerName}`]: Tensor;
  /** `[G·H]`, added to the input's part. */
  readonly [bias: `bias_ih_${LayerName}`]: Tensor;
  /** `[G·H]`, added to the hidden part; a GRU multiplies it by the reset gate. */
  readonly [bias: `bias_hh_${LayerName}`]: Tensor;
}

/** What is handed from step to step: `[L·D, B, H]`, each layer's directions one after the other, as PyTorch's. */
export interface LstmState {
  /** What the cells show. */
  readonly hidden: Tensor;
  /** What the cells of an LSTM remember. */
  readonly cell?: Tensor;
}

/** How {@linkcode apply} runs. */
export interface ApplyOptions {
  /** Where to begin; zeros by default. */
  readonly state?: LstmState;
  /** Steps of each sequence, i32 `[B]`, as packed sequences have them; all steps by default. */
  readonly lengths?: Tensor;
  /** For dropout; without it nothing is dropped. */
  readonly key?: Key;
}

const GATES = { lstm: 4, gru: 3, rnn: 1 } as const;

/** The places of a model's weights, layer by layer. */
function placesOf({ layers = 1, bidirectional = false }: LstmConfig): LayerName[][] {
  return Array.from(
    { length: layers },
    (_, layer): LayerName[] => [`l${layer}`, ...(bidirectional ? [`l${layer}_reverse` as const] : [])],
  );
}

function validate({ hidden, layers = 1, dropout: rate = 0 }: LstmConfig): void {
  for (const [what, n] of [["hidden units", hidden], ["layers", layers]] as const) {
    if (!(Number.isInteger(n) && n > 0)) {
      throw new ArgumentError(`Cannot make a recurrent network of ${n} ${what}: it takes a whole number of at least 1`);
    }
  }
  if (!(rate >= 0 && rate < 1)) {
    throw new ArgumentError(`Cannot make a recurrent network with dropout ${rate}: it must be in [0, 1)`);
  }
}

/** Number of weights in the layers. */
export function layerParameterCount(config: LstmConfig): number {
  const { cell = "lstm", inputs, hidden: H, bias = true } = config, rows = GATES[cell] * H;
  const place = (inputs: number) => rows * (inputs + H + (bias ? 2 : 0));
  return placesOf(config).reduce(
    (total, { length: D }, layer) => total + D * place(layer === 0 ? inputs : D * H),
    0,
  );
}

/**
 * Fresh weights, drawn from `key` as PyTorch draws them: evenly from `-1/√H` to `1/√H`.
 *
 * @throws {ArgumentError} If a size is not a whole number of at least 1, or the dropout is not in [0, 1).
 * @example
 * ```ts
 * import { key, normal, use } from "@tenon/ml";
 * import * as lstm from "@tenon/ml/models/lstm";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const config: lstm.LstmConfig = { inputs: 3, hidden: 4, layers: 2, bidirectional: true };
 * const params = lstm.init(key(0), config);
 * assertEquals(params.weight_ih_l1_reverse.shape, [16, 8]);
 *
 * const xs = normal(key(1), [5, 2, 3]); // 5 steps of 2 sequences
 * const [outputs, { hidden }] = lstm.apply(params, xs, config);
 * assertEquals([outputs.shape, hidden.shape], [[5, 2, 8], [4, 2, 4]]);
 * ```
 */
export function init(key: Key, config: LstmConfig): LstmParams {
  validate(config);
  const { cell = "lstm", inputs, hidden: H, bias = true, forgetBias = 0 } = config;
  const places = placesOf(config), rows = GATES[cell] * H, bound = 1 / Math.sqrt(H);
  return scope(() => {
    const params: Record<keyof LstmParams, Tensor> = {};
    const keys = split(key, 4 * places.flat().length);
    const draw = (shape: number[]) => uniform(keys.shift()!, shape, { min: -bound, max: bound });
    const remember = cell === "lstm" && forgetBias !== 0
      ? (drawn: Tensor) => add(drawn, concat([zeros([H]), full([H], forgetBias), zeros([2 * H])]))
      : (drawn: Tensor) => drawn;
    places.forEach((directions, layer) =>
      directions.forEach((place) => {
        params[`weight_ih_${place}`] = draw([rows, layer === 0 ? inputs : directions.length * H]);
        params[`weight_hh_${place}`] = draw([rows, H]);
        if (bias) params[`bias_ih_${place}`] = remember(draw([rows]));
        if (bias) params[`bias_hh_${place}`] = draw([rows]);
      })
    );
    return params;
  });
}

/**
 * The outputs of the last layer at every step, and the last state of all: xs `[T, B, I]` -> `[T, B, D·H]`. Instead of
 * vectors, xs may be numbers i32 `[T, B]`: those of the input that is 1 while all others are 0.
 *
 * Past its length a sequence's outputs are 0 and its state stays; the walk backwards begins at its length.
 *
 * @throws {ShapeError} If shapes do not fit.
 */
export function apply(
  params: LstmParams,
  xs: Tensor,
  config: LstmConfig,
  { state, lengths, key }: ApplyOptions = {},
): [outputs: Tensor, state: LstmState] {
  const { cell = "lstm", dropout: rate = 0 } = config, places = placesOf(config);
  return scope(() => {
    const keys = key && split(key, places.length);
    const first = state && states(state, config); // of each place
    const last: OneState[] = [];
    let x = xs;
    places.forEach((directions, layer) => {
      if (layer > 0 && keys && rate > 0) x = dropout(x, keys[layer], { rate });
      const outputs = directions.map((place, direction) => {
        const options = { reverse: direction === 1, lengths, state: first?.[last.length] };
        const [ys, end] = walk(cell, x, weightsAt(params, place), options);
        last.push(end);
        return ys;
      });
      x = outputs.length === 1 ? outputs[0] : concat(outputs, -1); // [T, B, D·H]
    });
    const hidden = stack(last.map(({ hidden }) => hidden)); // [L·D, B, H]
    return [x, cell === "lstm" ? { hidden, cell: stack(last.map(({ cell }) => cell!)) } : { hidden }];
  });
}

/** The state of one layer in one direction, `[B, H]`. */
interface OneState {
  readonly hidden: Tensor;
  readonly cell?: Tensor;
}

/** `[L·D, B, H]` -> `[B, H]` for each layer and direction. */
function states({ hidden, cell }: LstmState, config: LstmConfig): OneState[] {
  const count = placesOf(config).flat().length;
  if (hidden.rank !== 3 || hidden.shape[0] !== count || hidden.shape[2] !== config.hidden) {
    throw new ShapeError(
      `Cannot begin with a hidden state of ${show(hidden.shape)}: it must be [${count},batch,${config.hidden}]`,
    );
  }
  if (!cell && (config.cell ?? "lstm") === "lstm") {
    throw new ArgumentError("Cannot begin an LSTM with a hidden state alone: it has cells as well");
  }
  const part = (all: Tensor, i: number) => squeeze(slice(all, i, i + 1), 0);
  return Array.from({ length: count }, (_, i) => ({ hidden: part(hidden, i), ...(cell && { cell: part(cell, i) }) }));
}

/** Weights as the ops take them, inputs first; the transposes are views that products read in place. */
function weightsAt(params: LstmParams, place: LayerName): RecurrentParams {
  const bias = params[`bias_ih_${place}`], hiddenBias = params[`bias_hh_${place}`];
  return {
    input: transpose(params[`weight_ih_${place}`]), // [I, G·H]
    hidden: transpose(params[`weight_hh_${place}`]), // [H, G·H]
    ...(bias && { bias }),
    ...(hiddenBias && { hiddenBias }),
  };
}

/** One layer in one direction: `[T, B, I]` -> `[T, B, H]`. */
function walk(
  cell: "lstm" | "gru" | "rnn",
  xs: Tensor,
  params: RecurrentParams,
  { state, ...options }: { readonly state?: OneState; readonly reverse: boolean; readonly lengths?: Tensor },
): [outputs: Tensor, end: OneState] {
  if (cell === "lstm") return lstm(xs, params, { ...options, ...(state && { state: state as Required<OneState> }) });
  const layer = cell === "gru" ? gru : rnn;
  const [outputs, hidden] = layer(xs, params, { ...options, ...(state && { hidden: state.hidden }) });
  return [outputs, { hidden }];
}
