/**
 * Four kinds of networks that continue a row of letters, of about the same size, seen the same way.
 *
 * @module
 */
import type * as tn from "../../mod.ts";
import * as gpt from "../../models/gpt.ts";
import * as lstm from "../../models/lstm.ts";

/** A network: its parameters are its own business. */
export interface Network {
  readonly name: string;
  readonly parameters: number;
  init(key: tn.Key): unknown;
  /** Tokens `[B, T]` -> logits of the next `[B, T, V]`. */
  apply(params: unknown, tokens: tn.Tensor, key?: tn.Key): tn.Tensor;
  /** Rows of tokens that begin with `first` and end before `stop`. */
  write(params: unknown, options: WriteOptions): Promise<number[][]>;
}

/** What to write. */
export interface WriteOptions {
  readonly first: number;
  readonly stop: number;
  readonly rows: number;
  /** Most tokens in a row. */
  readonly length: number;
  readonly temperature: number;
  readonly key: tn.Key;
}

const prompts = ({ first, rows }: WriteOptions) => Array.from({ length: rows }, () => [first]);
const choices = ({ stop, length, temperature, key }: WriteOptions) => ({ stop: [stop], length, temperature, key });

function recurrent(name: string, config: lstm.TokenConfig): Network {
  const own = (params: unknown) => params as lstm.TokenParams;
  return {
    name,
    parameters: lstm.parameterCount(config),
    init: (key) => lstm.initTokens(key, config),
    apply: (params, tokens, key) => lstm.applyTokens(own(params), tokens, config, { key })[0],
    write: (params, options) => lstm.generateAll(own(params), prompts(options), config, choices(options)),
  };
}

function transformer(name: string, config: gpt.GptConfig): Network {
  const own = (params: unknown) => params as gpt.GptParams;
  return {
    name,
    parameters: gpt.parameterCount(config),
    init: (key) => gpt.init(key, config),
    apply: (params, tokens, key) => gpt.apply(own(params), tokens, config, key),
    write: (params, options) => gpt.generateAll(own(params), prompts(options), config, choices(options)),
  };
}

/** The competitors, for rows of `context` of `vocabSize` different tokens. */
export function networks(vocabSize: number, context: number, dropout: number): Network[] {
  const common = { vocabSize, channels: 32, dropout };
  return [
    recurrent("RNN", { ...common, cell: "rnn", hidden: 192 }),
    recurrent("GRU", { ...common, cell: "gru", hidden: 104 }),
    recurrent("LSTM", { ...common, cell: "lstm", hidden: 88 }),
    transformer("Transformer", { vocabSize, context, layers: 3, heads: 4, channels: 36, dropout, bias: false }),
  ];
}
