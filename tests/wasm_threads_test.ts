/** Threads of the WebAssembly backend that cannot be, or fail. @module */
import { assert, assertThrows } from "@std/assert";
import { END, RECORD } from "../backends/wasm/dispatch.ts";
import { detectFeatures } from "../backends/wasm/features.ts";
import { i32 } from "../backends/wasm/instructions.ts";
import { kernel } from "../backends/wasm/kernel.ts";
import { Machine } from "../backends/wasm/machine.ts";
import { createWasm } from "../backends/wasm/mod.ts";
import { ArgumentError, DeviceLostError } from "../mod.ts";
import { testOn } from "./devices.ts";

/** Writes down the address of this thread's scratch memory. */
const whoami = kernel("whoami", ["to"], ({ f, args }) => f.do(i32.store(args.to, f.module.global("scratch"))));

/** Takes a while in the thread with this scratch memory, and fails in every other. */
const onlyFor = kernel("only for", ["scratch", "to"], ({ f, args }) => {
  f.if(i32.ne(f.module.global("scratch"), args.scratch), () => f.drop(i32.load(i32.const(-8)))); // past all memory
  f.for({ to: i32.const(1 << 20) }, (i) => f.do(i32.store(args.to, i)));
});

testOn("wasm", "wasm: a thread that fails ends in an error, not in a wait", () => {
  const features = detectFeatures();
  assert(features);
  if (!features.sharedMemory) return Promise.resolve();
  const machine = new Machine(features, 2), { heap } = machine;
  machine.install([whoami, onlyFor]);
  const place = heap.alloc(4), args = heap.alloc(8), record = heap.alloc(2 * RECORD.bytes);
  const fill = (name: string, words: readonly number[], chunks: number) => {
    heap.words.set(words, args / 4);
    heap.words.set([machine.kernels.get(name)!.index, args, chunks, 1, chunks], record / 4);
    heap.words[(record + RECORD.bytes) / 4] = END;
  };
  fill(whoami.key, [place], 1);
  machine.run(record, false);
  fill(onlyFor.key, [heap.words[place / 4], place], 32);
  const lost = () => {
    // the other thread starts after some work was done alone
    for (const begin = performance.now(); performance.now() - begin < 20_000;) machine.run(record, true);
  };
  assertThrows(lost, DeviceLostError, "Cannot run a program on wasm: one of its 2 threads failed, RuntimeError");
  assertThrows(() => machine.run(record, true), DeviceLostError);
  return Promise.resolve();
});

testOn("wasm", "wasm: a number of threads that makes no sense is refused", () => {
  for (const threads of [0, -1, 1.5, NaN, 65]) {
    assertThrows(
      () => createWasm({ threads }),
      ArgumentError,
      `Cannot use wasm with ${threads} threads: it must be a whole number from 1 to 64`,
    );
  }
  return Promise.resolve();
});
