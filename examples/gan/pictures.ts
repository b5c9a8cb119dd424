/**
 * What a training leaves to look at: sheets of digits, always from the same latents, a strip that shows them improve, and
 * curves.
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../../mod.ts";
import * as gan from "../../models/gan.ts";
import { writeFile } from "../kit/files.ts";
import { lineChart, smooth } from "../kit/pictures.ts";
import { imageSheet } from "../kit/sheets.ts";
import type { Verdict } from "./quality.ts";

/** Digits in a row of a sheet; the strip has one such row for every epoch. */
export const COLUMNS = 10;
/** Rows of a sheet. */
export const ROWS = 10;
/** How digits are drawn: a screen's pixel is small. */
export const LOOK = {
  columns: COLUMNS,
  scale: 2,
  padding: 2,
  range: [-1, 1] as const,
  background: [40, 40, 40] as const,
};

/** Draws the sheet of an epoch; returns its first row: bytes, one a pixel. */
export type Draw = (generator: gan.Generator, epoch: number) => Promise<number[]>;

/** Draws `samples-<epoch>.png` into `folder`, always from the same latents; with classes, every column shows one digit. */
export function makeDraw(folder: string, config: gan.GanConfig, key: tn.Key): Draw {
  const latent = tn.normal(key, [ROWS * COLUMNS, config.latent]);
  const labels = tn.tensor(Int32Array.from({ length: ROWS * COLUMNS }, (_, i) => i % COLUMNS));
  const input = config.classes ? { latent, labels } : { latent };
  const draw = tn.compile((generator: gan.Generator, input: gan.GeneratorInput) =>
    gan.sample(generator, input, config)
  );
  return async (generator, epoch) => {
    using images = draw(generator, input); // [ROWS·COLUMNS, 1, S, S]
    const data = await images.data();
    await writeFile(join(folder, `samples-${epoch}.png`), imageSheet({ data, shape: images.shape }, LOOK));
    return Array.from(data.subarray(0, data.length / ROWS), (value) => Math.round(127.5 * (value + 1)));
  };
}

/** The first rows of all sheets, one below the other. */
export function stripOf(rows: readonly (readonly number[])[], { size }: gan.GanConfig): Uint8Array {
  return imageSheet({ data: rows.flat(), shape: [rows.length * COLUMNS, 1, size, size] }, { ...LOOK, range: [0, 255] });
}

/** What is known after each update, and after each epoch. */
export interface History {
  /** Losses of the discriminator: one for each of its updates. */
  readonly discriminator: number[];
  /** Losses of the generator, each with the number of updates of the discriminator before it. */
  readonly generator: (readonly [update: number, loss: number])[];
  /** Verdicts, each with the number of updates of the discriminator before it. */
  readonly verdicts: (readonly [update: number, verdict: Verdict])[];
  /** Beginnings of the sheets that came with the verdicts. */
  readonly rows: number[][];
}

/** Both losses by updates, smoothed. */
export function lossChart({ discriminator, generator }: History, title: string): string {
  const along = (places: readonly number[], losses: readonly number[]) =>
    smooth(losses).map((loss, i) => [places[i], loss] as const);
  return lineChart({
    title,
    x: "updates of the discriminator",
    y: "loss",
    series: [
      { name: "discriminator", points: along(discriminator.map((_, i) => i + 1), discriminator) },
      { name: "generator", points: along(generator.map(([at]) => at), generator.map(([, loss]) => loss)) },
    ],
  });
}

/** The distance to real digits by updates, above that of real ones. */
export function distanceChart({ verdicts }: History, title: string, floor: number): string {
  const points = verdicts.map(([at, { distance }]) => [at, distance] as const);
  return lineChart({
    title,
    x: "updates of the discriminator",
    y: "Fréchet distance to test digits",
    logY: true,
    series: [
      { name: "made digits", points, symbols: true },
      { name: "real digits", points: points.map(([at]) => [at, floor] as const), dashed: true },
    ],
  });
}
