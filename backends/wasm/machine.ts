/**
 * The machine that programs run on: memory, compiled kernels, the dispatcher and its threads.
 *
 * @module
 */
import { Assembler, type Features } from "./assembler.ts";
import { DeviceLostError } from "../../core/errors.ts";
import { dispatcherModule, FAILURE, NOTHING, resetDispatcher, WORK } from "./dispatch.ts";
import type { Kernel } from "./kernel.ts";
import { Heap } from "./memory.ts";
import { SCRATCH_BYTES } from "./scratch.ts";
import { maySleep, MODULE_ENTRY, startWorker } from "./threads.ts";

/** A kernel's function in this thread, and its index in every thread's table. */
export interface Installed {
  readonly index: number;
  readonly run: (args: number, begin: number, end: number) => void;
}

/** Milliseconds of work that could have been shared after which the workers are started. */
const PATIENCE = 50;

interface Dispatcher {
  serial(record: number): void;
  /** Moves on a loop's turn, and gives the record to go on with. */
  turn(record: number): number;
  run(record: number, maySleep: number): void;
}

/** Memory and code. */
export class Machine {
  readonly heap: Heap;
  readonly kernels = new Map<string, Installed>();
  readonly dispatcher: Dispatcher;
  readonly #features: Features;
  readonly #table = new WebAssembly.Table({ element: "anyfunc", initial: 0 });
  readonly #env: WebAssembly.ModuleImports;
  readonly #dispatcherModule: WebAssembly.Module;
  readonly #firstModule: number;
  #lastModule: number;
  #arena = 0;
  #arenaBytes = 0;
  /** Milliseconds of work done alone, until the workers are started. */
  #alone = 0;
  #started = false;
  /** Why a thread failed, if one did. */
  #lost: string | null = null;
  readonly #maySleep: number;

  /** `threads` counts this one. */
  constructor(features: Features, readonly threads: number) {
    this.#features = features;
    this.heap = new Heap(features.sharedMemory);
    resetDispatcher(this.heap.words);
    this.#env = {
      memory: this.heap.memory,
      table: this.#table,
      scratch: this.#scratch(),
      install: () => {},
    };
    this.#dispatcherModule = new WebAssembly.Module(dispatcherModule(features, threads > 1));
    const { exports } = new WebAssembly.Instance(this.#dispatcherModule, { env: this.#env });
    this.dispatcher = exports as unknown as Dispatcher;
    this.#firstModule = this.#lastModule = this.heap.alloc(MODULE_ENTRY.size);
    this.heap.words[this.#firstModule / 4] = 0;
    this.#maySleep = threads > 1 && maySleep() ? 1 : 0;
  }

  #scratch(): WebAssembly.Global {
    return new WebAssembly.Global({ value: "i32" }, this.heap.alloc(SCRATCH_BYTES) | 0);
  }

  /** Compiles those of the kernels that are new, in one module. */
  install(kernels: readonly Kernel[]): void {
    const fresh = new Map(kernels.filter(({ key }) => !this.kernels.has(key)).map((kernel) => [kernel.key, kernel]));
    if (fresh.size === 0) return;
    const module = new Assembler(this.#features);
    [...fresh.values()].forEach((kernel, i) => module.export(`${i}`, kernel.build(module)));
    const bytes = module.bytes();
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: this.#env });
    const first = this.#table.grow(fresh.size);
    [...fresh.keys()].forEach((key, i) => {
      const run = exports[i] as Installed["run"];
      this.#table.set(first + i, run);
      this.kernels.set(key, { index: first + i, run });
    });
    if (this.threads > 1) this.#announce(bytes, fresh.size);
  }

  /** Appends a module to the list that workers read. */
  #announce(bytes: Uint8Array<ArrayBuffer>, kernels: number): void {
    const { heap } = this;
    const code = heap.alloc(bytes.length), entry = heap.alloc(MODULE_ENTRY.size);
    heap.bytes.set(bytes, code);
    heap.words.set([0, code, bytes.length, kernels], entry / 4);
    Atomics.store(heap.words, this.#lastModule / 4, entry | 0);
    this.#lastModule = entry;
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

  /** Runs the records from `record` on; `shared` says that some of them have several chunks. */
  run(record: number, shared: boolean): void {
    if (!shared || this.threads === 1) return this.dispatcher.serial(record);
    if (this.#started) return this.#runShared(record);
    const start = performance.now();
    this.dispatcher.serial(record);
    this.#alone += performance.now() - start;
    if (this.#alone > PATIENCE) this.#start();
  }

  /** Whether a thread has failed. */
  get lost(): boolean {
    return this.#lost !== null;
  }

  #runShared(record: number): void {
    this.#requireThreads();
    try {
      this.dispatcher.run(record, this.#maySleep);
    } catch (error) {
      this.#lost = `${error}`; // the others are still at work on what this thread began
      throw error;
    }
    this.#requireThreads();
  }

  /** Throws if a thread has failed: then what it worked on is not done, and the others may still be writing. */
  #requireThreads(): void {
    const { words, bytes } = this.heap;
    const at = Atomics.load(words, FAILURE / 4) >>> 0;
    if (at !== 0) this.#lost ??= new TextDecoder().decode(bytes.slice(at, at + words[FAILURE / 4 + 1]));
    if (this.#lost === null) return;
    throw new DeviceLostError(`Cannot run a program on wasm: one of its ${this.threads} threads failed, ${this.#lost}`);
  }

  /** Starts the workers; until they are up, this thread does what there is to do. */
  #start(): void {
    this.#started = true;
    for (let i = 1; i < this.threads; i++) {
      startWorker({
        memory: this.heap.memory,
        dispatcher: this.#dispatcherModule,
        scratch: this.heap.alloc(SCRATCH_BYTES) | 0,
        modules: this.#firstModule,
        work: WORK,
        nothing: NOTHING,
        failure: FAILURE,
      });
    }
  }
}
