/**
 * A program in memory: records and argument blocks for the dispatcher, and the words that change with the buffers.
 *
 * @module
 */
import type { Executable, KernelTime } from "../../core/backend.ts";
import type { LoopStep, Place, Program } from "../../core/program.ts";
import { END, RECORD, TURN, TURN_BLOCK } from "./dispatch.ts";
import { type Call, type Ref, TEMPORARY } from "./kernel.ts";
import { type Item, Lowering } from "./lowering.ts";
import type { Machine } from "./machine.ts";

/** A word that holds a pointer into a buffer. */
interface Patch {
  /** Index of the word in memory. */
  readonly word: number;
  readonly offset: number;
}

/** Where a buffer is: in a buffer that the caller gives or in the arena, moving with the turns of loops. */
interface Resolved {
  readonly base: string;
  readonly offset: number;
  readonly moves: readonly { readonly loop: number; readonly stride: number }[];
}

const ARENA = "arena";

/** A program made ready to run. */
export class WasmProgram implements Executable<number | null> {
  readonly #machine: Machine;
  readonly #program: Program;
  readonly #block: number;
  readonly #arenaBytes: number;
  readonly #calls: Call[] = [];
  readonly #patches = new Map<string, Patch[]>();
  readonly #inputs: (readonly Patch[] | undefined)[];
  readonly #outputs: (readonly Patch[] | undefined)[];
  readonly #last: number[];
  readonly #loops = new Map<number, { readonly step: LoopStep; readonly moves: number[] }>();
  /** Names of the calls by the address of their records. */
  readonly #names = new Map<number, string>();
  #arena = -1;
  /** Whether some call has several chunks. */
  #shared = false;
  /** The only call, when it is small: it is called without the dispatcher. */
  #single: {
    readonly run: (args: number, begin: number, end: number) => void;
    readonly args: number;
    readonly total: number;
  } | null = null;

  constructor(machine: Machine, program: Program) {
    this.#machine = machine;
    this.#program = program;
    const lowering = new Lowering(program, machine.threads);
    this.#arenaBytes = program.arenaBytes + lowering.temporaryBytes;
    this.#collect(lowering.items);
    machine.install(this.#calls.map((call) => call.kernel));
    this.#block = machine.heap.alloc(this.#measure(lowering.items));
    this.#write(lowering.items);
    this.#inputs = program.inputs.map((_, i) => this.#patches.get(`input${i}`));
    this.#outputs = program.outputs.map((_, i) => this.#patches.get(`output${i}`));
    this.#last = new Array(program.inputs.length + program.outputs.length).fill(-1);
  }

  run(inputs: readonly (number | null)[], outputs: readonly (number | null)[]): void {
    this.#bind(inputs, outputs);
    if (this.#single) this.#single.run(this.#single.args, 0, this.#single.total);
    else if (this.#calls.length > 0) this.#machine.run(this.#block, this.#shared);
  }

  /** Runs the program record by record, and measures each. */
  profile(inputs: readonly (number | null)[], outputs: readonly (number | null)[]): Promise<KernelTime[]> {
    this.#bind(inputs, outputs);
    const { heap, dispatcher } = this.#machine;
    const probe = heap.alloc(2 * RECORD.bytes); // one record, and the end
    const { words } = heap;
    words[(probe + RECORD.bytes) / 4] = END;
    const begin = performance.now();
    const times: KernelTime[] = [];
    for (let record = this.#block; words[record / 4] !== END;) {
      if (words[record / 4] === TURN) {
        record = dispatcher.turn(record) >>> 0;
        continue;
      }
      words.copyWithin(probe / 4, record / 4, (record + RECORD.bytes) / 4);
      const start = performance.now();
      this.#machine.run(probe, true);
      const name = this.#names.get(record)!;
      times.push({ name, start: start - begin, duration: performance.now() - start });
      record += RECORD.bytes;
    }
    heap.free(probe);
    return Promise.resolve(times);
  }

  dispose(): void {
    this.#machine.heap.free(this.#block);
  }

  // Running.

  /** Writes the pointers that are not what they were in the last run. */
  #bind(inputs: readonly (number | null)[], outputs: readonly (number | null)[]): void {
    const { heap } = this.#machine;
    const arena = this.#arenaBytes > 0 ? this.#machine.arena(this.#arenaBytes) : 0;
    const { words } = heap;
    const last = this.#last;
    const bind = (pointer: number | null, slot: number, patches: readonly Patch[] | undefined) => {
      if (patches === undefined || pointer === null || last[slot] === pointer) return;
      last[slot] = pointer;
      for (const { word, offset } of patches) words[word] = pointer + offset;
    };
    for (let i = 0; i < inputs.length; i++) bind(inputs[i], i, this.#inputs[i]);
    for (let i = 0; i < outputs.length; i++) bind(outputs[i], inputs.length + i, this.#outputs[i]);
    if (arena !== this.#arena) {
      this.#arena = arena;
      for (const { word, offset } of this.#patches.get(ARENA) ?? []) words[word] = arena + offset;
    }
  }

  // Layout.

  #collect(items: readonly Item[]): void {
    for (const item of items) {
      if ("kernel" in item) this.#calls.push(item);
      else {
        this.#loops.set(item.loop.loop, { step: item.loop, moves: [] });
        this.#collect(item.items);
      }
    }
  }

  /** Bytes for all records and argument blocks; a loop's turn block may hold a move for every word inside. */
  #measure(items: readonly Item[]): number {
    const wordsIn = (items: readonly Item[]): number =>
      items.reduce((n, item) => n + ("kernel" in item ? item.kernel.args.length : wordsIn(item.items)), 0);
    let bytes = RECORD.bytes;
    const visit = (items: readonly Item[]) => {
      for (const item of items) {
        bytes += RECORD.bytes;
        if ("kernel" in item) bytes += 4 * item.kernel.args.length;
        else {
          bytes += TURN_BLOCK.moves + 8 * wordsIn(item.items);
          visit(item.items);
        }
      }
    };
    visit(items);
    return bytes;
  }

  #write(items: readonly Item[]): void {
    const { heap } = this.#machine;
    let record = this.#block;
    const records = (items: readonly Item[]): number =>
      items.reduce((n, item) => n + 1 + ("kernel" in item ? 0 : records(item.items)), 0);
    let args = this.#block + RECORD.bytes * (records(items) + 1);
    const turns: { readonly loop: number; readonly record: number; readonly first: number }[] = [];
    const write = (items: readonly Item[]) => {
      for (const item of items) {
        if ("kernel" in item) {
          this.#writeCall(item, record, args);
          args += 4 * item.kernel.args.length;
        } else {
          const first = record;
          write(item.items);
          turns.push({ loop: item.loop.loop, record, first });
        }
        record += RECORD.bytes;
      }
    };
    write(items);
    heap.words[(record + RECORD.kernel) / 4] = END;
    for (const turn of turns) args = this.#writeTurn(turn, args);
  }

  #writeCall(call: Call, record: number, args: number): void {
    const { heap, kernels } = this.#machine;
    const { words } = heap;
    const { kernel, total, chunk } = call;
    const installed = kernels.get(kernel.key)!;
    const chunks = Math.max(1, Math.ceil(total / chunk));
    words.set([installed.index, args, total, chunk, chunks], record / 4);
    this.#names.set(record, call.name);
    if (chunks > 1) this.#shared = true;
    kernel.args.forEach((name, i) => {
      const arg = call.args[name];
      if (typeof arg === "number") words[args / 4 + i] = arg;
      else this.#addPatch(args / 4 + i, arg);
    });
    if (this.#calls.length === 1 && this.#loops.size === 0 && (chunks === 1 || this.#machine.threads === 1)) {
      this.#single = { run: installed.run, args, total };
    }
  }

  #writeTurn(turn: { loop: number; record: number; first: number }, args: number): number {
    const { words } = this.#machine.heap;
    const { step, moves } = this.#loops.get(turn.loop)!;
    words.set([TURN, args, 1, 1, 1], turn.record / 4); // one chunk: nobody shares it
    words.set([step.length, step.length, turn.first, moves.length / 2, ...moves], args / 4);
    return args + TURN_BLOCK.moves + 4 * moves.length;
  }

  #addPatch(word: number, ref: Ref): void {
    const { base, offset, moves } = this.#resolve(ref);
    let patches = this.#patches.get(base);
    if (!patches) this.#patches.set(base, patches = []);
    patches.push({ word, offset });
    for (const { loop, stride } of moves) this.#loops.get(loop)!.moves.push(4 * word, stride);
  }

  #resolve({ buffer, offset }: Ref): Resolved {
    if (buffer === TEMPORARY) return { base: ARENA, offset: this.#program.arenaBytes + offset, moves: [] };
    const place: Place = this.#program.buffers[buffer].place;
    switch (place.kind) {
      case "input":
      case "output":
        return { base: `${place.kind}${place.index}`, offset, moves: [] };
      case "arena":
        return { base: ARENA, offset: place.offset + offset, moves: [] };
      case "slice": {
        const { reverse, length } = this.#loops.get(place.loop)!.step;
        const start = reverse ? (length - 1) * place.stride : 0;
        const whole = this.#resolve({ buffer: place.of, offset: offset + start });
        return {
          ...whole,
          moves: [...whole.moves, { loop: place.loop, stride: reverse ? -place.stride : place.stride }],
        };
      }
    }
  }
}
