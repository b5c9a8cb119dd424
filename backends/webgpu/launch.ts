/**
 * A kernel ready to be recorded: its pipeline, its numbers, and the bind groups of the buffers it met before.
 *
 * @module
 */
import type { Home } from "./binding.ts";
import type { Access } from "./device.ts";
import type { Memory, UniformSlot, WebgpuBuffer } from "./memory.ts";
import type { Kernel } from "./shader.ts";

/** The buffer that lives at a place in this run. */
export type Resolve = (place: Home) => WebgpuBuffer;

/** The current turn of each loop. */
export type Turns = Map<number, number>;

/** Sets of buffers that a kernel remembers bind groups for: donated parameters swap between two. */
const REMEMBERED = 8;

interface Bound {
  readonly ids: readonly number[];
  readonly group: GPUBindGroup;
}

/** One kernel of a program on the device. */
export class Launch {
  readonly name: string;
  readonly #pipeline: GPUComputePipeline;
  readonly #layout: GPUBindGroupLayout;
  readonly #numbers: UniformSlot | null;
  readonly #turns: GPUBuffer | null;
  readonly #lengths: readonly number[];
  #bound: Bound[] = [];
  #next = 0;

  /** `lengths` are the numbers of turns of the loops around. */
  constructor(readonly kernel: Kernel, readonly memory: Memory, lengths: ReadonlyMap<number, number>) {
    const { device } = memory;
    const accesses: Access[] = kernel.bindings.map(({ access }) => access);
    if (kernel.numbers) accesses.push("uniform");
    if (kernel.loops.length > 0) accesses.push("turn");
    this.name = kernel.name;
    this.#pipeline = device.pipeline(kernel.name, kernel.code, accesses);
    this.#layout = device.layout(accesses);
    this.#numbers = kernel.numbers && memory.uniform(kernel.numbers);
    this.#lengths = kernel.loops.map((loop) => lengths.get(loop)!);
    this.#turns = kernel.loops.length > 0 ? memory.turns(this.#lengths) : null;
  }

  /** Records the dispatch. */
  record(pass: GPUComputePassEncoder, resolve: Resolve, turns: Turns): void {
    pass.setPipeline(this.#pipeline);
    const group = this.#group(resolve);
    if (this.#turns) {
      const { loops } = this.kernel;
      const slot = loops.reduce((at, loop, i) => at * this.#lengths[i] + turns.get(loop)!, 0);
      pass.setBindGroup(0, group, [slot * this.memory.device.limits.minUniformBufferOffsetAlignment]);
    } else {
      pass.setBindGroup(0, group);
    }
    const [x, y, z] = this.kernel.groups;
    pass.dispatchWorkgroups(x, y, z);
  }

  #group(resolve: Resolve): GPUBindGroup {
    const { bindings } = this.kernel;
    const buffers = bindings.map(({ place }) => resolve(place));
    const known = this.#bound.find(({ ids }) => ids.every((id, i) => id === buffers[i].id));
    if (known) return known.group;
    const entries: GPUBindGroupEntry[] = bindings.map(({ place, bytes }, binding) => {
      const offset = place.kind === "arena" ? place.offset : 0;
      const { gpu, bytes: whole } = buffers[binding];
      return {
        binding,
        resource: { buffer: gpu, offset, size: Math.max(16, Math.min(Math.ceil(bytes / 16) * 16, whole - offset)) },
      };
    });
    if (this.#numbers) entries.push({ binding: entries.length, resource: this.#numbers });
    if (this.#turns) entries.push({ binding: entries.length, resource: { buffer: this.#turns, size: 16 } });
    const group = this.memory.device.gpu.createBindGroup({ label: this.name, layout: this.#layout, entries });
    this.#bound[this.#next] = { ids: buffers.map(({ id }) => id), group };
    this.#next = (this.#next + 1) % REMEMBERED;
    return group;
  }

  dispose(): void {
    if (this.#numbers) this.memory.freeUniform(this.#numbers);
    this.#bound = [];
  }
}
