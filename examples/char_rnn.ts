/**
 * A recurrent network learns a text character by character, then writes some: `deno task example examples/char_rnn.ts`.
 *
 * ```text
 *  text ──> 50 readers side by side ──> 50 characters a step, the state carried on ──> model.safetensors, loss.svg
 *                                                                                            └──> a sample
 * ```
 * The recipe is that of Karpathy's char-rnn (https://github.com/karpathy/char-rnn): two layers of 128 LSTM cells that
 * read one-hot characters, RMSprop, gradients cut to ±5 and back-propagation truncated after 50 characters. His run takes
 * fifty passes at a learning rate of 0.002; this one takes five and begins at 0.005.
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../mod.ts";
import * as lstm from "../models/lstm.ts";
import { batches, charactersOf, type Dataset, stepsPerEpoch, streams, vocabulary } from "../train/data.ts";
import { duration, type Progress, type Screen, thousands } from "../train/progress.ts";
import { loadText } from "./char_gpt/text.ts";
import { loadModel, type Saved, saveModel } from "./char_rnn/model.ts";
import { openCourse, walk } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { anytime, choice, commonFlags, type FlagsOf, number, text, whole } from "./kit/flags.ts";
import { byStep, lineChart, smooth } from "./kit/pictures.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";

const FLAGS = {
  data: text("PATH|URL  text to learn (Moby-Dick, out of npm)"),
  cell: choice(["lstm", "gru", "rnn"], "what the layers are made of"),
  layers: whole(2, "layers"),
  hidden: whole(128, "units of a layer"),
  epochs: whole(5, "passes over the text"),
  batch: whole(50, "readers side by side"),
  length: whole(50, "characters that each reads in a step"),
  dropout: number(0, "part of each layer's outputs that is dropped in training", { most: 0.9 }),
  learningRate: number(5e-3, "at the beginning; falls to a tenth"),
  from: text("FOLDER  only write a sample with the model saved there"),
  sample: anytime(whole(800, "characters to write at the end", { least: 0 })),
  temperature: anytime(number(0.8, "0 always takes the likeliest character")),
  prompt: anytime(text("TEXT  how the sample begins (a new line)")),
  ...commonFlags("char_rnn"),
};

type Flags = FlagsOf<typeof FLAGS>;

/** The program. */
export const main: Main = example({
  about: "A recurrent network learns to continue a text character by character, and writes some.",
  usage: "deno task example examples/char_rnn.ts [flags]",
  flags: FLAGS,
  notes: "Ctrl-C stops after the current step and keeps the weights; --resume goes on from there.",
}, (run) => run.flags.from ? sampleAgain(run, run.flags.from) : trainAndSample(run));

async function trainAndSample(run: Run<typeof FLAGS>): Promise<void> {
  const { flags, screen, interrupt } = run;
  const { cell, layers, hidden, dropout, batch, length } = flags;
  screen.print(screen.bold("A recurrent network learns to write, character by character"));
  const text = await loadText(flags.data);
  const characters = vocabulary(charactersOf(text.content)), tokens = characters.encode(text.content);
  characters.encode(flags.prompt ?? "");
  screen.fact("text", `${text.name}: ${thousands(tokens.length)} characters, ${characters.size} different`);
  await chooseBackend(flags, screen);
  const config: lstm.TokenConfig = { cell, vocabSize: characters.size, hidden, layers, dropout, forgetBias: 1 };
  screen.fact("model", describe(config));
  const cut = Math.floor(tokens.length * 0.95);
  const training = streams(tokens.subarray(0, cut), { batch, length });
  const validation = streams(tokens.subarray(cut), { batch, length });
  const folder = await makeFolder(run, "char_rnn");

  const { params, losses, validations, seconds } = await train({ run, folder, config, training, validation });
  const facts = { steps: losses.length, validationLoss: validations.at(-1)![1] };
  const model = { params, config, symbols: characters.symbols, facts };
  await saveModel(join(folder, "model.safetensors"), "char_rnn", model);
  await writeFile(join(folder, "loss.svg"), chart(losses, validations, text.name));
  if (!interrupt.aborted) await writeSample(flags, model, screen);
  screen.print();
  const pace = losses.length === 0 ? "" : `, ${(1000 * seconds / losses.length).toFixed(0)} ms a step`;
  screen.fact("trained", `${thousands(losses.length)} steps in ${duration(seconds)}${pace}`);
  screen.fact("loss", `${facts.validationLoss.toFixed(4)} nats a character on text it never learned from`);
  screen.fact("look at", join(folder, "loss.svg"));
  screen.fact("saved", join(folder, "model.safetensors"));
  screen.fact("again", `deno task example examples/char_rnn.ts --from ${folder} --temperature 0.5`);
}

function describe(config: lstm.TokenConfig): string {
  const { cell, layers, hidden } = config;
  return `${cell}: ${thousands(lstm.parameterCount(config))} parameters, ${layers} layers of ${hidden} units`;
}

/** What to learn, and how. */
interface Job {
  readonly run: Run<typeof FLAGS>;
  readonly folder: string;
  readonly config: lstm.TokenConfig;
  readonly training: Dataset;
  readonly validation: Dataset;
}

/** Everything that a training step replaces. */
interface Training {
  readonly params: lstm.TokenParams;
  readonly optimizer: tn.OptimizerState;
  /** Where the readers stand. */
  readonly state: lstm.LstmState;
  /** For dropout. */
  readonly key: tn.Key;
}

type Batch = Pick<lstm.TokenBatch, "tokens" | "targets">;

/** The state in which reading begins. */
function beginning({ cell, layers, hidden }: lstm.TokenConfig, batch: number): lstm.LstmState {
  const zeros = () => tn.zeros([layers!, batch, hidden]);
  return cell === "lstm" ? { hidden: zeros(), cell: zeros() } : { hidden: zeros() };
}

/** One step: the gradient of 50 characters, cut to ±5; the readers' state goes on, no gradient goes back through it. */
function makeStep(config: lstm.TokenConfig, optimizer: tn.Optimizer) {
  return tn.compile(({ params, optimizer: memory, state, key }: Training, batch: Batch) => {
    const [nextKey, stepKey] = tn.split(key);
    const differentiate = tn.valueAndGrad(lstm.lossAndState, { hasAux: true });
    const [[loss, nextState], grads] = differentiate(params, { ...batch, state, key: stepKey }, config);
    const cut = tn.tree.map((grad: tn.Tensor) => tn.clamp(grad, { min: -5, max: 5 }), grads);
    const [nextParams, nextMemory] = optimizer.update(cut, memory, params);
    const next: Training = { params: nextParams, optimizer: nextMemory, state: nextState, key: nextKey };
    return [loss, next] as const;
  }, { donate: [0] });
}

/** How a training went. */
interface History {
  /** Of each step. */
  readonly losses: number[];
  /** Before the first step, and after each pass. */
  readonly validations: [step: number, loss: number][];
}

async function train({ run, folder, config, training: text, validation }: Job) {
  const { flags: { batch: size, epochs, learningRate, seed }, screen, interrupt } = run;
  const total = epochs * stepsPerEpoch(text, { size });
  const schedule = tn.schedules.cosine({ from: learningRate, to: learningRate / 10, steps: total });
  const optimizer = tn.rmsprop({ learningRate: schedule, decay: 0.95 });
  const [initKey, key] = tn.split(tn.key(seed)), initial = lstm.initTokens(initKey, config);
  const fresh: Training = { params: initial, optimizer: optimizer.init(initial), state: beginning(config, size), key };
  const history: History = { losses: [], validations: [] };
  const course = await openCourse(run, { folder, training: fresh, history });
  const { losses, validations } = course.history;
  const step = makeStep(config, optimizer), validate = makeValidation(config, validation, size);
  const progress: Progress = screen.progress({ total, start: losses.length, interrupt });
  const look = async ({ params }: Training) => {
    validations.push([losses.length, await validate(params)]);
    progress.row(losses.length, { loss: losses.at(-1), validation: validations.at(-1)![1] });
  };

  if (validations.length === 0) await look(course.training);
  const { training: { params }, seconds } = await walk(course, {
    epochs,
    batches: (at) => batches(text, { size, at }),
    async step(training, { tokens, targets }, at) {
      const state = at.step === 0 ? beginning(config, size) : training.state; // the readers begin anew in each pass
      const [loss, next] = step({ ...training, state }, { tokens, targets });
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, { loss: losses.at(-1), validation: validations.at(-1)![1] });
      return next;
    },
    look,
    interrupt,
  });
  return { params, losses, validations, seconds };
}

/** The mean loss over a text that is read from its beginning. */
function makeValidation(config: lstm.TokenConfig, text: Dataset, size: number) {
  const read = tn.compile(
    (params: lstm.TokenParams, state: lstm.LstmState, batch: Batch) =>
      lstm.lossAndState(params, { ...batch, state }, config),
    { donate: [1] },
  );
  return async (params: lstm.TokenParams): Promise<number> => {
    let state = beginning(config, size), total = 0, count = 0;
    for await (using batch of batches(text, { size })) {
      const [loss, next] = read(params, state, { tokens: batch.tokens, targets: batch.targets });
      state = next;
      total += await loss.item();
      count++;
      loss.dispose();
    }
    for (const tensor of tn.tree.leaves(state) as tn.Tensor[]) tensor.dispose();
    return total / count;
  };
}

function chart(losses: readonly number[], validations: readonly [number, number][], name: string): string {
  return lineChart({
    title: `${name}: loss of a recurrent network on characters`,
    x: "step",
    y: "nats a character",
    series: [
      { name: "training", points: byStep(smooth(losses)) },
      { name: "validation", points: validations.slice(1), symbols: true },
    ],
  });
}

async function sampleAgain({ flags, screen }: Run<typeof FLAGS>, from: string): Promise<void> {
  await chooseBackend(flags, screen);
  const model = await loadModel(from.endsWith(".safetensors") ? from : join(from, "model.safetensors"), "char_rnn");
  const { steps, validationLoss } = model.facts;
  screen.fact("model", describe(model.config));
  screen.fact("trained", `${thousands(steps)} steps, validation loss ${validationLoss.toFixed(4)}`);
  await writeSample(flags, model, screen);
}

/** Writes the sample as it is made. */
async function writeSample(flags: Flags, { params, config, symbols }: Saved, screen: Screen): Promise<void> {
  const { sample: length, temperature, seed } = flags;
  if (length === 0) return;
  const characters = vocabulary(symbols);
  const prompt = flags.prompt ?? (characters.has("\n") ? "\n" : symbols[0]);
  screen.print(`\n${screen.dim(prompt.trim() === "" ? "sample:" : prompt)}`);
  const onToken = (token: number) => screen.write(characters.decode([token]));
  const options = { length, temperature, key: tn.key(seed), onToken };
  await lstm.generate(params, [...characters.encode(prompt)], config, options);
  screen.write("\n");
}

if (import.meta.main) await start(main);
