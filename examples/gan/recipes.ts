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
  /** Of the discriminator, and of the generator; their steps become smaller, and are nothing in the end. */
  readonly optimizers: { readonly discriminator: tn.Optimizer; readonly generator: tn.Optimizer };
  /** Updates of the discriminator for one of the generator. */
  readonly turns: number;
}

/** What is chosen on the command line. */
export interface RecipeOptions {
  /** Of the first update; the kind's own by default. */
  readonly learningRate?: number;
  /** All updates of the discriminator. */
  readonly updates: number;
}

/** Digits of 28x28, which begin as 7x7. */
const DIGITS = { size: 28, latent: 64, channels: [48, 24] } as const;

/** Choices that differ. */
interface Choices extends Pick<Recipe, "turns"> {
  readonly config: GanConfig;
  readonly learningRate: number;
  readonly betas: readonly [number, number];
}

const CHOICES: Readonly<Record<Kind, Choices>> = {
  dcgan: { config: DIGITS, learningRate: 5e-4, betas: [0.5, 0.999], turns: 1 },
  cgan: { config: { ...DIGITS, classes: 10 }, learningRate: 5e-4, betas: [0.5, 0.999], turns: 1 },
  wgan: { config: { ...DIGITS, objective: "wasserstein" }, learningRate: 5e-4, betas: [0, 0.9], turns: 3 },
};

/** The recipe of a kind. */
export function recipe(kind: Kind, { updates, ...given }: RecipeOptions): Recipe {
  const { config, betas, turns, learningRate } = CHOICES[kind];
  const optimizer = (steps: number) =>
    tn.adam({
      learningRate: tn.schedules.linear({ from: given.learningRate ?? learningRate, steps: Math.max(1, steps) }),
      betas,
    });
  return {
    config,
    optimizers: { discriminator: optimizer(updates), generator: optimizer(Math.floor(updates / turns)) },
    turns,
  };
}
