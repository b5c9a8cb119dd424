/**
 * The image as Winograd's algorithm reads it: in phases.
 *
 * With a step of s, the pixels of one remainder to s, rows and columns alike, are an image of their own: a *phase*. If
 * the kernel is n steps long, the convolution is one of step 1 with n taps, over s times s as many channels:
 *
 * ```text
 *  y[p] = sum over u of w[u] x[p s + u]  =  sum over phases r and taps t of w[t s + r] x[(p + t) s + r]
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import type { Arg, Call, Ref } from "./kernel.ts";
import { frameImage, type Image } from "./padding.ts";
import { OUTPUTS, type Scheme } from "./winograd.ts";
import type { Windows } from "./windows.ts";

type Pair = readonly [number, number];

/** Arguments of a kernel that reads phases. */
export const IMAGE_ARGS = [
  "x",
  "height",
  "width",
  "imageRow",
  "imagePlane",
  "startY",
  "startX",
  "phases",
  "phasesX",
  "phaseRow",
  "phaseColumn",
] as const;
type Name = typeof IMAGE_ARGS[number];

/** How many tiles cover a plane, down and across. */
export function tilesOf(places: Pair): Pair {
  return [Math.ceil(places[0] / OUTPUTS), Math.ceil(places[1] / OUTPUTS)];
}

/** The phases of an image: where they are, and the calls that put them there. With one phase it is the image itself. */
export function phasesOf(
  image: Image,
  { places, start, step }: Windows,
  { taps }: Scheme,
  temporary: (bytes: number) => Ref,
): { readonly args: Readonly<Record<Name, Arg>>; readonly calls: readonly Call[] } {
  const one = step[0] === 1 && step[1] === 1;
  const sizes = tilesOf(places).map((tiles) => tiles * OUTPUTS + taps - 1);
  const frame = { top: -start[0], left: -start[1], height: sizes[0] * step[0], width: sizes[1] * step[1] };
  const { ref, height, width, part, calls } = one
    ? { ...image, part: 0, calls: [] }
    : frameImage(image, { ...frame, split: step[1] }, 0, temporary);
  const args = {
    x: ref,
    height: height / step[0],
    width: width / step[1],
    imageRow: 4 * width * step[0],
    imagePlane: 4 * width * height,
    startY: one ? start[0] : 0,
    startX: one ? start[1] : 0,
    phases: step[0] * step[1],
    phasesX: step[1],
    phaseRow: 4 * width,
    phaseColumn: 4 * part,
  };
  return { args, calls };
}

/** Address of a phase of the first plane. */
export function phaseAddress(f: Func, args: Readonly<Record<string, Int>>, phase: Int): Int {
  const row = f.let(i32.div_u(phase, args.phasesX)), column = f.let(i32.rem_u(phase, args.phasesX));
  return f.let(i32.add(args.x, i32.add(i32.mul(row, args.phaseRow), i32.mul(column, args.phaseColumn))));
}
