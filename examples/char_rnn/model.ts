/**
 * A trained model of tokens in one file: weights, with the configuration and the vocabulary in its metadata.
 *
 * @module
 */
import { readSafetensors, writeSafetensors } from "../../io/safetensors.ts";
import type { TokenConfig, TokenParams } from "../../models/lstm.ts";

/** What is needed to use a model. */
export interface Saved {
  readonly params: TokenParams;
  readonly config: TokenConfig;
  /** What the tokens stand for. */
  readonly symbols: readonly string[];
  /** How long it was trained, and how well it does. */
  readonly facts: Readonly<Record<string, number>>;
}

/** Writes a model to `path`; `format` says which program it belongs to. */
export async function saveModel(path: string, format: string, model: Saved): Promise<void> {
  const { params, config, symbols, facts } = model;
  const metadata = {
    format: `tenon ${format}`,
    config: JSON.stringify(config),
    symbols: JSON.stringify(symbols),
    facts: JSON.stringify(facts),
  };
  await writeSafetensors(path, params, { metadata });
}

/** Reads a model from `path`. Throws an `Error` that says what is wrong with the file. */
export async function loadModel(path: string, format: string): Promise<Saved> {
  try {
    const { tree, metadata } = await readSafetensors(path);
    if (metadata.format !== `tenon ${format}`) throw new Error("this example did not write it");
    const [config, symbols, facts] = [metadata.config, metadata.symbols, metadata.facts].map((text) =>
      JSON.parse(text)
    );
    return { params: tree as TokenParams, config, symbols, facts };
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot load a model from ${path}: ${reason}`);
  }
}
