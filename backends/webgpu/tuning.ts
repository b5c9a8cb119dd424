/**
 * Tile sizes by measurement: when a class of products has done enough work to be worth it, its candidates are timed
 * once, and every kernel of the class takes the fastest. All candidates compute the same bits.
 *
 * @module
 */
import { Launch } from "./launch.ts";
import type { Memory, WebgpuBuffer } from "./memory.ts";
import type { Kernel } from "./shader.ts";
import { Stopwatch } from "./stopwatch.ts";

/** Operations that a class must have done before its candidates are timed. */
const WORTHWHILE = 2e10;
const REPEATS = 3;

/** Kernels of one class on one device, and how much they did. */
interface Class {
  work: number;
  readonly launches: Set<Launch>;
}

/** Remembers, per device, which candidate of which class is the fastest. */
export class Tuner {
  readonly #classes = new Map<string, Class>();
  readonly #chosen = new Map<string, number>();

  constructor(readonly memory: Memory) {}

  /** The kernel that is known to be the fastest of its class; the given one until then. */
  best(kernel: Kernel): Kernel {
    const chosen = kernel.tuning && this.#chosen.get(kernel.tuning.key);
    return chosen ? kernel.tuning!.others[chosen - 1]() : kernel;
  }

  /** Counts a launch towards the work of its class, until the class is tuned. */
  watch(launch: Launch, { key, work }: NonNullable<Kernel["tuning"]>): void {
    if (this.#chosen.has(key)) return;
    let entry = this.#classes.get(key);
    if (!entry) this.#classes.set(key, entry = { work: 0, launches: new Set() });
    entry.work += work;
    entry.launches.add(launch);
  }

  /** Forgets a launch. */
  forget(launch: Launch, key: string): void {
    this.#classes.get(key)?.launches.delete(launch);
  }

  /** Times the candidates of classes that are due. */
  async run(): Promise<void> {
    if (!this.memory.device.timestamps) return;
    for (const [key, { work, launches }] of this.#classes) {
      if (work < WORTHWHILE || launches.size === 0) continue;
      this.#classes.delete(key);
      const [{ original }] = launches;
      const candidates = [original, ...original.tuning!.others.map((make) => make())];
      const times: number[] = [];
      for (const candidate of candidates) times.push(await this.#time(candidate));
      const fastest = times.indexOf(Math.min(...times));
      this.#chosen.set(key, fastest);
      if (fastest > 0) { for (const launch of launches) launch.use(launch.original.tuning!.others[fastest - 1]()); }
    }
  }

  /** Milliseconds that a kernel takes on memory of its own. */
  async #time(kernel: Kernel): Promise<number> {
    const { memory } = this;
    const buffers = kernel.bindings.map(({ bytes }) => memory.alloc(bytes));
    const bindings = kernel.bindings.map((binding, index) => ({
      ...binding,
      place: { kind: "input", index } as const,
    }));
    const launch = new Launch({ ...kernel, bindings, tuning: undefined }, memory, new Map());
    const resolve = (place: { kind: string; index?: number }): WebgpuBuffer => buffers[place.index!];
    launch.record(resolve, new Map());
    const stopwatch = new Stopwatch(memory);
    for (let i = 0; i < REPEATS; i++) launch.record(resolve, new Map(), stopwatch);
    const times = await stopwatch.times();
    launch.dispose();
    for (const buffer of buffers) memory.free(buffer);
    return Math.min(...times.map(({ duration }) => duration));
  }
}
