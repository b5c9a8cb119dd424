/**
 * Runs the tests and the code of the documentation, and closes with the line `N passed, N failed` (`, N skipped`).
 * Arguments go to `deno test`; those that name a file or folder (`*.ts`, `*.md`, `.../`) replace the whole set.
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import { deno, type Surroundings, surroundings } from "./run.ts";

const PERMISSIONS = ["-REWNS", "--allow-run"];

/** Where tests and documentation are. */
const PLACES = ["tests/", "README.md", "mod.ts", "core/", "ops/", "backends/", "models/", "train/", "io/"];

/** Enough of the output's end to hold Deno's summary. */
const TAIL = 1000;

/** Runs `deno test`, prints the closing line and resolves to the exit code. */
export async function test(args: readonly string[], env: Surroundings["env"]): Promise<number> {
  const named = args.some((arg) => /(\.ts|\.md|\/)$/.test(arg));
  const places = named ? [] : PLACES.filter(exists);
  let tail = "";
  const onOutput = (text: string) => tail = (tail + text).slice(-TAIL);
  const code = await deno(["test", "--doc", "--parallel", ...PERMISSIONS, ...args, ...places], env, onOutput);
  console.log(closingLine(tail, code));
  return code;
}

function exists(path: string): boolean {
  try {
    return Boolean(Deno.statSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** From Deno's own summary, `ok | 12 passed (3 steps) | 0 failed | 1 ignored (2 steps) (4s)`. */
function closingLine(output: string, code: number): string {
  const summary = stripVTControlCharacters(output).match(/^(ok|FAILED) \| .*$/gm)?.at(-1) ?? "";
  const count = (word: string) => Number(summary.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
  const failed = count("failed") || Number(code !== 0); // Modules that fail to compile stop Deno before any summary.
  const ignored = count("ignored");
  return `${count("passed")} passed, ${failed} failed${ignored > 0 ? `, ${ignored} skipped` : ""}`;
}

if (import.meta.main) {
  await using around = await surroundings();
  Deno.exitCode = await test(Deno.args, around.env);
}
