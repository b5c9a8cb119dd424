/**
 * Programs on the GPU: every step lowered to kernels once, then replayed as one recording.
 *
 * ```text
 *  Step ── region.., rows.., matmul.. ──> Kernel { text, bindings, numbers, groups } ──> Launch { pipeline, bind groups }
 * ```
 *
 * @module
 */
import type { Executable, KernelTime } from "../../core/backend.ts";
import { MissingKernelError } from "../../core/errors.ts";
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { BufferPlan, OpStep, Program, RegionStep, Step } from "../../core/program.ts";
import type { Images } from "./images.ts";
import { Launch, type Resolve, type Turns } from "./launch.ts";
import type { Memory, WebgpuBuffer } from "./memory.ts";
import { OPS } from "./ops.ts";
import { lowerMap } from "./region.ts";
import { lowerRows } from "./rows.ts";
import type { Home } from "./binding.ts";
import type { Context, Kernel } from "./shader.ts";

/** Programs of more steps than this have their sizes written into the text: fewer instructions, more texts. */
const SHARED_STEPS = 4;

/** A lowered step. */
type Item = Launch | {
  readonly loop: number;
  readonly length: number;
  readonly reverse: boolean;
  readonly items: readonly Item[];
};

/** Counts the steps that write each buffer. */
function countWriters(steps: readonly Step[], writers: Map<number, number>): Map<number, number> {
  for (const step of steps) {
    if (step.kind === "loop") countWriters(step.steps, writers);
    else for (const output of new Set(step.outputs)) writers.set(output, (writers.get(output) ?? 0) + 1);
  }
  return writers;
}

/** What lowerings may ask of a program; hands out scratch memory behind its arena. */
class ProgramContext implements Context {
  readonly shared: boolean;
  readonly software: boolean;
  readonly f16Arithmetic: boolean;
  readonly maxBuffers: number;
  readonly #writers: ReadonlyMap<number, number>;
  readonly #images: Images | null;
  readonly #extra: BufferPlan[] = [];
  #used = 0;
  #loops = false;
  /** Most scratch memory that any step needs. */
  scratchBytes = 0;

  constructor(readonly program: Program, { device, images }: Memory) {
    this.shared = program.steps.length <= SHARED_STEPS;
    this.software = device.software;
    this.f16Arithmetic = device.f16Arithmetic;
    this.#images = device.images ? images : null;
    this.maxBuffers = device.limits.maxStorageBuffersPerShaderStage;
    this.#writers = countWriters(program.steps, new Map());
  }

  buffer(index: number): BufferPlan {
    return this.program.buffers[index] ?? this.#extra[index - this.program.buffers.length];
  }

  hasImage({ place, bytes }: BufferPlan, dtype: DType): boolean {
    return dtype === "f32" && place.kind !== "slice" && !this.#loops && this.#images !== null &&
      this.#images.fits(bytes);
  }

  /** A number for a buffer that the program does not know. */
  add(buffer: BufferPlan): number {
    return this.program.buffers.length + this.#extra.push(buffer) - 1;
  }

  soleWriter(index: number): boolean {
    return this.#writers.get(index) === 1;
  }

  scratch(dtype: DType, count: number): BufferPlan {
    const bytes = Math.ceil((count * bytesPerElement(dtype)) / 256) * 256;
    const offset = this.program.arenaBytes + this.#used;
    this.#used += bytes;
    this.scratchBytes = Math.max(this.scratchBytes, this.#used);
    return { bytes, dtype, place: { kind: "arena", offset } };
  }

  /** Starts a step, alone or in a loop: scratch memory is free again. */
  begin(loops: boolean): void {
    this.#used = 0;
    this.#loops = loops;
  }
}

function lowerOp(step: OpStep, context: ProgramContext): Kernel[] {
  const lower = OPS[step.op as keyof typeof OPS];
  if (!lower) throw new MissingKernelError(`Cannot run "${step.op}" on backend "webgpu": it has no such kernel`);
  if (!step.epilogue) return lower(step, context);
  const fixed = [...step.inputs.map(({ buffer }) => buffer), ...step.outputs];
  const { moved, before } = gather(step.name, { fixed, reads: step.epilogue.inputs, writes: [] }, context);
  const epilogue = { ...step.epilogue, inputs: step.epilogue.inputs.map(moved) };
  return [...before, ...lower({ ...step, epilogue }, context)];
}

/** The kernels of a region. */
function lowerRegion(step: RegionStep, context: ProgramContext): Kernel[] {
  const { moved, before, after } = gather(
    step.name,
    { fixed: [], reads: step.inputs, writes: step.outputs },
    context,
  );
  const near = { ...step, inputs: step.inputs.map(moved), outputs: step.outputs.map(moved) };
  return [...before, ...step.region.inner.length > 0 ? lowerRows(near, context) : lowerMap(near, context), ...after];
}

/** Buffers of a step: those that must stay where they are, and those that may be read or written elsewhere. */
interface Buffers {
  readonly fixed: readonly number[];
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

/** What a kernel has too many buffers for goes through scratch memory, which is one buffer with the arena. */
function gather(name: string, { fixed, reads, writes }: Buffers, context: ProgramContext) {
  const before: Kernel[] = [], after: Kernel[] = [];
  const apart = (i: number): boolean => {
    const { place } = context.buffer(i);
    return place.kind === "slice" ? apart(place.of) : place.kind !== "arena";
  };
  const homes = new Set([...reads, ...writes].filter(apart));
  let excess = new Set([...fixed.filter(apart), ...homes]).size + 1 - context.maxBuffers;
  const copies = new Map<number, number>();
  for (const home of homes) {
    if (excess-- <= 0) break;
    if (fixed.includes(home)) continue;
    const buffer = context.buffer(home);
    const copy = context.add(context.scratch(buffer.dtype, buffer.bytes / bytesPerElement(buffer.dtype)));
    copies.set(home, copy);
    if (reads.includes(home)) before.push(...copyBuffer(name, home, copy, context));
    if (writes.includes(home)) after.push(...copyBuffer(name, copy, home, context));
  }
  return { moved: (buffer: number) => copies.get(buffer) ?? buffer, before, after };
}

/** The kernel that copies a whole buffer. */
function copyBuffer(name: string, from: number, to: number, context: Context): Kernel[] {
  const { bytes, dtype } = context.buffer(from);
  const region = {
    outer: [bytes / bytesPerElement(dtype)],
    inner: [],
    body: [{ kind: "load", input: 0, strides: [1], offset: 0, dtype }],
    stores: [{ value: 0, output: 0, strides: [1], offset: 0 }],
  } as const;
  return lowerMap({ kind: "region", name: `${name} copy`, region, inputs: [from], outputs: [to] }, context);
}

/** A program made ready for the GPU. */
export class WebgpuProgram implements Executable<WebgpuBuffer> {
  readonly #items: readonly Item[];
  readonly #arenaBytes: number;
  readonly #turns: Turns = new Map();

  constructor(program: Program, readonly memory: Memory) {
    const context = new ProgramContext(program, memory);
    const lengths = new Map<number, number>();
    this.#items = this.#lower(program.steps, context, lengths, false);
    this.#arenaBytes = program.arenaBytes + context.scratchBytes;
  }

  #lower(steps: readonly Step[], context: ProgramContext, lengths: Map<number, number>, loops: boolean): Item[] {
    return steps.flatMap((step): Item[] => {
      if (step.kind === "loop") {
        const { loop, length, reverse } = step;
        lengths.set(loop, length);
        return [{ loop, length, reverse, items: this.#lower(step.steps, context, lengths, true) }];
      }
      context.begin(loops);
      const kernels = step.kind === "op" ? lowerOp(step, context) : lowerRegion(step, context);
      return kernels.map((kernel) => new Launch(kernel, this.memory, lengths));
    });
  }

  run(inputs: readonly WebgpuBuffer[], outputs: readonly WebgpuBuffer[]): void {
    const { memory, memory: { device } } = this;
    device.check();
    this.#withArena(inputs, outputs, (resolve) => {
      this.#each(this.#items, (launch) => launch.record(resolve, this.#turns));
    });
    for (const buffer of [...inputs, ...outputs]) if (buffer) buffer.epoch = memory.device.epoch;
  }

  /** The arena is borrowed from the pool for the run: work is ordered, so others may have it in between. */
  #withArena<T>(inputs: readonly WebgpuBuffer[], outputs: readonly WebgpuBuffer[], f: (resolve: Resolve) => T): T {
    const { memory } = this;
    const arena = this.#arenaBytes > 0
      ? memory.alloc(this.#arenaBytes, memory.device.limits.maxBufferSize)
      : memory.nothing;
    const resolve = (place: Home) =>
      (place.kind === "arena" ? arena : place.kind === "input" ? inputs[place.index] : outputs[place.index]) ??
        memory.nothing;
    try {
      return f(resolve);
    } finally {
      arena.epoch = memory.device.epoch;
      if (this.#arenaBytes > 0) memory.free(arena);
    }
  }

  #each(items: readonly Item[], f: (launch: Launch) => void): void {
    for (const item of items) {
      if (item instanceof Launch) {
        f(item);
        continue;
      }
      const { loop, length, reverse } = item;
      for (let turn = 0; turn < length; turn++) {
        this.#turns.set(loop, reverse ? length - 1 - turn : turn);
        this.#each(item.items, f);
      }
    }
  }

  /** Runs the program with every kernel timed by the GPU, or by the clock where it has no timer. */
  async profile(inputs: readonly WebgpuBuffer[], outputs: readonly WebgpuBuffer[]): Promise<KernelTime[]> {
    const { device } = this.memory;
    if (device.timestamps) {
      const { Stopwatch } = await import("./stopwatch.ts");
      const stopwatch = new Stopwatch(this.memory);
      this.#withArena(inputs, outputs, (resolve) => {
        this.#each(this.#items, (launch) => launch.record(resolve, this.#turns, stopwatch));
      });
      return stopwatch.times();
    }
    const waits: { name: string; start: number; done: Promise<number> }[] = [];
    const begin = performance.now();
    this.#withArena(inputs, outputs, (resolve) => {
      this.#each(this.#items, (launch) => {
        const start = performance.now() - begin;
        launch.record(resolve, this.#turns);
        device.flush();
        const done = device.gpu.queue.onSubmittedWorkDone().then(() => performance.now() - begin);
        waits.push({ name: launch.name, start, done });
      });
    });
    let before = 0;
    const times: KernelTime[] = [];
    for (const { name, start, done } of waits) {
      const from = Math.max(start, before);
      before = await device.orLost(done);
      times.push({ name, start: from, duration: Math.max(0, before - from) });
    }
    return times;
  }

  dispose(): void {
    const free = (items: readonly Item[]): void => {
      for (const item of items) item instanceof Launch ? item.dispose() : free(item.items);
    };
    free(this.#items);
  }
}
