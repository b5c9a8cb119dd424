/**
 * The losses of a training as a picture.
 *
 * @module
 */
import { byStep, lineChart, type Point, smooth } from "../kit/pictures.ts";

/** Losses by step, from 1. */
export interface History {
  /** One for every step. */
  readonly losses: number[];
  /** `[step, loss]` */
  readonly validations: Point[];
}

/** An SVG of the training and the validation loss, in nats a character. */
export function lossChart({ losses, validations }: History, title: string): string {
  return lineChart({
    title,
    x: "step",
    y: "loss, nats a character",
    series: [
      { name: "training", color: "#c3cfe0", width: 1, points: byStep(losses) },
      { name: "training, smoothed", points: byStep(smooth(losses)) },
      { name: "validation", points: validations, symbols: true },
    ],
  });
}
