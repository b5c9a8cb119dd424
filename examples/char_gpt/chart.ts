/**
 * The losses of a training as a picture.
 *
 * @module
 */
import { lineChart, type Point, smooth } from "../kit/pictures.ts";

/** Losses by step, from 1. */
export interface History {
  /** One for every step. */
  readonly losses: readonly number[];
  /** `[step, loss]` */
  readonly validations: readonly Point[];
}

/** An SVG of the training and the validation loss, in nats a character. */
export function lossChart({ losses, validations }: History, title: string): string {
  const bySteps = (values: readonly number[]) => values.map((loss, i) => [i + 1, loss] as const);
  return lineChart({
    title,
    x: "step",
    y: "loss, nats a character",
    series: [
      { name: "training", color: "#c3cfe0", width: 1, points: bySteps(losses) },
      { name: "training, smoothed", points: bySteps(smooth(losses)) },
      { name: "validation", points: validations, symbols: true },
    ],
  });
}
