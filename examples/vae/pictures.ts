/**
 * What a trained VAE can show: what it keeps of images, what it makes up, and the plane in which it keeps them.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as vae from "../../models/vae.ts";
import { type Dataset, slice, take } from "../../train/data.ts";
import { byStep, lineChart, scatterChart, smooth } from "../kit/pictures.ts";
import { type Images, imageSheet } from "../kit/sheets.ts";
import type { Digits } from "../kit/mnist.ts";
import type { Flags } from "./flags.ts";
import { binarize, type History } from "./training.ts";

/** A trained model. */
export interface Model {
  readonly params: vae.VaeParams;
  readonly config: vae.VaeConfig;
}

/** Images in a row, and magnification, of the sheets. */
const COLUMNS = 10, SCALE = 3;

/** Labels there may be. */
const CLASSES = Array.from({ length: 10 }, (_, i) => i);

/** Host images with those of `more` behind them. */
function append(images: Images, more: Images): Images {
  const [first, ...rest] = images.shape;
  return { data: [...Array.from(images.data), ...Array.from(more.data)], shape: [first + more.shape[0], ...rest] };
}

async function read(images: tn.Tensor): Promise<Images> {
  using own = images;
  return { data: await own.data(), shape: own.shape };
}

function upload({ images }: Dataset): tn.Tensor {
  return tn.tensor(images.data, { shape: images.shape, dtype: "i32" });
}

/** Two images of each class, and under each what the model makes of it. */
export async function reconstructions(model: Model, test: Digits, how: Flags["binarize"]): Promise<Uint8Array> {
  const { params, config } = model, labels = Array.from(test.labels.data);
  const places = (label: number) => labels.flatMap((own, i) => own === label ? [i] : []);
  let sheet: Images | undefined;
  for (const nth of [0, 1]) {
    const chosen = CLASSES.flatMap((label) => places(label).slice(nth, nth + 1));
    if (chosen.length === 0) continue;
    const shown = tn.scope(() => {
      const pixels = binarize(upload(take(test, chosen)), how, tn.key(0));
      return [pixels, vae.reconstruct(params, pixels, config)];
    });
    for (const row of shown) {
      const images = await read(row);
      sheet = sheet ? append(sheet, images) : images;
    }
  }
  return imageSheet(sheet!, { columns: COLUMNS, scale: SCALE });
}

/** Images decoded from points `[N, Z]`. */
async function decoded({ params, config }: Model, latents: tn.Tensor): Promise<Images> {
  return await read(vae.sample(params, latents, config));
}

/** A hundred images out of nothing. */
export async function samples(model: Model, key: tn.Key): Promise<Uint8Array> {
  using latents = tn.normal(key, [COLUMNS ** 2, model.config.latents]);
  return imageSheet(await decoded(model, latents), { columns: COLUMNS, scale: SCALE });
}

/** Images in a row that is drawn as the model learns. */
const WATCHED = 12;

/** Draws a row of images from latents that are always the same: bytes, one a pixel. */
export function watch(config: vae.VaeConfig, key: tn.Key): (params: vae.VaeParams) => Promise<number[]> {
  const latents = tn.normal(key, [WATCHED, config.latents]);
  return async (params) =>
    Array.from((await decoded({ params, config }, latents)).data, (value) => Math.round(255 * value));
}

/** What {@linkcode watch} drew, row by row. */
export function learning(rows: readonly (readonly number[])[], { size, channels = 1 }: vae.VaeConfig): Uint8Array {
  const images = { data: rows.flat(), shape: [WATCHED * rows.length, channels, size, size] };
  return imageSheet(images, { columns: WATCHED, scale: SCALE, range: [0, 255] });
}

/** Middles of `parts` parts of a standard normal distribution that are equally likely, in order. */
function normalQuantiles(parts: number): number[] {
  const places: number[] = [], width = 1e-3;
  let below = 0;
  for (let x = -5; places.length < parts; x += width) {
    below += width * Math.exp(-(x ** 2) / 2) / Math.sqrt(2 * Math.PI);
    if (below >= (places.length + 0.5) / parts) places.push(x);
  }
  return places;
}

/** The whole plane of a model of 2 latents: as far to each side as the prior reaches, likelier places wider. */
export async function map(model: Model): Promise<Uint8Array> {
  const places = normalQuantiles(20);
  const points = places.toReversed().flatMap((y) => places.map((x) => [x, y])); // up is up
  using latents = tn.tensor(points);
  return imageSheet(await decoded(model, latents), { columns: places.length, scale: 2, padding: 0 });
}

/** Where a model of 2 latents puts test images. */
export async function classes({ params, config }: Model, test: Digits, how: Flags["binarize"]): Promise<string> {
  const seen = slice(test, { end: 3000 }); // more would hide each other
  using means = tn.scope(() => vae.encode(params, binarize(upload(seen), how, tn.key(0)), config).mean);
  const points = await means.array() as [number, number][];
  return scatterChart({
    title: "Where test images lie in the plane",
    x: "first latent",
    y: "second latent",
    classes: CLASSES.map((label) => ({
      name: String(label),
      points: points.filter((_, i) => seen.labels.data[i] === label),
    })),
  });
}

/** The bound as it falls, without the steep beginning beside which the rest would look flat. */
export function lossChart({ losses, tests }: History): string {
  const begin = Math.ceil(losses.length / 20);
  const training = byStep(smooth(losses, 20));
  return lineChart({
    title: "Negative evidence lower bound",
    x: "step",
    y: "nats per image",
    series: [
      { name: "training (loss)", points: training.slice(begin) },
      {
        name: "test",
        points: tests.filter(([at]) => at >= begin).map(([at, { bound }]) => [at, bound]),
        symbols: true,
      },
    ],
  });
}
