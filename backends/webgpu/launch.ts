/**
 * A kernel ready to be recorded: its pipeline, its numbers, and the bind groups of the buffers it met before.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { Home } from "./binding.ts";
import type { Access } from "./device.ts";
import type { Memory, UniformSlot, WebgpuBuffer } from "./memory.ts";
import type { Kernel } from "./shader.ts";
import type { Stopwatch } from "./stopwatch.ts";

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

/** What of a launch depends on the text of its kernel. */
interface Prepared {
  readonly kernel: Kernel;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly numbers: UniformSlot | null;
}

function prepare(kernel: Kernel, memory: Memory): Prepared {
  const { device } = memory, limit = device.limits.maxStorageBufferBindingSize;
  const large = kernel.bindings.find(({ bytes, access }) => bytes > limit && access !== "image");
  if (large) {
    throw new BackendError(
      `Cannot run ${kernel.name.slice(0, 80)} on webgpu: it ${large.access}s ${large.bytes} bytes, ` +
        `${device.description} lets a kernel see ${limit} of a buffer`,
    );
  }
  const accesses: Access[] = kernel.bindings.map(({ access }) => access);
  if (kernel.numbers) accesses.push("uniform");
  if (kernel.loops.length > 0) accesses.push("turn");
  return {
    kernel,
    pipeline: device.pipeline(kernel.name, kernel.code, accesses),
    layout: device.layout(accesses),
    numbers: kernel.numbers && memory.uniform(kernel.numbers),
  };
}

/** One kernel of a program on the device. */
export class Launch {
  readonly name: string;
  #prepared: Prepared;
  readonly #turns: GPUBuffer | null;
  readonly #lengths: readonly number[];
  #bound: Bound[] = [];
  #next = 0;
  #disposed = false;

  /** `original` is the kernel as it was lowered; `lengths` are the numbers of turns of the loops around. */
  constructor(readonly original: Kernel, readonly memory: Memory, lengths: ReadonlyMap<number, number>) {
    this.name = original.name;
    this.#prepared = prepare(memory.tuner.best(original), memory);
    this.#lengths = original.loops.map((loop) => lengths.get(loop)!);
    this.#turns = original.loops.length > 0 ? memory.turns(this.#lengths) : null;
  }

  /** Takes another kernel that computes the same. */
  use(kernel: Kernel): void {
    if (this.#disposed) return; // while the candidates were timed
    this.#release();
    this.#prepared = prepare(kernel, this.memory);
  }

  /** Records the dispatch, behind copies to the images that it reads; a stopwatch times both. */
  record(resolve: Resolve, turns: Turns, stopwatch?: Stopwatch): void {
    const { kernel, pipeline } = this.#prepared;
    const { device, tuner } = this.memory;
    if (this.original.tuning) tuner.watch(this, this.original.tuning);
    const hasImages = kernel.bindings.some(({ access }) => access === "image");
    if (hasImages) stopwatch?.begin();
    if (hasImages) this.#copy(resolve);
    const pass = stopwatch?.pass(this.name) ?? device.pass();
    pass.setPipeline(pipeline);
    const group = this.#group(resolve);
    if (this.#turns) {
      const { loops } = kernel;
      const slot = loops.reduce((at, loop, i) => at * this.#lengths[i] + turns.get(loop)!, 0);
      pass.setBindGroup(0, group, [slot * this.memory.device.limits.minUniformBufferOffsetAlignment]);
    } else {
      pass.setBindGroup(0, group);
    }
    const [x, y, z] = kernel.groups;
    pass.dispatchWorkgroups(x, y, z);
    if (stopwatch) pass.end();
  }

  /** Records copies of the buffers that are read as images. */
  #copy(resolve: Resolve): void {
    const { device, images } = this.memory;
    const read = this.#prepared.kernel.bindings.filter(({ access }) => access === "image");
    const targets = read.map(({ bytes }, slot) => images.at(slot, bytes));
    const encoder = device.encoder();
    read.forEach(({ place, bytes }, slot) => {
      const offset = place.kind === "arena" ? place.offset : 0;
      images.copy(encoder, resolve(place).gpu, offset, bytes, targets[slot]);
    });
  }

  #group(resolve: Resolve): GPUBindGroup {
    const { kernel: { bindings }, layout, numbers } = this.#prepared;
    let slot = 0;
    const { nothing, nowhere, images } = this.memory;
    const bound = bindings.map(({ place, bytes, access }) => {
      if (access === "image") return images.at(slot++, bytes);
      const buffer = resolve(place);
      return buffer === nothing && access === "write" ? nowhere : buffer;
    });
    const known = this.#bound.find(({ ids }) => ids.every((id, i) => id === bound[i].id));
    if (known) return known.group;
    const entries: GPUBindGroupEntry[] = bindings.map(({ place, bytes }, binding) => {
      const offset = place.kind === "arena" ? place.offset : 0;
      const item = bound[binding];
      if ("view" in item) return { binding, resource: item.view };
      const { gpu, bytes: whole } = item;
      return {
        binding,
        resource: { buffer: gpu, offset, size: Math.max(16, Math.min(Math.ceil(bytes / 16) * 16, whole - offset)) },
      };
    });
    if (numbers) entries.push({ binding: entries.length, resource: numbers });
    if (this.#turns) entries.push({ binding: entries.length, resource: { buffer: this.#turns, size: 16 } });
    const group = this.memory.device.gpu.createBindGroup({ layout, entries });
    this.#bound[this.#next] = { ids: bound.map(({ id }) => id), group };
    this.#next = (this.#next + 1) % REMEMBERED;
    return group;
  }

  #release(): void {
    this.memory.device.releasePipeline(this.#prepared.kernel.code);
    if (this.#prepared.numbers) this.memory.freeUniform(this.#prepared.numbers);
    this.#bound = [];
    this.#next = 0;
  }

  dispose(): void {
    this.#disposed = true;
    if (this.original.tuning) this.memory.tuner.forget(this, this.original.tuning.key);
    this.#release();
  }
}
