/**
 * A trained model in one file: weights, with the configuration in its metadata.
 *
 * @module
 */
import { readSafetensors, writeSafetensors } from "../../io/safetensors.ts";
import type { VaeParams } from "../../models/vae.ts";
import type { Model } from "./pictures.ts";

const FORMAT = "tenon vae";

/** Writes a model to `path`. */
export async function saveModel(path: string, { params, config }: Model): Promise<void> {
  await writeSafetensors(path, params, { metadata: { format: FORMAT, config: JSON.stringify(config) } });
}

/** Reads a model from `path`. Throws an `Error` that says what is wrong with the file. */
export async function loadModel(path: string): Promise<Model> {
  try {
    const { tree, metadata } = await readSafetensors(path);
    if (metadata.format !== FORMAT) throw new Error("this example did not write it");
    return { params: tree as VaeParams, config: JSON.parse(metadata.config) };
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot load a model from ${path}: ${reason}`);
  }
}
