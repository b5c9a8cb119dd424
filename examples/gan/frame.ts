/**
 * Digits in a frame: their 28x28 pixels become 32x32, which three layers can halve.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import type { GanConfig } from "../../models/gan.ts";

/** Side of a digit. */
const SIDE = 28;

/** `[B, 1, 28, 28]` in [-1, 1] -> `[B, 1, S, S]`, with -1 (paper) around it. */
export function frame(digits: tn.Tensor, { size }: GanConfig): tn.Tensor {
  const margin = (size - SIDE) / 2, around = [margin, margin] as const;
  return tn.pad(digits, [[0, 0], [0, 0], around, around], { value: -1 });
}

/** `[B, 1, S, S]` -> `[B, 1, 28, 28]` */
export function unframe(images: tn.Tensor, { size }: GanConfig): tn.Tensor {
  const begin = (size - SIDE) / 2, end = begin + SIDE;
  return tn.slice(images, [null, null, begin, begin], [null, null, end, end]);
}
