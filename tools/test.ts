/**
 * Runs the tests and the code of the documentation, and closes with the line `N passed, N failed` (`, N skipped`).
 * Arguments go to `deno test`; those that name a file or folder (`*.ts`, `*.md`, `.../`) replace the whole set.
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import { deno, type Surroundings, surroundings } from "./run.ts";

const PERMISSIONS = ["-REWNS", "--allow-run"];

/** Where documentation with code is. */
const DOCUMENTED = [
  "README.md",
  "mod.ts",
  "core/",
  "transforms/",
  "ops/",
  "backends/",
  "models/",
  "train/",
  "io/",
  "tests/conformance.ts",
];

/** Exit codes above this one say that a signal ended the process. */
const SIGNALLED = 128;

/** Enough of the output's end to hold Deno's summary. */
const TAIL = 1000;

/** How many tests ended in each way. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly ignored: number;
}

/** Runs `deno test`, prints the closing line and resolves to the exit code. */
export async function test(args: readonly string[], env: Surroundings["env"]): Promise<number> {
  const named = args.some((arg) => /(\.ts|\.md|\/)$/.test(arg));
  // Tests and documentation apart: code that does not compile stops the run that it is in.
  const commands = named
    ? [["--doc", ...args]]
    : [[...args, "tests/"], ["--doc", ...args, ...DOCUMENTED.filter(exists)]];
  const runs: Counts[] = [];
  for (const command of commands) {
    let tail = "";
    const onOutput = (text: string) => tail = (tail + text).slice(-TAIL);
    const code = await deno(["test", "--parallel", ...PERMISSIONS, ...command], env, onOutput);
    const counts = count(tail, code);
    runs.push(counts);
    if (code > SIGNALLED && counts.failed === 0) {
      console.log(`Deno was ended by signal ${code - SIGNALLED} on its way out, after all of these tests had passed`);
    } else if (code > SIGNALLED) break;
  }
  const [passed, failed, ignored] = (["passed", "failed", "ignored"] as const).map((way) => total(runs, way));
  console.log(`${passed} passed, ${failed} failed${ignored! > 0 ? `, ${ignored} skipped` : ""}`);
  return failed === 0 ? 0 : 1;
}

function total(runs: readonly Counts[], way: keyof Counts): number {
  return runs.reduce((sum, run) => sum + run[way], 0);
}

/** Reads Deno's own summary, `ok | 12 passed (3 steps) | 0 failed | 1 ignored (2 steps) (4s)`. */
function count(output: string, code: number): Counts {
  const summary = stripVTControlCharacters(output).match(/^(ok|FAILED) \| .*$/gm)?.at(-1) ?? "";
  const read = (word: string) => Number(summary.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
  // Modules that do not compile stop Deno before any summary. A software WebGPU driver may abort the process at its
  // very end, after the summary: that is no failed test.
  const finished = summary.startsWith("ok") && code > SIGNALLED;
  const failed = read("failed") || Number(code !== 0 && !finished);
  return { passed: read("passed"), failed, ignored: read("ignored") };
}

function exists(path: string): boolean {
  try {
    return Boolean(Deno.statSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

if (import.meta.main) {
  await using around = await surroundings();
  Deno.exitCode = await test(Deno.args, around.env);
}
