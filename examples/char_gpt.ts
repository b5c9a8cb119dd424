/**
 * A small GPT learns a text character by character, then writes some: `deno task demo`, or `deno task demo --help`.
 *
 * ```text
 *  text ──> characters as numbers ──> training ──> runs/<text>/model.safetensors, loss.svg ──> a sample
 *                                                              └── --from runs/<text> ──────────┘
 * ```
 * The recipe is nanoGPT's for CPUs (https://github.com/karpathy/nanoGPT#i-only-have-a-macbook).
 *
 * @module
 */
import { join } from "@std/path";
import * as tn from "../mod.ts";
import * as gpt from "../models/gpt.ts";
import { charactersOf, vocabulary } from "../train/data.ts";
import { duration, type Screen, thousands } from "../train/progress.ts";
import { type History, lossChart } from "./char_gpt/chart.ts";
import { COMMAND, type Flags } from "./char_gpt/flags.ts";
import { loadModel, type Model, saveModel } from "./char_gpt/model.ts";
import { openCourse, walk } from "./kit/course.ts";
import { writeFile } from "./kit/files.ts";
import { chooseBackend, example, type Main, makeFolder, type Run, start } from "./kit/run.ts";
import { loadText, splitText, spreadStarts, type Text, windows } from "./char_gpt/text.ts";

/** Everything that a training step replaces. */
interface Training {
  readonly params: gpt.GptParams;
  readonly state: tn.OptimizerState;
  /** For dropout. */
  readonly key: tn.Key;
}

type Batch = Pick<gpt.GptBatch, "tokens" | "targets">;

/** The example as a function of its command line. */
export const main: Main = example(
  COMMAND,
  (run) => run.flags.from ? sampleAgain(run, run.flags.from) : trainAndSample(run),
);

type CharGptRun = Run<(typeof COMMAND)["flags"]>;

async function trainAndSample(run: CharGptRun): Promise<void> {
  const { flags, screen, interrupt } = run;
  screen.print(screen.bold("A GPT learns to write, character by character"));
  const text = await loadText(flags.data);
  const { characters, tokens, config } = prepare(text, flags);
  screen.fact("text", `${text.name}: ${thousands(tokens.length)} characters, ${characters.size} different`);
  await chooseBackend(flags, screen);
  const [initKey, key] = tn.split(tn.key(flags.seed));
  const initial = gpt.init(initKey, config);
  screen.fact("model", describe(config));
  const folder = await makeFolder(run, text.name);

  const { params, history, seconds } = await train({ run, folder, config, tokens, key }, initial);
  const steps = history.losses.length, [, validationLoss] = history.validations.at(-1)!;
  screen.fact(
    "result",
    `validation loss ${validationLoss.toFixed(4)}, ${thousands(steps)} steps, ${duration(seconds)}`,
  );
  const model = { params, config, vocabulary: characters, steps, validationLoss };
  await saveModel(join(folder, "model.safetensors"), model);
  await writeFile(join(folder, "loss.svg"), lossChart(history, `${text.name}: loss of a GPT on characters`));
  if (!interrupt.aborted) await writeSample(flags, model, screen);

  screen.print();
  screen.fact("saved", `${join(folder, "model.safetensors")}, ${join(folder, "loss.svg")}`);
  screen.fact("again", `deno task demo --from ${folder}`);
}

/** The text as numbers and the model for it; throws what can be known to fail before training begins. */
function prepare(text: Text, flags: Flags) {
  const characters = vocabulary(charactersOf(text.content));
  const tokens = characters.encode(text.content);
  splitText(tokens, flags.context);
  characters.encode(flags.prompt ?? "");
  return { characters, tokens, config: configOf(flags, characters.size) };
}

function configOf({ model, half, context, layers, heads, channels, dropout }: Flags, vocabSize: number): gpt.GptConfig {
  const sizes = {
    vocabSize,
    context,
    layers,
    heads,
    channels,
    bias: false,
    dropout,
    ...(half && { dtype: "f16" as const }),
  };
  if (model === "gpt2") return sizes;
  return {
    ...sizes,
    keyValueHeads: heads % 2 === 0 ? heads / 2 : heads,
    hidden: 16 * Math.round(channels / 6), // with a gate, about as many weights as in GPT-2
    mlp: "swiglu",
    norm: "rms",
    positions: "rotary halves",
    tied: false,
  };
}

function describe(config: gpt.GptConfig): string {
  const { layers, heads, channels, context, mlp } = config;
  return `${mlp === "swiglu" ? "Llama" : "GPT-2"} of ${thousands(gpt.parameterCount(config))} parameters: ` +
    `${layers} layers, ${heads} heads, ${channels} channels, context ${context}`;
}

/** AdamW with warm-up and a cosine down to a tenth; only matrices decay. */
function makeOptimizer({ learningRate: peak, steps, half }: Flags): tn.Optimizer {
  const warmUp = Math.min(100, Math.ceil(steps / 10));
  const decay = tn.schedules.cosine({ from: peak, to: peak / 10, steps: Math.max(1, steps - warmUp) });
  const optimizer = tn.chain(
    tn.clipByGlobalNorm(1),
    tn.adamw({
      learningRate: tn.schedules.warmUp(decay, { steps: warmUp }),
      betas: [0.9, 0.99],
      weightDecay: 0.1,
      decayMask: (parameter) => parameter.rank > 1,
    }),
  );
  return half ? tn.lossScaled(optimizer) : optimizer;
}

/** What to learn, and how. */
interface Job {
  readonly run: CharGptRun;
  readonly folder: string;
  readonly config: gpt.GptConfig;
  readonly tokens: Int32Array;
  readonly key: tn.Key;
}

/** How a training went. */
interface Trained {
  readonly params: gpt.GptParams;
  readonly history: History;
  readonly seconds: number;
}

async function train({ run, folder, config, tokens, key }: Job, initial: gpt.GptParams): Promise<Trained> {
  const { flags, flags: { steps, evalInterval }, screen, interrupt } = run;
  const { training: text, validation } = splitText(tokens, config.context);
  const [batchKey, dropoutKey] = tn.split(key), optimizer = makeOptimizer(flags);
  const fresh: Training = { params: initial, state: optimizer.init(initial), key: dropoutKey };
  const history: History = { losses: [], validations: [] };
  const course = await openCourse(run, { folder, training: fresh, history });
  const { losses, validations } = course.history;
  const step = compileStep(config, optimizer, flags), validate = makeValidation(flags, config, validation);
  const nextBatch = await makeBatches(flags, config, text, batchKey);
  const progress = screen.progress({ total: steps, start: losses.length, interrupt });
  const figures = () => ({ loss: losses.at(-1), validation: validations.at(-1)?.[1] });
  const look = async ({ params }: Training) => {
    validations.push([losses.length, await validate(params)]);
    progress.row(losses.length, figures());
  };

  if (validations.length === 0) await look(course.training);
  const { training: { params }, seconds } = await walk(course, {
    epochs: Math.ceil(steps / evalInterval), // a text without passes: what lies between two validations
    async *batches({ epoch, step }) {
      const from = epoch * evalInterval, to = Math.min(from + evalInterval, steps);
      for (let i = from + step; i < to; i++) yield nextBatch(i);
    },
    async step(training, { tokens, targets }) {
      const [loss, next] = step(training, { tokens, targets });
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, figures());
      return next;
    },
    look,
    interrupt,
  });
  return { params, history: course.history, seconds };
}

function compileStep(config: gpt.GptConfig, optimizer: tn.Optimizer, { half, accumulate: steps }: Flags) {
  return tn.compile(({ params, state, key }: Training, batch: Batch) => {
    const [nextKey, stepKey] = tn.split(key);
    const differentiate = (loss: typeof gpt.loss) => tn.accumulate(loss, { steps });
    const valueAndGrad = half ? tn.scaledValueAndGrad(gpt.loss, state, { differentiate }) : differentiate(gpt.loss);
    const [loss, grads] = valueAndGrad(params, { ...batch, key: stepKey }, config);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return [loss, { params: nextParams, state: nextState, key: nextKey } as Training] as const;
  }, { donate: [0] });
}

function upload(from: ReturnType<typeof windows>, context: number): Batch & Disposable {
  const shape = [from.tokens.length / context, context]; // [B, T]
  const tokens = tn.tensor(from.tokens, { shape }), targets = tn.tensor(from.targets, { shape });
  const dispose = () => [tokens, targets].forEach((tensor) => tensor.dispose());
  return { tokens, targets, [Symbol.dispose]: dispose };
}

/** The mean loss over batches that are the same every time, spread over the text kept for validation. */
function makeValidation({ batch, evalBatches }: Flags, config: gpt.GptConfig, text: Int32Array) {
  const { context } = config;
  const starts = spreadStarts(text, evalBatches * batch, context);
  const batches = Array.from(
    { length: evalBatches },
    (_, i) => upload(windows(text, starts.slice(i * batch, (i + 1) * batch), context), context),
  );
  const loss = tn.compile((params: gpt.GptParams, batch: Batch) => gpt.loss(params, batch, config));
  return async (params: gpt.GptParams): Promise<number> => {
    let total = 0;
    for (const batch of batches) {
      using value = loss(params, batch);
      total += await value.item();
    }
    return total / batches.length;
  };
}

/** Batches of windows that begin anywhere, by step. */
async function makeBatches({ batch, steps }: Flags, { context }: gpt.GptConfig, text: Int32Array, key: tn.Key) {
  using drawn = tn.randint(key, [steps * batch], { min: 0, max: text.length - context });
  const starts = await drawn.data();
  return (step: number) => upload(windows(text, starts.subarray(step * batch, (step + 1) * batch), context), context);
}

async function sampleAgain({ flags, screen }: CharGptRun, from: string): Promise<void> {
  await chooseBackend(flags, screen);
  const model = await loadModel(from.endsWith(".safetensors") ? from : join(from, "model.safetensors"));
  screen.fact("model", describe(model.config));
  screen.fact("trained", `${thousands(model.steps)} steps, validation loss ${model.validationLoss.toFixed(4)}`);
  await writeSample(flags, model, screen);
}

/** Writes the sample as it is made. */
async function writeSample(flags: Flags, { params, config, vocabulary }: Model, screen: Screen): Promise<void> {
  const { sample: length, temperature, topK, topP, seed } = flags;
  if (length === 0) return;
  const prompt = flags.prompt ?? (vocabulary.has("\n") ? "\n" : vocabulary.symbols[0]);
  screen.print(`\n${screen.dim(prompt.trim() === "" ? "sample:" : prompt)}`);
  const begin = performance.now();
  const onToken = (token: number) => screen.write(vocabulary.decode([token]));
  const options = { length, temperature, topK, topP, key: tn.key(seed), onToken };
  const made = await gpt.generate(params, [...vocabulary.encode(prompt)], config, options);
  const seconds = (performance.now() - begin) / 1000;
  screen.write("\n");
  screen.print(
    screen.dim(`(${made.length} characters in ${duration(seconds)}, ${(made.length / seconds).toFixed(0)} a second)`),
  );
}

if (import.meta.main) await start(main);
