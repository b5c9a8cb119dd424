/**
 * The WebAssembly backend: SIMD kernels generated at run time, on one thread or several.
 *
 * ```text
 *  program ── lowering.ts ──> calls of kernels ── program.ts ──> records in memory ── dispatch.ts ──> done
 *               region.ts, matmul.ts, conv.ts, ...                  machine.ts compiles new kernels
 * ```
 *
 * @module
 */
import type { Backend, Executable } from "../../core/backend.ts";
import { BackendError } from "../../core/errors.ts";
import { detectFeatures } from "./features.ts";
import { lowerings } from "./lowering.ts";
import { Machine } from "./machine.ts";
import { WasmProgram } from "./program.ts";

/** How the backend is set up. */
export interface WasmOptions {
  /** Threads to use, this one included; as many as the machine has (at most 16) if not given. */
  readonly threads?: number;
}

/** More threads than this seldom help, and their scratch memory adds up. */
const MOST_THREADS = 16;

function defaultThreads(): number {
  return Math.max(1, Math.min(MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1));
}

/**
 * Makes the WebAssembly backend.
 *
 * @throws {BackendError} Where WebAssembly has no SIMD.
 */
export function createWasm(options: WasmOptions = {}): Backend<number | null> {
  const features = detectFeatures();
  if (!features) throw new BackendError("Cannot use wasm: this engine has no WebAssembly SIMD");
  const threads = features.sharedMemory ? options.threads ?? defaultThreads() : 1;
  const machine = new Machine(features, threads);
  const { heap } = machine;
  const copy = (pointer: number | null, bytes: number): ArrayBuffer => {
    const result = new ArrayBuffer(bytes);
    if (pointer !== null) new Uint8Array(result).set(heap.bytes.subarray(pointer, pointer + bytes));
    return result;
  };
  return {
    name: "wasm",
    description: `${threads} thread${threads === 1 ? "" : "s"}, ${features.relaxedSimd ? "relaxed SIMD" : "SIMD"}`,
    alloc: (bytes) => heap.alloc(bytes),
    free(pointer) {
      if (pointer !== null) heap.free(pointer); // tensors without elements have no memory
    },
    write(pointer, data) {
      if (pointer === null) return;
      heap.bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), pointer);
    },
    read: (pointer, bytes) => Promise.resolve(copy(pointer, bytes)),
    readSync: copy,
    kernels: {},
    compile: (program): Executable<number | null> => new WasmProgram(machine, program),
    lowers: new Set([...Object.keys(lowerings), "scan"]),
    strided: new Set(["matmul", "attention", "attentionGrad"]),
  };
}
