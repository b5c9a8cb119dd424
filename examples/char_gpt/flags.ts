/**
 * The command line of the example.
 *
 * @module
 */
import { anytime, choice, type Command, commonFlags, type FlagsOf, number, text, toggle, whole } from "../kit/flags.ts";

const FLAGS = {
  data: text("PATH|URL  text to learn (Moby-Dick, from npm)"),
  from: text("FOLDER  only write a sample with the model saved there"),
  prompt: anytime(text("TEXT  how the sample begins (a new line)")),
  ...commonFlags("NAME-OF-TEXT"),
  steps: whole(2000, "training steps"),
  batch: whole(12, "windows of text in a step"),
  accumulate: whole(1, "parts of a batch that are computed one after the other, to save memory"),
  context: whole(64, "characters in a window"),
  model: choice(["gpt2", "llama"], "what its blocks are like"),
  layers: whole(4, "transformer blocks"),
  heads: whole(4, "attention heads"),
  channels: whole(128, "width of the model"),
  dropout: number(0, "part of the activations dropped in training", { most: 1 }),
  half: toggle("computes in f16, keeps the weights in f32"),
  learningRate: number(1e-3, "after warm-up; falls to a tenth"),
  evalInterval: whole(250, "steps between validations"),
  evalBatches: whole(20, "batches in a validation"),
  sample: anytime(whole(500, "characters to write at the end", { least: 0 })),
  temperature: anytime(number(0.8, "0 always takes the likeliest character")),
  topK: anytime(whole(undefined, "choose among this many likeliest characters (all)")),
  topP: anytime(number(1, "choose among the likeliest characters that together have this probability", { most: 1 })),
};

/** What the command line asks for. */
export type Flags = FlagsOf<typeof FLAGS>;

/** The example as its user sees it. */
export const COMMAND: Command<typeof FLAGS> = {
  about: "Trains a small GPT to continue a text character by character, and prints what it writes.",
  usage: "deno task demo [flags]",
  flags: FLAGS,
  notes: "Ctrl-C stops after the current step and keeps the weights; --resume goes on from there.",
};
