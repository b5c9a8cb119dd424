/**
 * Four networks learn what first names sound like, and make up new ones: a tanh RNN, a GRU, an LSTM and a Transformer of
 * one size, on the same names, with the same recipe. In the spirit of makemore (https://github.com/karpathy/makemore).
 *
 * ```text
 *  .ishmael  ──> each letter, given those before it ──> ishmael.  ──> losses.svg, a table, names nobody has
 * ```
 *
 * @module
 */
import { join } from "@std/path";
import { writeSafetensors } from "../io/safetensors.ts";
import * as tn from "../mod.ts";
import { batches, type Dataset, random, stepsPerEpoch } from "../train/data.ts";
import { duration, type Screen, thousands } from "../train/progress.ts";
import { openCourse, walk } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { anytime, commonFlags, number, text, whole } from "./kit/flags.ts";
import { lineChart, type Point } from "./kit/pictures.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";
import { EDGE, encodeNames, lettersOf, loadNames } from "./names/list.ts";
import { type Network, networks } from "./names/models.ts";

const FLAGS = {
  data: text("PATH  a file with a name on each line (8,000 English first names, out of npm)"),
  epochs: whole(10, "passes over the names, for each network"),
  batch: whole(64, "names in a batch"),
  dropout: number(0.1, "part of the activations that is dropped in training", { most: 0.9 }),
  learningRate: number(4e-3, "at its peak"),
  names: anytime(whole(12, "new names to write with each network", { least: 0 })),
  temperature: anytime(number(0.9, "0 always takes the likeliest letter")),
  ...commonFlags("names"),
};

/** The program. */
export const main: Main = example({
  about: "RNN, GRU, LSTM and Transformer learn first names, are compared, and make up new ones.",
  usage: "deno task example examples/names.ts [flags]",
  flags: FLAGS,
  notes: "Ctrl-C ends the training of the network that is learning and leaves out those after it; --resume goes on.",
}, work);

async function work(run: Run<typeof FLAGS>): Promise<void> {
  const { flags, screen, interrupt } = run;
  screen.print(screen.bold("Four networks learn what names sound like"));
  const names = shuffled(await loadNames(flags.data), flags.seed), letters = lettersOf(names);
  const length = Math.max(...names.map((name) => [...name].length)) + 1;
  const tested = Math.ceil(names.length / 10);
  const [test, training] = [names.slice(0, tested), names.slice(tested)].map((part) =>
    encodeNames(part, letters, length)
  );
  screen.fact("names", `${thousands(names.length - tested)} to learn from, ${thousands(tested)} for the test`);
  await chooseBackend(flags, screen);
  const folder = await makeFolder(run, "names");

  const results: Result[] = [], known = new Set(names);
  for (const [i, network] of networks(letters.size, length, flags.dropout).entries()) {
    if (interrupt.aborted) break;
    screen.print(`\n${screen.bold(network.name)}, ${thousands(network.parameters)} parameters`);
    const result = await train({ network, run, folder, training, test });
    results.push(result);
    const options = { first: 0, stop: 0, length, temperature: flags.temperature, key: tn.key(flags.seed + i) };
    const rows = flags.names === 0 ? [] : await network.write(result.params, { ...options, rows: 4 * flags.names });
    const made = new Set(rows.map((row) => letters.decode(row)).filter((name) => name !== "" && !known.has(name)));
    screen.print(`  ${screen.dim("new names:")} ${[...made].slice(0, flags.names).map(capital).join(", ")}`);
    await writeSafetensors(join(folder, `${network.name.toLowerCase()}.safetensors`), result.params, {
      metadata: { format: "tenon names", letters: letters.symbols.join("").replace(EDGE, ""), network: network.name },
    });
  }
  await writeFile(join(folder, "losses.svg"), chart(results));
  screen.print();
  compare(results, screen);
  screen.print();
  screen.fact("look at", join(folder, "losses.svg"));
  screen.fact("saved", join(folder, "*.safetensors"));
}

/** The names in an order that the seed decides. */
function shuffled(names: readonly string[], seed: number): string[] {
  const order = [...names], chance = random(seed);
  for (let i = order.length - 1; i > 0; i--) {
    const k = chance.integer(i + 1);
    [order[i], order[k]] = [order[k], order[i]];
  }
  return order;
}

const capital = (name: string) => name.replace(/^./u, (first) => first.toUpperCase());

/** How a network has learned. */
interface Result {
  readonly network: Network;
  readonly params: unknown;
  /** Test losses by step. */
  readonly losses: readonly Point[];
  readonly seconds: number;
}

/** What to learn, and how. */
interface Job {
  readonly network: Network;
  readonly run: Run<typeof FLAGS>;
  readonly folder: string;
  readonly training: Dataset;
  readonly test: Dataset;
}

/** Everything that a training step replaces. */
interface Training {
  readonly params: unknown;
  readonly state: tn.OptimizerState;
  /** For dropout. */
  readonly key: tn.Key;
}

/** Names `[B, T]`, and their next letters. */
interface Batch {
  readonly tokens: tn.Tensor;
  readonly targets: tn.Tensor;
}

/** Mean cross-entropy of the letters and the ends of names, in nats. */
function lossOf({ apply }: Network, params: unknown, { tokens, targets }: Batch, key?: tn.Key): tn.Tensor {
  return tn.crossEntropy(apply(params, tokens, key), targets, { ignoreIndex: -1 });
}

function makeStep(network: Network, optimizer: tn.Optimizer) {
  return tn.compile(({ params, state, key }: Training, batch: Batch) => {
    const [nextKey, stepKey] = tn.split(key);
    const loss = (params: unknown) => lossOf(network, params, batch, stepKey);
    const [value, grads] = tn.valueAndGrad(loss)(params);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return [value, { params: nextParams, state: nextState, key: nextKey } as Training] as const;
  }, { donate: [0] });
}

/** The mean loss over all names of the test, each counting as often as it has letters. */
function makeTest(network: Network, test: Dataset) {
  const tokens = tn.tensor(test.tokens.data as Int32Array<ArrayBuffer>, { shape: test.tokens.shape });
  const targets = tn.tensor(test.targets.data as Int32Array<ArrayBuffer>, { shape: test.targets.shape });
  const loss = tn.compile((params: unknown, batch: Batch) => lossOf(network, params, batch));
  return async (params: unknown): Promise<number> => {
    using value = loss(params, { tokens, targets });
    return await value.item();
  };
}

/** Losses by step, and test losses after each epoch. */
interface History {
  readonly losses: number[];
  readonly tests: Point[];
}

async function train({ network, run, folder, training: names, test }: Job): Promise<Result> {
  const { flags: { batch: size, epochs, learningRate, seed }, screen, interrupt } = run;
  const total = epochs * stepsPerEpoch(names, { size, dropLast: true });
  const schedule = tn.schedules.oneCycle({ peak: learningRate, steps: total });
  const optimizer = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: schedule, weightDecay: 0.01 }));
  const [initKey, key] = tn.split(tn.key(seed)), initial = network.init(initKey);
  const fresh: Training = { params: initial, state: optimizer.init(initial), key };
  const history: History = { losses: [], tests: [] }, part = network.name.toLowerCase();
  const course = await openCourse(run, { folder, part, training: fresh, history });
  const { losses, tests } = course.history, step = makeStep(network, optimizer), measure = makeTest(network, test);
  const progress = screen.progress({ total, start: losses.length, interrupt });
  const { training: { params }, seconds } = await walk(course, {
    epochs,
    batches: (at) => batches(names, { size, key: seed, dropLast: true, at }),
    async step(training, { tokens, targets }) {
      const [loss, next] = step(training, { tokens, targets });
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, { loss: losses.at(-1), test: tests.at(-1)?.[1] });
      return next;
    },
    async look({ params }) {
      tests.push([losses.length, await measure(params)]);
      if (tests.length % 4 === 0 || losses.length === total) {
        progress.row(losses.length, { loss: losses.at(-1), test: tests.at(-1)![1] });
      }
    },
    interrupt,
  });
  return { network, params, losses: tests, seconds };
}

/** The table of results, best first. */
function compare(results: readonly Result[], screen: Screen): void {
  const final = ({ losses }: Result) => losses.at(-1)?.[1] ?? NaN;
  const rows = [...results].sort((a, b) => final(a) - final(b)).map((result) => [
    result.network.name,
    thousands(result.network.parameters),
    final(result).toFixed(4),
    Math.exp(final(result)).toFixed(2),
    duration(result.seconds),
  ]);
  const table = [["network", "parameters", "test loss", "perplexity", "time"], ...rows];
  const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
  for (const row of table) {
    screen.print(`  ${row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")}`);
  }
}

function chart(results: readonly Result[]): string {
  return lineChart({
    title: "Names: loss on those that were never learned",
    x: "step",
    y: "nats a letter",
    series: results.map(({ network, losses }) => ({ name: network.name, points: losses })),
  });
}

if (import.meta.main) await start(main);
