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

/** Draws sheets, and remembers the first row of each. */
export interface Album {
  /** Writes `samples-<epoch>.png`, and the strip so far. */
  add(generator: gan.Generator, epoch: number): Promise<void>;
}

/** An album in `folder`; with classes, every column shows one digit. */
export function makeAlbum(folder: string, config: gan.GanConfig, key: tn.Key): Album {
  const latent = tn.normal(key, [ROWS * COLUMNS, config.latent]);
  const labels = tn.tensor(Int32Array.from({ length: ROWS * COLUMNS }, (_, i) => i % COLUMNS));
  const input = config.classes ? { latent, labels } : { latent };
  const draw = tn.compile((generator: gan.Generator, input: gan.GeneratorInput) =>
    gan.sample(generator, input, config)
  );
  const strip: number[] = [];
  return {
    async add(generator, epoch) {
      using images = draw(generator, input); // [ROWS·COLUMNS, 1, 28, 28]
      const data = await images.data(), shape = images.shape.slice(1);
      await writeFile(join(folder, `samples-${epoch}.png`), imageSheet({ data, shape: images.shape }, LOOK));
      strip.push(...data.subarray(0, data.length / ROWS));
      const rows = { data: strip, shape: [strip.length * ROWS * COLUMNS / data.length, ...shape] };
      await writeFile(join(folder, "strip.png"), imageSheet(rows, LOOK));
    },
  };
}

/** What is known after each update, and after each epoch. */
export interface History {
  /** Losses of the discriminator: one for each of its updates. */
  readonly discriminator: number[];
  /** Losses of the generator, each with the number of updates of the discriminator before it. */
  readonly generator: (readonly [update: number, loss: number])[];
  /** Verdicts, each with the number of updates of the discriminator before it. */
  readonly verdicts: (readonly [update: number, verdict: Verdict])[];
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
