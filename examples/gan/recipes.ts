/**
 * What each kind of GAN is made of and how it is trained: small enough for a few minutes on two cores.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import type { GanConfig } from "../../models/gan.ts";

/** The kinds there are. */
export const KINDS = ["dcgan", "cgan", "wgan"] as const;

/** See {@linkcode KINDS}. */
export type Kind = (typeof KINDS)[number];

/** A kind, ready to train. */
export interface Recipe {
  readonly config: GanConfig;
  /** Of the discriminator, and of the generator; from half of the training on, their steps become smaller. */
  readonly optimizers: { readonly discriminator: tn.Optimizer; readonly generator: tn.Optimizer };
  /** Updates of the discriminator for one of the generator. */
  readonly turns: number;
  /** Passes over the digits. */
  readonly epochs: number;
}

/** What is known of a training; the rest is the kind's own. */
export interface RecipeOptions {
  /** Of the first update. */
  readonly learningRate?: number;
  readonly epochs?: number;
  /** Updates of the discriminator in an epoch. */
  readonly perEpoch: number;
}

/**
 * Framed digits, which begin as 4x4: each place of the discriminator's last layer has seen most of a digit. One that sees
 * strokes alone lets shapes pass that are made of good strokes and are no digits.
 */
const DIGITS = { size: 32, latent: 64, channels: [64, 32, 16] } as const;

/** Choices that differ. */
interface Choices extends Pick<Recipe, "config" | "turns" | "epochs"> {
  readonly learningRate: number;
  readonly betas: readonly [number, number];
}

const CHOICES: Readonly<Record<Kind, Choices>> = {
  dcgan: { config: DIGITS, learningRate: 3e-3, betas: [0.5, 0.999], turns: 1, epochs: 6 },
  cgan: { config: { ...DIGITS, classes: 10 }, learningRate: 3e-3, betas: [0.5, 0.999], turns: 1, epochs: 4 },
  wgan: { config: { ...DIGITS, objective: "wasserstein" }, learningRate: 2e-3, betas: [0, 0.9], turns: 2, epochs: 4 },
};

/** The recipe of a kind. */
export function recipe(kind: Kind, { perEpoch, ...given }: RecipeOptions): Recipe {
  const { config, betas, turns, ...own } = CHOICES[kind];
  const { learningRate = own.learningRate, epochs = own.epochs } = given, updates = epochs * perEpoch;
  const optimizer = (updates: number) => tn.adam({ learningRate: halfwayDown(learningRate, updates), betas });
  return {
    config,
    optimizers: { discriminator: optimizer(updates), generator: optimizer(Math.floor(updates / turns)) },
    turns,
    epochs,
  };
}

/** The rate for half of the updates, then in a straight line to nothing. */
function halfwayDown(rate: number, updates: number): tn.Schedule {
  const half = Math.max(1, Math.floor(updates / 2));
  return tn.schedules.join([tn.schedules.constant(rate), tn.schedules.linear({ from: rate, steps: half })], [half]);
}
