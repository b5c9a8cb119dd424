/**
 * The WebAssembly backend: SIMD kernels generated at run time, on one thread or several.
 *
 * ```text
 *  program ── lowering.ts ──> calls of kernels ── program.ts ──> records in memory ── dispatch.ts ──> done
 *               region.ts, matmul.ts, conv.ts, ...                  machine.ts compiles new kernels
 * ```
 *
 * The files:
 *
 * ```text
 *  running    lowering op_call kernel  program dispatch  machine threads memory scratch features
 *  regions    region axes split  region_analysis region_code region_values access
 *  products   matmul matvec  product product_code tile  packing packing_ahead epilogue  batch blocks
 *  images     conv conv_input_grad image_product windows padding  direct pool  winograd*
 *  attention  attention*
 *  other ops  index sort argmax cumulative update
 *  code       scalar math arithmetic trigonometry half  assembler instructions simd
 * ```
 *
 * @module
 */
import type { Backend, Executable } from "../../core/backend.ts";
import { ArgumentError, BackendError } from "../../core/errors.ts";
import { detectFeatures } from "./features.ts";
import { lowerings } from "./lowering.ts";
import { Machine } from "./machine.ts";
import { WasmProgram } from "./program.ts";

/** How the backend is set up. */
export interface WasmOptions {
  /**
   * Threads to use, this one included, up to 64; as many as the machine has (at most 16) if not given. Always 1 where
   * memory cannot be shared.
   */
  readonly threads?: number;
}

/** More threads than the first seldom help, and their scratch memory adds up; more than the second are a mistake. */
const DEFAULT_MOST_THREADS = 16, MOST_THREADS = 64;

function defaultThreads(): number {
  return Math.max(1, Math.min(DEFAULT_MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1));
}

/**
 * Makes the WebAssembly backend.
 *
 * @throws {BackendError} Where WebAssembly has no SIMD.
 * @throws {ArgumentError} If the number of threads makes no sense.
 */
export function createWasm(options: WasmOptions = {}): Backend<number | null> {
  const features = detectFeatures();
  if (!features) throw new BackendError("Cannot use wasm: this engine has no WebAssembly SIMD");
  const { threads: wanted = defaultThreads() } = options;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST_THREADS) {
    throw new ArgumentError(
      `Cannot use wasm with ${wanted} threads: it must be a whole number from 1 to ${MOST_THREADS}`,
    );
  }
  const threads = features.sharedMemory ? wanted : 1;
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
    lost: () => machine.lost,
    kernels: {},
    compile: (program): Executable<number | null> => new WasmProgram(machine, program),
    lowers: new Set([...Object.keys(lowerings), "scan"]),
    strided: new Set(["matmul", "attention", "attentionGrad"]),
  };
}
