/**
 * What a GPT can be: sizes and choices, and those of models that are known by name.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";

/** Sizes and choices of a model; what is optional is GPT-2's unless given. */
export interface GptConfig {
  /** Number of different tokens, V. */
  readonly vocabSize: number;
  /** Most tokens the model can look at. */
  readonly context: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** Attention heads, H; they share the channels evenly. */
  readonly heads: number;
  /** Width of the residual stream, C. */
  readonly channels: number;
  /** Heads of keys and values, G, each for as many heads of queries (Ainslie et al. 2023, arXiv:2305.13245); H by default. */
  readonly keyValueHeads?: number;
  /** Width inside a block's network; 4·C by default. */
  readonly hidden?: number;
  /** The network inside: `gelu` (the default), or `swiglu` with a gate (Shazeer 2020, arXiv:2002.05202). */
  readonly mlp?: "gelu" | "swiglu";
  /** GELU exactly (`none`, the default) or as GPT-2 was trained (`tanh`). */
  readonly gelu?: "none" | "tanh";
  /** `layer` (the default), or `rms` (Zhang and Sennrich 2019, arXiv:1910.07467). */
  readonly norm?: "layer" | "rms";
  /** Added to the variance by norms; 1e-5 by default. */
  readonly normEps?: number;
  /**
   * How positions are told: a table of them is `learned` (the default), or queries and keys turn with them (Su et al.
   * 2021, arXiv:2104.09864), channels i and i + D/2 of a head together (`halves`) or 2i and 2i + 1 (`neighbours`).
   */
  readonly positions?: "learned" | "rotary halves" | "rotary neighbours";
  /** Of rotary positions; 10,000 by default. */
  readonly rotaryBase?: number;
  /** Whether the embedding is the last layer's weight too; true by default. */
  readonly tied?: boolean;
  /** Whether linear layers add a bias and layer norms a shift; true by default. */
  readonly bias?: boolean;
  /** Part of the activations that is dropped in training (where a key is given); 0 by default. */
  readonly dropout?: number;
  /** What parameters are cast to before they are used; activations follow. They stay as they are by default. */
  readonly dtype?: "f32" | "f16";
}

/**
 * The GPT-2 family, as released by OpenAI, and a Llama with weights in Hugging Face's order.
 *
 * @see https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
 * @see https://github.com/jzhang38/TinyLlama
 */
export const presets: Readonly<Record<"gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl" | "tinyllama", GptConfig>> = {
  "gpt2": { vocabSize: 50257, context: 1024, layers: 12, heads: 12, channels: 768, gelu: "tanh" },
  "gpt2-medium": { vocabSize: 50257, context: 1024, layers: 24, heads: 16, channels: 1024, gelu: "tanh" },
  "gpt2-large": { vocabSize: 50257, context: 1024, layers: 36, heads: 20, channels: 1280, gelu: "tanh" },
  "gpt2-xl": { vocabSize: 50257, context: 1024, layers: 48, heads: 25, channels: 1600, gelu: "tanh" },
  "tinyllama": {
    vocabSize: 32000,
    context: 2048,
    layers: 22,
    heads: 32,
    keyValueHeads: 4,
    channels: 2048,
    hidden: 5632,
    mlp: "swiglu",
    norm: "rms",
    positions: "rotary halves",
    tied: false,
    bias: false,
  },
};

/** The configuration with everything in it. */
export function complete(config: GptConfig): Required<Omit<GptConfig, "dtype">> {
  const { heads, channels } = config;
  return {
    ...config,
    keyValueHeads: config.keyValueHeads ?? heads,
    hidden: config.hidden ?? 4 * channels,
    mlp: config.mlp ?? "gelu",
    gelu: config.gelu ?? "none",
    norm: config.norm ?? "layer",
    normEps: config.normEps ?? 1e-5,
    positions: config.positions ?? "learned",
    rotaryBase: config.rotaryBase ?? 1e4,
    tied: config.tied ?? true,
    bias: config.bias ?? true,
    dropout: config.dropout ?? 0,
  };
}

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
export function parameterCount(config: GptConfig): number {
  const { vocabSize, context, layers, heads, keyValueHeads, hidden, mlp, ...rest } = complete(config);
  const { channels: C, bias, norm: kind, positions, tied } = rest;
  const norm = bias && kind === "layer" ? 2 * C : C;
  const linear = (from: number, to: number) => from * to + (bias ? to : 0);
  const attention = linear(C, C + 2 * keyValueHeads * C / heads) + linear(C, C);
  const network = (mlp === "swiglu" ? 2 : 1) * linear(C, hidden) + linear(hidden, C);
  const tables = (tied ? 1 : 2) * vocabSize * C + (positions === "learned" ? context * C : 0);
  return tables + layers * (2 * norm + attention + network) + norm;
}

/** Throws unless the sizes fit each other. */
export function validate(config: GptConfig): void {
  const { channels, heads, keyValueHeads, positions, dropout: rate } = complete(config);
  if (channels % heads !== 0) {
    throw new ArgumentError(`Cannot make a GPT of ${channels} channels and ${heads} heads: they do not divide evenly`);
  }
  if (heads % keyValueHeads !== 0) {
    throw new ArgumentError(
      `Cannot make a GPT of ${heads} heads and ${keyValueHeads} heads of keys and values: they do not divide evenly`,
    );
  }
  if (positions !== "learned" && channels / heads % 2 !== 0) {
    throw new ArgumentError(
      `Cannot make a GPT with rotary positions and heads of ${channels / heads} channels: they turn in pairs`,
    );
  }
  if (!(rate >= 0 && rate < 1)) throw new ArgumentError(`Cannot make a GPT with dropout ${rate}: it must be in [0, 1)`);
}
