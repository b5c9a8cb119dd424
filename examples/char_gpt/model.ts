/**
 * A trained model in one file: weights, with the configuration and the vocabulary in its metadata.
 *
 * @module
 */
import type { GptConfig, GptParams } from "../../models/gpt.ts";
import { readSafetensors, writeSafetensors } from "../../io/safetensors.ts";
import { type Vocabulary, vocabulary } from "../../train/data.ts";

/** What is needed to write text. */
export interface Model {
  readonly params: GptParams;
  readonly config: GptConfig;
  readonly vocabulary: Vocabulary;
  /** How long it was trained. */
  readonly steps: number;
  readonly validationLoss: number;
}

const FORMAT = "tenon char_gpt";

/** Writes a model to `path`. */
export async function saveModel(path: string, model: Model): Promise<void> {
  const { params, config, steps, validationLoss } = model;
  await writeSafetensors(path, params, {
    metadata: {
      format: FORMAT,
      config: JSON.stringify(config),
      vocabulary: JSON.stringify(model.vocabulary.symbols.join("")),
      steps: String(steps),
      validationLoss: String(validationLoss),
    },
  });
}

/** Reads a model from `path`. Throws an `Error` that says what is wrong with the file. */
export async function loadModel(path: string): Promise<Model> {
  try {
    const { tree, metadata } = await readSafetensors(path);
    if (metadata.format !== FORMAT) throw new Error("this example did not write it");
    return {
      params: tree as GptParams,
      config: JSON.parse(metadata.config),
      vocabulary: vocabulary(JSON.parse(metadata.vocabulary)),
      steps: Number(metadata.steps),
      validationLoss: Number(metadata.validationLoss),
    };
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot load a model from ${path}: ${reason}`);
  }
}
