/**
 * The machine that programs run on: memory, compiled kernels, the dispatcher and its threads.
 *
 * @module
 */
import { Assembler, type Features } from "./assembler.ts";
import { dispatcherModule, resetDispatcher } from "./dispatch.ts";
import type { Kernel } from "./kernel.ts";
import { Heap } from "./memory.ts";

/** A kernel's function in this thread, and its index in every thread's table. */
export interface Installed {
  readonly index: number;
  readonly run: (args: number, begin: number, end: number) => void;
}

/** Bytes of scratch memory that each thread's kernels may use while they run. */
export const SCRATCH_BYTES = 1 << 20;

interface Dispatcher {
  serial(record: number): void;
  run?(record: number, maySleep: number): void;
}

/** Memory and code. */
export class Machine {
  readonly heap: Heap;
  readonly kernels = new Map<string, Installed>();
  readonly threaded = false;
  readonly #features: Features;
  readonly #table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });
  readonly #dispatcher: Dispatcher;
  readonly #scratch: WebAssembly.Global;
  #arena = 0;
  #arenaBytes = 0;

  constructor(features: Features) {
    this.#features = features;
    this.heap = new Heap(features.sharedMemory);
    resetDispatcher(this.heap.words);
    this.#scratch = new WebAssembly.Global({ value: "i32" }, this.heap.alloc(SCRATCH_BYTES));
    this.#dispatcher = this.#instantiate(dispatcherModule(features, false)) as unknown as Dispatcher;
  }

  #instantiate(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Exports {
    const env = { memory: this.heap.memory, scratch: this.#scratch, table: this.#table };
    return new WebAssembly.Instance(new WebAssembly.Module(bytes), { env }).exports;
  }

  /** Compiles those of the kernels that are new, in one module. */
  install(kernels: readonly Kernel[]): void {
    const fresh = new Map(kernels.filter(({ key }) => !this.kernels.has(key)).map((kernel) => [kernel.key, kernel]));
    if (fresh.size === 0) return;
    const module = new Assembler(this.#features);
    [...fresh.values()].forEach((kernel, i) => module.export(`${i}`, kernel.build(module)));
    const exports = this.#instantiate(module.bytes());
    const first = this.#table.grow(fresh.size);
    [...fresh.keys()].forEach((key, i) => {
      const run = exports[i] as Installed["run"];
      this.#table.set(first + i, run);
      this.kernels.set(key, { index: first + i, run });
    });
  }

  /** Memory for intermediates of the program that is about to run, shared by all programs. */
  arena(bytes: number): number {
    if (bytes > this.#arenaBytes) {
      if (this.#arenaBytes > 0) this.heap.free(this.#arena);
      this.#arenaBytes = 0;
      this.#arena = this.heap.alloc(bytes);
      this.#arenaBytes = bytes;
    }
    return this.#arena;
  }

  /** Runs the records from `record` on. */
  run(record: number): void {
    this.#dispatcher.serial(record);
  }
}
