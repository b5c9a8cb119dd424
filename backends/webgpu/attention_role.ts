/**
 * What a kernel of attention computes.
 *
 * @module
 */
import type { Scene } from "./attention_scene.ts";
import type { Context } from "./shader.ts";

/** Rows that an invocation owns. */
export const OWN = 4;

/** The numbers of those rows. */
export const OWNED: readonly number[] = Array.from({ length: OWN }, (_, r) => r);

/** Fours of sums that an invocation keeps for each of its rows, at most. */
const MOST_FOURS = 16;

/** How the rows that are summed are weighted. */
export type Weights = "softmax" | "probability" | "gradient";

/** Which side owns rows, and the sums over those of the other. */
export interface Role {
  readonly own: "query" | "key";
  readonly sums: readonly Sum[];
}

/** One result: how rows are weighted, and what is summed. */
export interface Sum {
  readonly weights: Weights;
  /** Name of the operand that is summed. */
  readonly vectors: "v" | "k" | "q" | "dy";
  readonly output: number;
}

/** Fours that an invocation keeps of each of its rows for a sum. */
export function foursOf({ rows }: Scene, { vectors }: Sum): number {
  return Math.min(MOST_FOURS, Math.max(1, Math.ceil(rows[vectors].channels / 4)));
}

/** Whether blocks are written out: on a CPU, where all rows are read from images and not too wide for that. */
export function isWrittenOut({ rows }: Scene, { software }: Context): boolean {
  const all = ["q", "k", "v", "dy"].flatMap((name) => rows[name] ?? []);
  return software && all.every(({ image, channels }) => image && channels <= 4 * MOST_FOURS);
}
