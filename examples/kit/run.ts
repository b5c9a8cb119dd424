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

/** Flags with those of `commonFlags`. */
export type ExampleFlags = Flags & { readonly backend: Flag<string | undefined> };

/** What an example is given. */
export interface Run<F extends Flags> {
  readonly flags: FlagsOf<F>;
  readonly screen: Screen;
  /** Aborted by Ctrl-C: the work ends after the current step and saves what there is. */
  readonly interrupt: AbortSignal;
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
      const flags = parseFlags(args, command);
      if (flags.help) screen.print(helpText(command));
      else await work({ flags, screen, interrupt });
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

/** Uses the backend that `--backend` names, or WASM, or the CPU where that does not work; says which it is. */
export async function chooseBackend({ backend }: { readonly backend?: string }, screen: Screen): Promise<void> {
  const choice = await use(...(backend ? [backend] : ["wasm", "cpu"]));
  screen.fact("backend", String(choice));
}

/**
 * Makes the folder for results before there are any, so that a place where nothing can be written shows at once:
 * `--out`, or the first of `runs/name`, `runs/name-2`, ... that does not exist.
 */
export async function makeFolder({ out }: { readonly out?: string }, name: string): Promise<string> {
  await Deno.mkdir(out ?? "runs", { recursive: true });
  if (out) return out;
  for (let i = 1;; i++) {
    const folder = join("runs", i === 1 ? name : `${name}-${i}`);
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
