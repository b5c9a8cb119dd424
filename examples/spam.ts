/**
 * A recurrent network learns to tell spam from mail that someone wanted to read, and judges yours.
 *
 * ```text
 *  6,046 mails ──> words ──> embedding ──> LSTM both ways ──> largest outputs ──> spam?    ──> model.safetensors, roc.svg
 *     mail.txt ──> words ──────────────────── --from runs/spam ─────────────────> spam, and the words that moved it
 * ```
 * `deno task example examples/spam.ts`, then `deno task example examples/spam.ts --from runs/spam mail.txt`.
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../mod.ts";
import * as lstm from "../models/lstm.ts";
import { batches, type Dataset, type Random, stepsPerEpoch, type Vocabulary, vocabulary } from "../train/data.ts";
import { accuracy, auc, confusionMatrix, precisionRecall, rocCurve } from "../train/metrics.ts";
import { duration, percent, type Screen, thousands } from "../train/progress.ts";
import { loadModel, type Saved, saveModel } from "./char_rnn/model.ts";
import { openCourse, walk } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { anytime, commonFlags, type FlagsOf, number, text, whole } from "./kit/flags.ts";
import { rocChart } from "./kit/pictures.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";
import { commonWords, isForTest, loadMails, type Mail } from "./spam/corpus.ts";
import { wordsOf } from "./spam/mail.ts";
import { encodeMails, judge, makeStep, type Training, UNKNOWN, weigh } from "./spam/reader.ts";

const FLAGS = {
  mail: anytime(text("PATH  a mail to judge; as the last argument it needs no flag (standard input, with --from)")),
  from: text("FOLDER  judge with the model saved there"),
  epochs: whole(6, "passes over the mails"),
  batch: whole(64, "mails in a batch"),
  length: whole(200, "words that are read of a mail", { least: 2 }),
  channels: whole(48, "channels of a word"),
  hidden: whole(48, "units of the network in each direction"),
  dropout: number(0.4, "part of the activations that is dropped in training", { most: 0.9 }),
  learningRate: number(4e-3, "at its peak"),
  ...commonFlags("spam"),
};

type Flags = FlagsOf<typeof FLAGS>;

const program = example({
  about: "A recurrent network learns to tell spam from wanted mail, and judges a mail of yours.",
  usage: "deno task example examples/spam.ts [flags] [mail.txt]",
  flags: FLAGS,
  notes: "Ctrl-C stops after the current step and saves what there is; --resume goes on from there.",
}, (run) => run.flags.from ? judgeAgain(run, run.flags.from) : trainAndJudge(run));

/** The program; a last argument that belongs to no flag is the mail. */
export const main: Main = (args, output, interrupt) => {
  const [before, last] = args.slice(-2).length === 2 ? args.slice(-2) : ["", args[0] ?? "-"];
  const free = !last.startsWith("-") && (!before.startsWith("--") || before.includes("="));
  return program(free ? [...args.slice(0, -1), `--mail=${last}`] : args, output, interrupt);
};

async function trainAndJudge(run: Run<typeof FLAGS>): Promise<void> {
  const { flags, screen } = run;
  const { length, channels, hidden, dropout } = flags;
  screen.print(screen.bold("A recurrent network learns to tell spam from wanted mail"));
  const mails = await loadMails(length);
  const training = mails.filter((mail) => !isForTest(mail)), test = mails.filter(isForTest);
  const words = vocabulary([UNKNOWN, ...commonWords(training, 3)], { unknown: UNKNOWN });
  screen.fact("mails", `${describeMails(training)} to learn from; ${describeMails(test)} for the test`);
  await chooseBackend(flags, screen);
  const config: lstm.TokenConfig = {
    vocabSize: words.size,
    channels,
    hidden,
    bidirectional: true,
    dropout,
    pool: "max",
    outputs: 2,
  };
  screen.fact("model", `${thousands(lstm.parameterCount(config))} parameters, ${thousands(words.size)} words`);
  const folder = await makeFolder(run, "spam");

  const [learned, tested] = [training, test].map((mails) => encodeMails(mails, words, length));
  const { params, seconds } = await train({ run, folder, config, training: learned, test: tested });
  const scores = await judge(params, tested, config), labels = tested.targets.data;
  const correct = accuracy(scores.map((score) => score > 0 ? 1 : 0), labels);
  const model = { params, config, symbols: words.symbols, facts: { accuracy: correct, length } };
  await saveModel(join(folder, "model.safetensors"), "spam", model);
  await writeFile(join(folder, "roc.svg"), roc(scores, labels));
  screen.print();
  report(scores, labels, screen);
  screen.fact("trained", duration(seconds));
  screen.fact("look at", join(folder, "roc.svg"));
  screen.fact("saved", join(folder, "model.safetensors"));
  screen.fact("again", `deno task example examples/spam.ts --from ${folder} mail.txt`);
  if (flags.mail) await judgeMail(await Deno.readTextFile(flags.mail), model, screen);
}

function describeMails(mails: readonly Mail[]): string {
  return `${thousands(mails.length)} (${thousands(mails.filter(({ label }) => label === 1).length)} spam)`;
}

/** What to learn, and how. */
interface Job {
  readonly run: Run<typeof FLAGS>;
  readonly folder: string;
  readonly config: lstm.TokenConfig;
  readonly training: Dataset;
  readonly test: Dataset;
}

/** Part of the words that are unknown in training, so that no single one decides. */
const HIDDEN_WORDS = 0.1;

function hideWords({ tokens, ...rest }: Dataset, random: Random): Dataset {
  const data = Int32Array.from(tokens.data, (token) => random.uniform() < HIDDEN_WORDS ? 0 : token);
  return { ...rest, tokens: { ...tokens, data } };
}

async function train({ run, folder, config, training: mails, test }: Job) {
  const { flags: { batch: size, epochs, learningRate: peak, seed }, screen, interrupt } = run;
  const perEpoch = stepsPerEpoch(mails, { size, dropLast: true }), total = epochs * perEpoch;
  const optimizer = tn.chain(
    tn.clipByGlobalNorm(1),
    tn.adam({ learningRate: tn.schedules.oneCycle({ peak, steps: total }) }),
  );
  const [initKey, key] = tn.split(tn.key(seed)), drawn = lstm.initTokens(initKey, config);
  // small at first, so that a rare word is what was learned of it, not what was drawn
  const initial = { ...drawn, embedding: tn.mul(drawn.embedding!, 0.1) };
  const fresh: Training = { params: initial, state: optimizer.init(initial), key };
  const course = await openCourse(run, { folder, training: fresh, history: { losses: [] as number[] } });
  const { losses } = course.history, step = makeStep(config, optimizer);
  const progress = screen.progress({ total, start: losses.length, interrupt });
  const { training: { params }, seconds } = await walk(course, {
    epochs,
    batches: (at) => batches(mails, { size, key: seed, dropLast: true, at, map: hideWords }),
    async step(training, { tokens, lengths, targets }) {
      const [loss, next] = step(training, { tokens, lengths, targets });
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, { loss: losses.at(-1) });
      return next;
    },
    async look({ params }) {
      const scores = await judge(params, test, config);
      const correct = accuracy(scores.map((score) => score > 0 ? 1 : 0), test.targets.data);
      progress.row(losses.length, { loss: losses.at(-1), test: percent(correct) });
    },
    interrupt,
  });
  return { params, seconds };
}

function roc(scores: readonly number[], labels: ArrayLike<number>): string {
  const title = `Spam found, and wanted mail lost: area ${auc(scores, labels).toFixed(4)}`;
  return rocChart({ title, curves: [{ name: "LSTM, both ways", points: rocCurve(scores, labels) }] });
}

function report(scores: readonly number[], labels: ArrayLike<number>, screen: Screen): void {
  const predictions = scores.map((score) => score > 0 ? 1 : 0);
  const { precision, recall } = precisionRecall(predictions, labels);
  const [[, lost], [missed]] = confusionMatrix(predictions, labels, { classes: 2 });
  screen.fact("accuracy", `${percent(accuracy(predictions, labels))} of ${thousands(scores.length)} test mails`);
  screen.fact("mistakes", `${missed} spam taken for wanted, ${lost} wanted taken for spam`);
  screen.fact(
    "spam",
    `precision ${percent(precision)}, recall ${percent(recall)}, area under ROC ${auc(scores, labels).toFixed(4)}`,
  );
}

async function judgeAgain({ flags, screen }: Run<typeof FLAGS>, from: string): Promise<void> {
  await chooseBackend(flags, screen);
  const model = await loadModel(from.endsWith(".safetensors") ? from : join(from, "model.safetensors"), "spam");
  screen.fact("model", `right about ${percent(model.facts.accuracy)} of its test mails`);
  if (!flags.mail && Deno.stdin.isTerminal()) {
    screen.print(screen.dim("  reading a mail from the terminal, to its end"));
  }
  await judgeMail(
    flags.mail ? await readMail(flags.mail) : await new Response(Deno.stdin.readable).text(),
    model,
    screen,
  );
}

async function readMail(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot read ${path}: ${reason}`);
  }
}

async function judgeMail(text: string, { params, config, symbols, facts }: Saved, screen: Screen): Promise<void> {
  const words: Vocabulary = vocabulary(symbols, { unknown: UNKNOWN });
  const mail: Mail = { words: wordsOf(text).slice(0, facts.length), label: 1 };
  const [odds] = await judge(params, encodeMails([mail], words, facts.length), config);
  const chance = 1 / (1 + Math.exp(-odds));
  screen.print();
  screen.fact("verdict", `${screen.bold(odds > 0 ? "spam" : "wanted")} (spam with ${percent(chance)})`);
  const weights = await weigh(params, mail, config, words);
  const list = (sign: 1 | -1) =>
    weights.filter(({ weight }) => sign * weight > 0.05).slice(0, 8)
      .map(({ word, weight }) => `${word} ${(sign * weight).toFixed(1)}`).join(", ") || "none";
  screen.fact("for spam", list(1));
  screen.fact("against", list(-1));
  screen.print(screen.dim("  (by how much the log-odds change when the word is hidden)"));
}

if (import.meta.main) await start(main);
