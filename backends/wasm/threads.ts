/**
 * Worker threads: started when there is work to share, asleep when there is none, gone when the process is done.
 *
 * Every worker runs the dispatcher's `work` over the shared memory and never returns to JavaScript, except to compile
 * kernels that are new to it. Those it finds in a list in shared memory, so nothing is posted after the start.
 *
 * @module
 */

/** What a worker is given. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  /** The dispatcher's module. */
  readonly dispatcher: WebAssembly.Module;
  /** Address of this worker's scratch memory. */
  readonly scratch: number;
  /** Address of the first entry of the list of modules; see {@linkcode MODULE_ENTRY}. */
  readonly modules: number;
  /** Address of the dispatcher's word of work, and what it says when nothing is running. */
  readonly work: number;
  readonly nothing: bigint;
  /** Address of two words that stay 0: where the message of a thread that failed lies, and its length in bytes. */
  readonly failure: number;
}

/** Byte offsets of an entry of the list of modules. Word `next` is 0 until there is another entry. */
export const MODULE_ENTRY = { next: 0, bytes: 4, length: 8, kernels: 12, size: 16 } as const;

/**
 * A worker's whole program. Its source is all that reaches the worker: it must name nothing outside of itself.
 *
 * An entry of the list of modules is `[next, bytes, length, kernels]`; exports "0", "1", ... become the next entries of
 * the table, in the same order in every thread.
 */
function workerMain({ memory, dispatcher, scratch, modules, work, nothing, failure }: WorkerStart): void {
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });
  let entry = modules;
  const install = () => {
    memory.grow(0); // a thread knows of memory that another added only after this
    const words = new Int32Array(memory.buffer);
    for (;;) {
      const next = Atomics.load(words, entry >>> 2) >>> 0;
      if (next === 0) return;
      const [, bytes, length, kernels] = words.subarray(next >>> 2, (next >>> 2) + 4);
      const code = new Uint8Array(memory.buffer, bytes >>> 0, length).slice();
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { env });
      const first = table.grow(kernels);
      for (let i = 0; i < kernels; i++) table.set(first + i, exports[i] as CallableFunction);
      entry = next;
    }
  };
  const env = { memory, table, install, scratch: new WebAssembly.Global({ value: "i32" }, scratch) };
  // nobody can finish what this thread began: say so, and end the program for the thread that waits
  const fail = (error: unknown) => {
    const bytes = new TextEncoder().encode(`${error}`.slice(0, 1000)), words = new Int32Array(memory.buffer);
    new Uint8Array(memory.buffer).set(bytes, scratch);
    words[failure / 4 + 1] = bytes.length;
    Atomics.store(words, failure / 4, scratch);
    Atomics.store(new BigInt64Array(memory.buffer), work / 8, nothing);
    Atomics.notify(words, work / 4 + 1);
  };
  try {
    const { exports } = new WebAssembly.Instance(dispatcher, { env });
    install();
    (exports as { work(): void }).work();
  } catch (error) {
    fail(error);
  }
}

/** The part of `node:worker_threads` (Deno, Node, Bun) that is used here. */
interface NodeThreads {
  readonly Worker: new (source: string, options: { eval: true; workerData: unknown }) => { unref(): void };
}

function nodeThreads(): NodeThreads | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } };
  return process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;
}

/** Starts a worker that does not keep the process alive. In a browser it ends with the page. */
export function startWorker(start: WorkerStart): void {
  const threads = nodeThreads();
  if (threads) {
    const source = `(${workerMain})(require("node:worker_threads").workerData)`;
    new threads.Worker(source, { eval: true, workerData: start }).unref();
    return;
  }
  const source = `onmessage = (event) => (${workerMain})(event.data)`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  worker.postMessage(start);
}

/** Whether this thread may sleep: a browser's main thread may not. */
export function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}
