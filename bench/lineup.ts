/**
 * Who takes part: Tenon and its peers on each device.
 *
 * @module
 */
import { Contestant, type ContestantSpec } from "./contestant.ts";
import type { Entry } from "./contest.ts";
import { type BenchOptions, type Device, report } from "./options.ts";

/** Threads that make use of the machine; PyTorch, jax-js and Tenon take as many by themselves. */
export const THREADS = Math.max(1, navigator.hardwareConcurrency);

const tfjs = (backend: string): ContestantSpec => ({
  title: "TensorFlow.js",
  column: "TensorFlow.js",
  library: "tfjs",
  backend,
});

const jaxjs = (backend: string): ContestantSpec => ({ title: "jax-js", column: "jax-js", library: "jaxjs", backend });

const pytorch = (title: string, threads: number, blasThreads?: number): ContestantSpec => ({
  title: `PyTorch, ${title}`,
  column: "PyTorch",
  library: "pytorch",
  backend: "cpu",
  threads,
  blasThreads,
});

/** Tenon as it comes is always the first: the others are held to it. */
export const CONTESTANTS: Readonly<Record<Device, readonly ContestantSpec[]>> = {
  wasm: [
    { title: `Tenon, ${THREADS} threads`, column: "Tenon", library: "tenon", backend: "wasm", threads: THREADS },
    { title: "Tenon, 1 thread", column: "Tenon, 1 thread", library: "tenon", backend: "wasm", threads: 1 },
    tfjs("wasm"),
    jaxjs("wasm"),
    pytorch("1 thread", 1),
    pytorch(`${THREADS} threads`, THREADS),
    pytorch(`${THREADS} threads, BLAS 1`, THREADS, 1),
  ],
  webgpu: [
    { title: "Tenon", column: "Tenon", library: "tenon", backend: "webgpu" },
    tfjs("webgpu"),
    jaxjs("webgpu"),
  ],
  // The CPU device of jax-js is for debugging: it takes seconds for a small matmul.
  cpu: [{ title: "Tenon", column: "Tenon", library: "tenon", backend: "cpu" }, tfjs("cpu")],
};

/** It takes part where nothing is trained. */
export const ONNX_RUNTIME: ContestantSpec = {
  title: `ONNX Runtime Web, ${THREADS} threads`,
  column: "ONNX Runtime Web",
  library: "onnxruntime",
  backend: "wasm",
  threads: THREADS,
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
