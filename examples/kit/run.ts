/**
 * What all examples do around their own work: read the command line, choose a backend, make the folder for results,
 * hear Ctrl-C, and say in one line what went wrong.
 *
 * @module
 */
import { join } from "@std/path";
import { use } from "../../mod.ts";
import { createScreen, type Output, type Screen, standardOutput } from "../../train/progress.ts";
import { type Command, type Flag, type Flags, type FlagsOf, helpText, parseFlags } from "./flags.ts";
import { beginRecord, programOf, readRecord, type RunRecord } from "./record.ts";

/** Flags with those of `commonFlags`. */
export type ExampleFlags = Flags & {
  readonly backend: Flag<string | undefined>;
  readonly resume: Flag<string | undefined>;
};

/** What an example is given. */
export interface Run<F extends Flags> {
  readonly flags: FlagsOf<F>;
  readonly screen: Screen;
  /** Aborted by Ctrl-C: the work ends after the current step and saves what there is. */
  readonly interrupt: AbortSignal;
  /** What it was asked for, now or when it was begun. */
  readonly record: RunRecord;
}

/** Runs a command line and resolves to the exit code. */
export type Main = (args: readonly string[], output: Output, interrupt: AbortSignal) => Promise<number>;

/** An example as a function of its command line. An `Error` ends it with a line that begins with `error:`. */
export function example<F extends ExampleFlags>(command: Command<F>, work: (run: Run<F>) => Promise<void>): Main {
  return async (args, output, interrupt) => {
    const screen = createScreen(output);
    const stopping = () => screen.print("  stopping after this step; Ctrl-C again leaves without saving");
    interrupt.addEventListener("abort", stopping, { once: true });
    try {
      const asked = parseFlags(args, command);
      if (asked.help) screen.print(helpText(command));
      else await work({ ...await newOrResumed(asked, args, command), screen, interrupt });
      return 0;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      screen.print(`${screen.red("error")}: ${error.message}`);
      return 1;
    } finally {
      interrupt.removeEventListener("abort", stopping);
    }
  };
}

/** A run as it was begun, now or earlier. */
async function newOrResumed<F extends ExampleFlags>(
  flags: FlagsOf<F>,
  args: readonly string[],
  command: Command<F>,
): Promise<Pick<Run<F>, "flags" | "record">> {
  const folder = flags.resume as string | undefined, program = programOf(command);
  if (folder === undefined) return { flags, record: { program, flags } };
  const record = await readRecord(folder, program);
  return { flags: parseFlags(args, command, { folder, flags: record.flags }), record };
}

/** Uses the backend that `--backend` names, or WASM, or the CPU where that does not work; says which it is. */
export async function chooseBackend({ backend }: { readonly backend?: string }, screen: Screen): Promise<void> {
  const choice = await use(...(backend ? [backend] : ["wasm", "cpu"]));
  screen.fact("backend", String(choice));
}

/** Who asks for a folder. */
interface Asking {
  readonly flags: { readonly out?: string; readonly resume?: string };
  /** Of a run that can be resumed. */
  readonly record?: RunRecord;
}

/**
 * Makes the folder for results before there are any, so that a place where nothing can be written shows at once:
 * `--out`, or the first of `runs/name`, `runs/name-2`, ... that does not exist. A run that is resumed has its own.
 */
export async function makeFolder({ flags: { out, resume }, record }: Asking, name: string): Promise<string> {
  if (resume !== undefined) return resume;
  await Deno.mkdir(out ?? "runs", { recursive: true });
  const folder = out ?? await makeNext(join("runs", name));
  if (record) await beginRecord(folder, record);
  return folder;
}

/** Makes `path`, `path-2`, ..., the first that does not exist. */
async function makeNext(path: string): Promise<string> {
  for (let i = 1;; i++) {
    const folder = i === 1 ? path : `${path}-${i}`;
    try {
      await Deno.mkdir(folder);
      return folder;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

/** Milliseconds that a program may go without a breath. */
const BREATH = 50;
let breathed = 0;

/** Gives the event loop a turn, now and then, so that Ctrl-C is heard while a training keeps the thread busy. */
export async function breathe(): Promise<void> {
  if (performance.now() - breathed < BREATH) return;
  await new Promise((resolve) => setTimeout(resolve));
  breathed = performance.now();
}

/** Runs the program's own command line. The first Ctrl-C interrupts, the second leaves at once. */
export async function start(main: Main): Promise<never> {
  const interrupt = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    if (interrupt.signal.aborted) Deno.exit(130);
    interrupt.abort();
  });
  Deno.exit(await main(Deno.args, standardOutput(), interrupt.signal));
}
