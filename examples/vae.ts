/**
 * A variational autoencoder learns handwritten digits, then shows what it keeps of them, what it makes up, and the plane
 * in which it keeps them: `deno task example examples/vae.ts`, or with `--help`.
 *
 * ```text
 *  MNIST ──> black and white ──> training, 20 latents ──> reconstructions.png, samples.png, learning.png, loss.svg
 *                          └───> training,  2 latents ──> map.png, classes.svg
 * ```
 *
 * Figures are nats per image; the negative evidence lower bound (of Kingma & Welling 2013) is the lower, the better.
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../mod.ts";
import * as vae from "../models/vae.ts";
import { count } from "../train/data.ts";
import { thousands } from "../train/progress.ts";
import { writeFile } from "./kit/files.ts";
import { type Digits, loadMnist } from "./kit/mnist.ts";
import { chooseBackend, example, type Main, makeFolder, start } from "./kit/run.ts";
import { COMMAND, type Flags, type VaeRun } from "./vae/flags.ts";
import { loadModel, saveModel } from "./vae/model.ts";
import * as pictures from "./vae/pictures.ts";
import type { Model } from "./vae/pictures.ts";
import { type Figures, makeTest, train } from "./vae/training.ts";

/** Digits to learn from, and digits to be tested on. */
type Data = Awaited<ReturnType<typeof loadMnist>>;

/** Contents of files by their names. */
type Files = Record<string, string | Uint8Array>;

/** The example as a function of its command line. */
export const main: Main = example(COMMAND, async (run) => {
  const { flags, screen } = run;
  screen.print(screen.bold("A variational autoencoder learns handwritten digits"));
  const data = await loadMnist(flags.data);
  sayData(run, data);
  await chooseBackend(flags, screen);
  const files = await (flags.from ? drawAgain(run, flags.from, data) : trainAndDraw(run, data));
  screen.print();
  screen.fact("saved", files.join(", "));
});

function sayData({ flags, screen }: VaeRun, { training, test }: Data): void {
  const [, , height, width] = training.images.shape;
  const counts = [training, test].map((digits) => thousands(count(digits)));
  screen.fact("images", `${counts[0]} to learn from, ${counts[1]} to be tested on, ${height} x ${width} pixels`);
  const how = flags.binarize === "sample"
    ? "white with the probability of their brightness: drawn anew in every step, once for the test"
    : "white from half brightness on";
  screen.fact("pixels", how);
}

/** Small, so that an epoch takes seconds: 3.5 million multiplications and additions an image. */
function configOf({ images }: Digits, latents: number, { beta }: Flags): vae.VaeConfig {
  const [, channels, size] = images.shape;
  return { size, channels, latents, widths: [16, 32], hidden: 256, beta };
}

function describe(config: vae.VaeConfig): string {
  const { latents, widths, hidden, beta } = config;
  return `${thousands(vae.parameterCount(config))} parameters: ${latents} latents, ` +
    `convolutions of ${widths.join(", ")} channels, ${hidden} hidden units, beta ${beta}`;
}

async function trainAndDraw(run: VaeRun, data: Data): Promise<string[]> {
  const { flags, screen } = run;
  const config = configOf(data.training, flags.latents, flags);
  screen.fact("model", describe(config));
  const folder = await makeFolder(run, "vae");

  const draws = pictures.watch(config, tn.key(flags.seed + 1));
  const { params, history } = await train({ run, folder, config, ...data, epochs: flags.epochs, draw: draws });
  const model = { params, config };
  await saveModel(join(folder, "model.safetensors"), model);
  screen.print();
  sayFigures(run, history.tests.at(-1)![1], data);

  const own = await draw(run, model, data);
  const plane = config.latents === 2 ? {} : await trainPlane(run, data, folder);
  const learning = {
    "learning.png": pictures.learning(history.drawn, config),
    "loss.svg": pictures.lossChart(history),
  };
  return [join(folder, "model.safetensors"), ...await write(folder, { ...own, ...learning, ...plane })];
}

function sayFigures({ screen }: VaeRun, { bound, reconstruction, divergence }: Figures, { test }: Data): void {
  screen.fact(
    "test",
    `${screen.bold(`${bound.toFixed(2)} nats`)} negative ELBO on ${thousands(count(test))} binarized images: ` +
      `${reconstruction.toFixed(2)} for the pixels, ${divergence.toFixed(2)} for the latents`,
  );
}

/** The pictures that a model alone can give. */
async function draw({ flags }: VaeRun, model: Model, { test }: Data): Promise<Files> {
  return {
    "reconstructions.png": await pictures.reconstructions(model, test, flags.binarize),
    "samples.png": await pictures.samples(model, tn.key(flags.seed)),
    ...(model.config.latents === 2 && {
      "map.png": await pictures.map(model),
      "classes.svg": await pictures.classes(model, test, flags.binarize),
    }),
  };
}

/** A model of two latents, which can be looked at whole. */
async function trainPlane(run: VaeRun, data: Data, folder: string): Promise<Files> {
  const { flags, screen, interrupt } = run, { mapEpochs: epochs } = flags;
  if (epochs === 0 || interrupt.aborted) return {};
  const config = configOf(data.training, 2, flags);
  screen.print();
  screen.fact("map", `a second model, of 2 latents (--map-epochs ${epochs})`);
  const { params } = await train({ run, folder, part: "map", config, ...data, epochs });
  const { "map.png": map, "classes.svg": classes } = await draw(run, { params, config }, data);
  return { "map.png": map, "classes.svg": classes };
}

/** Tests a saved model and draws its pictures. */
async function drawAgain(run: VaeRun, path: string, data: Data): Promise<string[]> {
  const { flags, screen } = run;
  const model = await loadModel(path);
  screen.fact("model", describe(model.config));
  const folder = await makeFolder({ flags }, "vae");
  const figures = await makeTest({ config: model.config, test: data.test, run })(model.params);
  sayFigures(run, figures, data);
  return await write(folder, await draw(run, model, data));
}

async function write(folder: string, files: Files): Promise<string[]> {
  const paths = Object.entries(files).map(([name, content]) => [join(folder, name), content] as const);
  for (const [path, content] of paths) await writeFile(path, content);
  return paths.map(([path]) => path);
}

if (import.meta.main) await start(main);
