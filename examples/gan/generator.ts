/**
 * A trained generator in a file, and what it draws when it is asked again.
 *
 * @module
 */
import { join } from "@std/path";
import { readSafetensors, writeSafetensors } from "../../io/safetensors.ts";
import * as tn from "../../mod.ts";
import * as gan from "../../models/gan.ts";
import { writeFile } from "../kit/files.ts";
import { imageSheet } from "../kit/sheets.ts";
import { COLUMNS, LOOK, ROWS } from "./pictures.ts";
import type { Kind } from "./recipes.ts";

/** What is needed to draw. */
export interface Trained {
  readonly kind: Kind;
  readonly generator: gan.Generator;
  readonly config: gan.GanConfig;
}

/** The file in the folder of a training. */
const FILE = "generator.safetensors";
const FORMAT = "tenon gan";

/** Writes it to `folder`; returns the path. */
export async function saveGenerator(folder: string, { kind, generator, config }: Trained): Promise<string> {
  const path = join(folder, FILE), metadata = { format: FORMAT, kind, config: JSON.stringify(config) };
  await writeSafetensors(path, generator, { metadata });
  return path;
}

/** Reads what {@linkcode saveGenerator} wrote. Throws an `Error` that says what is wrong with the file. */
export async function loadGenerator(folder: string): Promise<Trained> {
  const path = join(folder, FILE);
  try {
    const { tree, metadata } = await readSafetensors(path);
    if (metadata.format !== FORMAT) throw new Error("this example did not write it");
    return {
      kind: metadata.kind as Kind,
      generator: tree as unknown as gan.Generator,
      config: JSON.parse(metadata.config),
    };
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot load a generator from ${path}: ${reason}`);
  }
}

/** What to draw, and by which chance. */
export interface Order {
  /** Digits such as `2718`, one picture each; a sheet of any digits without it. */
  readonly write?: string;
  readonly key: tn.Key;
}

/** Draws into `folder`; returns the path. */
export async function drawAgain(folder: string, trained: Trained, { write, key }: Order): Promise<string> {
  const { generator, config, kind } = trained;
  if (write !== undefined && !config.classes) {
    throw new Error(`Cannot ask a ${kind} for digits: only a cgan is told any`);
  }
  if (write !== undefined && !/^\d+$/.test(write)) throw new Error(`Cannot write "${write}": it takes digits alone`);
  const digits = write ? [...write].map(Number) : Array.from({ length: ROWS * COLUMNS }, (_, i) => i % COLUMNS);
  const labels = tn.tensor(Int32Array.from(digits)), latent = tn.normal(key, [digits.length, config.latent]);
  using images = gan.sample(generator, { latent, ...(config.classes && { labels }) }, config);
  const path = join(folder, write ? `${write}.png` : "samples.png");
  const columns = write ? Math.min(digits.length, 4 * COLUMNS) : COLUMNS;
  await writeFile(path, imageSheet({ data: await images.data(), shape: images.shape }, { ...LOOK, columns }));
  return path;
}
