/**
 * Kernels and calls: what lowering makes of a program's steps.
 *
 * A kernel is a WebAssembly function `(args, begin, end)`. `args` points to a block of 32-bit words (pointers, sizes,
 * strides, constants), and `begin` to `end` is the range of its work items to do, so that threads can share one call.
 * Everything else is structure, named by the key: kernels with one key are one function, compiled once.
 *
 * @module
 */
import type { Assembler, Func, Int } from "./assembler.ts";
import { i32 } from "./instructions.ts";

/** Code for one structure of work. */
export interface Kernel<Name extends string = string> {
  /** Same key, same code. */
  readonly key: string;
  /** Words of the argument block, in order. */
  readonly args: readonly Name[];
  /** Adds the kernel's function to a module. */
  build(module: Assembler): Func;
}

/** A place in one of the program's buffers. */
export interface Ref {
  /** Index into the program's buffers, or {@linkcode TEMPORARY}. */
  readonly buffer: number;
  /** In bytes. */
  readonly offset: number;
}

/** `Ref.buffer` of memory that lives for one step. */
export const TEMPORARY = -1;

/** A word of an argument block: a number, or a place that becomes a pointer when the program runs. */
export type Arg = number | Ref;

/** One run of a kernel over `total` work items, in chunks of `chunk`. */
export interface Call {
  /** For reports. */
  readonly name: string;
  readonly kernel: Kernel;
  readonly args: Readonly<Record<string, Arg>>;
  readonly total: number;
  readonly chunk: number;
}

/** What a kernel's code starts from. */
export interface KernelBody<Name extends string> {
  readonly f: Func;
  /** The argument block, loaded into variables. */
  readonly args: Readonly<Record<Name, Int>>;
  readonly begin: Int;
  readonly end: Int;
}

/** A kernel whose code `write` writes. */
export function kernel<Name extends string>(
  key: string,
  args: readonly Name[],
  write: (body: KernelBody<Name>) => void,
): Kernel<Name> {
  return {
    key,
    args,
    build(module) {
      const f = module.func(key, ["i32", "i32", "i32"]);
      write({ f, args: loadArgs(f, f.int(0), args), begin: f.int(1), end: f.int(2) });
      return f;
    },
  };
}

/** Loads the words of an argument block into variables. */
function loadArgs<Name extends string>(
  f: Func,
  block: Int,
  names: readonly Name[],
): Record<Name, Int> {
  const entries = names.map((name, i) => [name, f.let(i32.load(block, 4 * i))]);
  return Object.fromEntries(entries);
}

/** A float constant as a word of an argument block. */
export function floatWord(value: number): number {
  return new Int32Array(new Float32Array([value]).buffer)[0];
}

/** Time that a chunk should take at least, in about nanoseconds, to be worth handing to another thread. */
const CHUNK_TIME = 10_000;
/** Most chunks of one call. */
const MOST_CHUNKS = 32;

/**
 * How many items one chunk should hold, when an item takes `cost` nanoseconds; a multiple of `step`. It depends on
 * nothing but the work, so that results do not depend on the number of threads.
 */
export function chunkOf(total: number, cost: number, step = 1): number {
  const chunks = Math.min(MOST_CHUNKS, Math.max(1, Math.floor(total * cost / CHUNK_TIME)));
  return Math.max(step, Math.ceil(total / chunks / step) * step);
}
