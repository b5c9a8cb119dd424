/**
 * Runs Deno with the surroundings that this project needs: `deno run ... tools/run.ts <arguments of deno>`.
 *
 * ```text
 * @std     from JSR or Deno's cache; where neither has it, from a mirror of ours on the loopback address (JSR_URL)
 * Vulkan   a private XDG_RUNTIME_DIR on Linux, which Mesa wants and a bare machine lacks
 * ```
 * Exit code and signals pass through. Modules in this folder import no `jsr:` package: they run before there is any.
 * @module
 */
import { startRegistry } from "./jsr_registry.ts";
import { contentPort, loadStd, STD_MODULES } from "./std_mirror.ts";

/** What children get on top of this process's environment; dispose of it after the last child. */
export interface Surroundings extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
}

/** How long JSR may take to answer before the mirror takes over, in milliseconds. */
const PATIENCE = 4000;

/** Finds or starts what this project needs around a child process. */
export async function surroundings(): Promise<Surroundings> {
  await using stack = new AsyncDisposableStack();
  const env: Record<string, string> = {};
  if (Deno.build.os === "linux" && Deno.env.get("XDG_RUNTIME_DIR") === undefined) {
    const folder = await Deno.makeTempDir({ prefix: "tenon-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    env.XDG_RUNTIME_DIR = folder;
  }
  if (Deno.env.get("JSR_URL") === undefined && !(await cacheStd())) {
    console.error("JSR does not answer: @std comes from npm:deno-std, by way of the loopback address");
    const packages = await loadStd();
    const registry = stack.use(startRegistry(packages, contentPort(packages)));
    env.JSR_URL = registry.url;
    await cacheStd(env);
  }
  const owned = stack.move();
  return { env, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Sees to it that Deno has @std in its cache, without a word, and says whether it worked. */
async function cacheStd(env: Surroundings["env"] = {}): Promise<boolean> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", ...STD_MODULES],
    env,
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(PATIENCE),
  }).output();
  return success;
}

/**
 * Runs `deno` with `args`, its input and output those of this process, and resolves to its exit code.
 * `onOutput` also sees what it prints; Deno then prints as to a file, without a terminal's live lines.
 */
export async function deno(
  args: readonly string[],
  env: Surroundings["env"],
  onOutput?: (text: string) => void,
): Promise<number> {
  const stdout = onOutput === undefined ? "inherit" : "piped";
  const child = new Deno.Command(Deno.execPath(), { args: [...args], env, stdin: "inherit", stdout }).spawn();
  using _ = forwardSignals(child);
  if (onOutput !== undefined) {
    const [shown, seen] = child.stdout.tee();
    const showing = shown.pipeTo(Deno.stdout.writable, { preventClose: true });
    for await (const text of seen.pipeThrough(new TextDecoderStream())) onOutput(text);
    await showing;
  }
  return (await child.status).code;
}

/** Passes signals on to `child`, save for the Ctrl-C of a terminal: that one reaches every process by itself. */
function forwardSignals(child: Deno.ChildProcess): Disposable {
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  const stack = new DisposableStack();
  for (const signal of signals) {
    const listener = () => {
      if (signal !== "SIGINT" || !Deno.stdin.isTerminal()) kill(child, signal);
    };
    Deno.addSignalListener(signal, listener);
    stack.defer(() => Deno.removeSignalListener(signal, listener));
  }
  return stack;
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // It has ended already.
  }
}

if (import.meta.main) {
  await using around = await surroundings();
  Deno.exitCode = await deno(Deno.args, around.env);
}
