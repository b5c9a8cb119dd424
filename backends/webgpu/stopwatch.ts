/**
 * Times of single kernels by the GPU's own clock.
 *
 * @module
 */
import type { KernelTime } from "../../core/backend.ts";
import type { Memory } from "./memory.ts";

const KERNELS_PER_SET = 2048;

interface Batch {
  readonly set: GPUQuerySet;
  readonly names: string[];
}

/** Gives every kernel a pass of its own with a timestamp at both ends. */
export class Stopwatch {
  readonly #batches: Batch[] = [];
  #begun = false;

  constructor(readonly memory: Memory) {}

  /** Starts the time of the next kernel, whose pass comes later. */
  begin(): void {
    const { set, names } = this.#batch();
    const timestampWrites = { querySet: set, beginningOfPassWriteIndex: 2 * names.length };
    this.memory.device.encoder().beginComputePass({ timestampWrites }).end();
    this.#begun = true;
  }

  /** A pass for one kernel; the caller ends it. */
  pass(name: string): GPUComputePassEncoder {
    const { set, names } = this.#batch();
    const at = 2 * (names.push(name) - 1);
    const beginning = this.#begun ? {} : { beginningOfPassWriteIndex: at };
    this.#begun = false;
    return this.memory.device.encoder().beginComputePass({
      timestampWrites: { querySet: set, ...beginning, endOfPassWriteIndex: at + 1 },
    });
  }

  /** Where the next two timestamps go. */
  #batch(): Batch {
    const { device } = this.memory;
    let batch = this.#batches.at(-1);
    if (!batch || batch.names.length === KERNELS_PER_SET) {
      batch = { set: device.gpu.createQuerySet({ type: "timestamp", count: 2 * KERNELS_PER_SET }), names: [] };
      this.#batches.push(batch);
    }
    return batch;
  }

  /** What was measured, once the GPU is done; milliseconds since the first kernel began. */
  async times(): Promise<KernelTime[]> {
    const { device } = this.memory;
    const times: KernelTime[] = [];
    let begin: bigint | null = null;
    const parts = this.#batches.map(({ set, names }) => {
      const bytes = 16 * names.length;
      const { QUERY_RESOLVE, COPY_SRC } = GPUBufferUsage;
      const resolved = device.gpu.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
      device.encoder().resolveQuerySet(set, 0, 2 * names.length, resolved, 0);
      return { set, names, resolved, copy: this.memory.readRaw(resolved, bytes) };
    });
    for (const { set, names, resolved, copy } of parts) {
      const stamps = new BigUint64Array(await copy);
      begin ??= stamps[0];
      names.forEach((name, i) => {
        const start = Number(stamps[2 * i] - begin!) / 1e6;
        times.push({ name, start, duration: Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6 });
      });
      resolved.destroy();
      set.destroy();
    }
    return times;
  }
}
