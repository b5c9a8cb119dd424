/**
 * The WebGPU backend: WGSL generated from the scalar table, one recording for a whole program.
 *
 * ```text
 *  running    program ops launch  device memory images tuning stopwatch
 *  regions    region rows row_layout epilogue
 *  products   matmul matmul_tile  conv conv_filter
 *  attention  attention*
 *  other ops  index sort reduce pool
 *  code       scalar math  shader binding
 * ```
 *
 * @module
 */
import type { Backend } from "../../core/backend.ts";
import { openDevice } from "./device.ts";
import { Memory } from "./memory.ts";
import { OPS } from "./ops.ts";
import { WebgpuProgram } from "./program.ts";

/** Ops whose kernels read their inputs through any strides. */
const STRIDED: ReadonlySet<string> = new Set(["matmul", "attention", "attentionGrad"]);

/** How the backend is set up. */
export interface WebgpuOptions {
  /**
   * Multiplies matrices of f16 in f16, where they are cast to f32 otherwise: for GPUs that compute f16 faster. It is
   * slower on a software adapter. Off if not given.
   *
   * Of the products along k, four at a time are added up in f16, and those sums in f32. Each sum of four is off by up to
   * 2⁻⁹ of the magnitudes of its products together; beyond 65,504 it is infinite, and products below 6e-8 are lost. (If
   * k is no multiple of four, each product is rounded by itself.) Everything else, products with an f32 operand too,
   * computes in f32 with or without the option.
   */
  readonly f16Arithmetic?: boolean;
}

/** A WebGPU backend; `destroy` gives the device back. */
export interface WebgpuBackend extends Backend {
  /** Ends the device; tensors on it are lost. */
  destroy(): void;
}

/**
 * Opens a WebGPU device and makes a backend of it.
 *
 * @throws {BackendError} If the runtime has no WebGPU or no adapter, or the adapter no `shader-f16` that is asked for.
 */
export async function createWebgpu(options: WebgpuOptions = {}): Promise<WebgpuBackend> {
  const device = await openDevice(options);
  const memory = new Memory(device);
  return {
    name: "webgpu",
    description: device.description,
    alloc: (bytes) => memory.alloc(bytes),
    free: (buffer) => memory.free(buffer),
    write: (buffer, data) => memory.write(buffer, data),
    read: (buffer, bytes) => memory.read(buffer, bytes),
    kernels: {},
    compile: (program) => new WebgpuProgram(program, memory),
    lowers: new Set([...Object.keys(OPS), "scan"]),
    strided: STRIDED,
    takesF16: new Set(options.f16Arithmetic ? ["matmul"] : []),
    lost: () => device.lost,
    destroy: () => device.destroy(),
  };
}
