/**
 * Text as numbers: vocabularies, and the windows that a model learns from.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import type { HostArray } from "./dataset.ts";

/** Symbols (characters, words) in an order; a symbol's token is its position. */
export interface Vocabulary {
  /** In the order of their tokens. */
  readonly symbols: readonly string[];
  /** How many there are. */
  readonly size: number;
  /** Whether there is such a symbol. */
  has(symbol: string): boolean;
  /** Tokens of a text's characters, or of a list of words. */
  encode(symbols: Iterable<string>): Int32Array<ArrayBuffer>;
  /** The symbols of tokens, joined without anything between them. */
  decode(tokens: Iterable<number>): string;
}

/** What a vocabulary does with what it lacks. */
export interface VocabularyOptions {
  /** The symbol that stands for all others; without it, `encode` throws. */
  readonly unknown?: string;
}

/**
 * A vocabulary of these symbols, in this order; repeated ones count once.
 *
 * @throws {ArgumentError} If `unknown` is not among them.
 * @example
 * ```ts
 * import { charactersOf, vocabulary } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const letters = vocabulary(charactersOf("hello world"));
 * assertEquals(letters.decode(letters.encode("hold")), "hold");
 *
 * const words = vocabulary(["<unk>", "call", "me"], { unknown: "<unk>" });
 * assertEquals([...words.encode(["call", "me", "ishmael"])], [1, 2, 0]);
 * ```
 */
export function vocabulary(symbols: Iterable<string>, { unknown }: VocabularyOptions = {}): Vocabulary {
  const all = [...new Set(symbols)];
  const tokens = new Map(all.map((symbol, token) => [symbol, token]));
  const other = unknown === undefined ? undefined : tokens.get(unknown);
  if (unknown !== undefined && other === undefined) {
    throw new ArgumentError(`Cannot use ${JSON.stringify(unknown)} for unknown symbols: the vocabulary lacks it`);
  }
  const encode = (symbol: string) => {
    const token = tokens.get(symbol) ?? other;
    if (token === undefined) throw new ArgumentError(`Cannot encode ${JSON.stringify(symbol)}: the text never has it`);
    return token;
  };
  return {
    symbols: all,
    size: all.length,
    has: (symbol) => tokens.has(symbol),
    encode: (text) => Int32Array.from(text, encode),
    decode: (tokens) => Array.from(tokens, (token) => all[token]).join(""),
  };
}

/**
 * The different characters of a text, in the order of their code points.
 *
 * @example
 * ```ts
 * import { charactersOf } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(charactersOf("hello"), ["e", "h", "l", "o"]);
 * ```
 */
export function charactersOf(text: string): string[] {
  return [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
}

/** Windows of a text, and the same windows one token later: both i32 `[N, T]`. */
export type Windows = Readonly<Record<"tokens" | "targets", HostArray<Int32Array>>>;

/** The windows of `length` tokens that begin at `starts`. */
function windowsAt(tokens: Int32Array, starts: readonly number[], length: number): Windows {
  const shifted = (by: number): HostArray<Int32Array> => {
    const data = new Int32Array(starts.length * length);
    starts.forEach((start, i) => data.set(tokens.subarray(start + by, start + by + length), i * length));
    return { data, shape: [starts.length, length] };
  };
  return { tokens: shifted(0), targets: shifted(1) };
}

/** How windows lie in a text. */
export interface WindowsOptions {
  /** Tokens in a window, T. */
  readonly length: number;
  /** Tokens between the beginnings of two windows; `length` by default. */
  readonly stride?: number;
}

/**
 * Windows in a row, as many as fit.
 *
 * @throws {ArgumentError} If not one fits.
 * @example
 * ```ts
 * import { windows } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const { tokens, targets } = windows(Int32Array.of(0, 1, 2, 3, 4, 5, 6), { length: 3 });
 * assertEquals([...tokens.data], [0, 1, 2, 3, 4, 5]);
 * assertEquals([...targets.data], [1, 2, 3, 4, 5, 6]);
 * ```
 */
export function windows(tokens: Int32Array, { length, stride = length }: WindowsOptions): Windows {
  const count = Math.floor((tokens.length - 1 - length) / stride) + 1;
  if (!(count >= 1 && length >= 1 && stride >= 1)) {
    throw new ArgumentError(`Cannot cut windows of ${length} tokens, ${stride} apart, from a text of ${tokens.length}`);
  }
  return windowsAt(tokens, Array.from({ length: count }, (_, i) => i * stride), length);
}

/** How a text is read by several readers at once. */
export interface StreamsOptions {
  /** Readers, each with a part of the text for itself. */
  readonly batch: number;
  /** Tokens that each reads in a step, T. */
  readonly length: number;
}

/**
 * Windows for a model that carries its state from batch to batch: the text is cut into `batch` parts, and each step reads
 * on in all of them. In batches of `batch` examples, unshuffled, a row goes on where the same row of the last one ended.
 *
 * @throws {ArgumentError} If the parts are too short for one window.
 * @example
 * ```ts
 * import { streams } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const text = Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8);
 * const { tokens } = streams(text, { batch: 2, length: 2 });
 * assertEquals([...tokens.data], [0, 1, 4, 5, 2, 3, 6, 7]); // first step: [0, 1], [4, 5]
 * ```
 */
export function streams(tokens: Int32Array, { batch, length }: StreamsOptions): Windows {
  const part = Math.floor((tokens.length - 1) / batch), steps = Math.floor(part / length);
  if (!(steps >= 1)) {
    throw new ArgumentError(`Cannot read a text of ${tokens.length} tokens in ${batch} parts, ${length} at a time`);
  }
  const starts = Array.from({ length: steps * batch }, (_, i) => (i % batch) * part + Math.floor(i / batch) * length);
  return windowsAt(tokens, starts, length);
}
