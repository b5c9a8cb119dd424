/**
 * The WebGPU backend: WGSL generated from the scalar table, one recording for a whole program.
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

/** A WebGPU backend; `destroy` gives the device back. */
export interface WebgpuBackend extends Backend {
  /** Ends the device; tensors on it are lost. */
  destroy(): void;
}

/**
 * Opens a WebGPU device and makes a backend of it.
 *
 * @throws {BackendError} If the runtime has no WebGPU or no adapter.
 */
export async function createWebgpu(): Promise<WebgpuBackend> {
  const device = await openDevice();
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
    destroy: () => device.destroy(),
  };
}
