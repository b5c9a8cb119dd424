/**
 * Who takes part: Tenon and its peers on each device.
 *
 * @module
 */
import { Contestant, type ContestantSpec } from "./contestant.ts";
import type { Entry, Outcome } from "./contest.ts";
import { type BenchOptions, type Device, report } from "./options.ts";

/** Threads that make use of the machine; PyTorch, jax-js and Tenon take as many by themselves. */
export const THREADS = Math.max(1, navigator.hardwareConcurrency);

const tenon = (title: string, backend: string, threads?: number): ContestantSpec => ({
  title,
  library: "tenon",
  backend,
  threads,
});

const tfjs = (backend: string): ContestantSpec => ({ title: "TensorFlow.js", library: "tfjs", backend });

const jaxjs = (backend: string): ContestantSpec => ({ title: "jax-js", library: "jaxjs", backend });

/** PyTorch's settings; the best of them counts. */
const pytorch: readonly ContestantSpec[] = [
  { title: "PyTorch, 1 thread", library: "pytorch", backend: "cpu", threads: 1 },
  { title: `PyTorch, ${THREADS} threads`, library: "pytorch", backend: "cpu", threads: THREADS },
  {
    title: `PyTorch, ${THREADS} threads, BLAS 1`,
    library: "pytorch",
    backend: "cpu",
    threads: THREADS,
    blasThreads: 1,
  },
];

/** Tenon as it comes is always the first: the others are held to it. */
export const CONTESTANTS: Readonly<Record<Device, readonly ContestantSpec[]>> = {
  wasm: [
    tenon(`Tenon, ${THREADS} threads`, "wasm", THREADS),
    tenon("Tenon, 1 thread", "wasm", 1),
    tfjs("wasm"),
    jaxjs("wasm"),
    ...pytorch,
  ],
  webgpu: [tenon("Tenon", "webgpu"), tfjs("webgpu"), jaxjs("webgpu")],
  cpu: [tenon("Tenon", "cpu"), tfjs("cpu")], // that of jax-js is for debugging: seconds for a small matmul
};

/** Processes that are alive together. */
export class Lineup implements AsyncDisposable {
  readonly #started: Contestant[] = [];
  /** What each library says of itself. */
  readonly descriptions: Set<string> = new Set();

  /** Starts a process, or says why it cannot be. */
  async start(spec: ContestantSpec, { blasFolder }: BenchOptions): Promise<Entry["contestant"]> {
    try {
      const contestant = await Contestant.start({ ...spec, blasFolder });
      this.#started.push(contestant);
      this.descriptions.add(contestant.description);
      return contestant;
    } catch (error) {
      report(`${spec.title}: not here: ${(error as Error).message}`);
      return (error as Error).message;
    }
  }

  /** Ends them all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((contestant) => contestant[Symbol.asyncDispose]()));
  }
}

/** The fastest of the outcomes whose titles begin with `title`; the first if none ran. */
export function best(outcomes: readonly Outcome[], title: string): Outcome | undefined {
  const candidates = outcomes.filter((outcome) => outcome.title.startsWith(title));
  const time = ({ median }: Outcome) => median ?? Infinity;
  return candidates.reduce<Outcome | undefined>((a, b) => a && time(a) <= time(b) ? a : b, undefined);
}
