/**
 * A library in a process of its own, which does one workload at a time and says how long it took.
 *
 * ```text
 *  parent ──> {"prepare": workload} ──> {"values": [...], "first": 812}     for comparison; how long the first run took
 *         ──> {"run": 3} ─────────────> {"times": [...]}                    milliseconds of each
 *                                       {"error": "..."}                    where it does not work
 * ```
 * The first line that comes back is `{"description": "..."}`. This file is the process too, for libraries in
 * JavaScript: `contestant.ts <library> <options>`. For PyTorch it is `libraries/pytorch.py`.
 *
 * @module
 */
import { type Job, type LibraryName, type LibraryOptions, openLibrary, TITLES } from "./libraries/mod.ts";
import { sample } from "./values.ts";
import type { Workload } from "./workloads.ts";

/** What is asked. */
export type Request = { readonly prepare: Workload } | { readonly run: number };

/** What is answered. */
export interface Answer {
  readonly description?: string;
  readonly values?: readonly number[];
  readonly first?: number;
  readonly times?: readonly number[];
  readonly error?: string;
}

/** Columns of the speed table. Several settings may compete for one of them. */
export type Column = "Tenon" | "Tenon, 1 thread" | "TensorFlow.js" | "jax-js" | "ONNX Runtime Web" | "PyTorch";

/** Which library, how it is set up, and what its rows are called. */
export interface ContestantSpec extends LibraryOptions {
  readonly title: string;
  readonly column: Column;
  readonly library: LibraryName | "pytorch";
  /** Threads of the BLAS library under PyTorch, where they differ from PyTorch's own. */
  readonly blasThreads?: number;
  /** Folder of the BLAS library that PyTorch is to use. */
  readonly blasFolder?: string;
}

/** No answer may take longer, in milliseconds. */
const PATIENCE = 240_000;

/** Lines of text as they come. */
async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

/** The parent's end. */
export class Contestant implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #answers: AsyncGenerator<string>;

  private constructor(readonly spec: ContestantSpec, command: Deno.Command) {
    this.#process = command.spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#answers = linesOf(this.#process.stdout);
  }

  /** What the library says of itself. */
  description = "";

  /** Starts a library; throws with the reason if it does not work here. */
  static async start(spec: ContestantSpec): Promise<Contestant> {
    const contestant = new Contestant(spec, commandOf(spec));
    try {
      contestant.description = (await contestant.#next()).description ?? "";
      return contestant;
    } catch (error) {
      await contestant[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Gets ready for `workload` and runs it once: what it gave, and how many milliseconds it took. */
  async prepare(workload: Workload): Promise<{ readonly values: readonly number[]; readonly first: number }> {
    const { values, first } = await this.#ask({ prepare: workload });
    return { values: values!, first: first! };
  }

  /** Milliseconds that each of so many runs took. */
  async run(count: number): Promise<readonly number[]> {
    return (await this.#ask({ run: count })).times!;
  }

  async #ask(request: Request): Promise<Answer> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    return await this.#next();
  }

  async #next(): Promise<Answer> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE / 1000} s`)), PATIENCE);
    });
    try {
      const { value, done } = await Promise.race([this.#answers.next(), late]);
      if (done) throw new Error("its process ended");
      const answer: Answer = JSON.parse(value);
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#process.status;
    await this.#answers.return(undefined);
    await this.#input.abort().catch(() => {});
  }
}

function commandOf({ library, backend, threads, blasThreads, blasFolder }: ContestantSpec): Deno.Command {
  const pipes = { stdin: "piped", stdout: "piped", stderr: "null" } as const;
  if (library === "pytorch") {
    const script = new URL("libraries/pytorch.py", import.meta.url).pathname;
    const env = {
      PYTHONDONTWRITEBYTECODE: "1",
      ...(blasFolder !== undefined && { LD_LIBRARY_PATH: blasFolder }),
      ...(blasThreads !== undefined && { OPENBLAS_NUM_THREADS: String(blasThreads) }),
    };
    return new Deno.Command(PYTHON, { args: [script, String(threads)], env, ...pipes });
  }
  const options: LibraryOptions = { backend, threads };
  const args = ["run", "--quiet", "-A", import.meta.url, library, JSON.stringify(options)];
  return new Deno.Command(Deno.execPath(), { args, ...pipes });
}

/** The system's own Python is the one that Debian's PyTorch belongs to. */
const PYTHON = "/usr/bin/python3";

/** The process's end: answers until its input closes. */
async function serve(name: LibraryName, options: LibraryOptions): Promise<void> {
  const say = console.log;
  console.log = console.error; // libraries chat
  const answer = (line: Answer) => say(JSON.stringify(line));
  const describe = (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) });
  try {
    const library = await openLibrary(name, options);
    answer({ description: `${TITLES[name]} ${library.description}`.trim() });
    let job: Job | undefined;
    for await (const line of linesOf(Deno.stdin.readable)) {
      const request: Request = JSON.parse(line);
      try {
        if ("prepare" in request) {
          job?.dispose();
          job = undefined;
          job = await library.prepare(request.prepare);
          const start = performance.now(), values = sample(await job.values());
          answer({ values, first: job.first ?? performance.now() - start });
        } else {
          answer({ times: await time(job!, request.run) });
        }
      } catch (error) {
        answer(describe(error));
      }
    }
  } catch (error) {
    answer(describe(error));
  }
  Deno.exit(0); // a library's workers may keep the process alive
}

async function time(job: Job, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await job.run();
    times.push(performance.now() - start);
  }
  return times;
}

if (import.meta.main) await serve(Deno.args[0] as LibraryName, JSON.parse(Deno.args[1]));
