/**
 * What a bench asks of a library.
 *
 * @module
 */
import { integers, uniform } from "../values.ts";
import type { GptParameter, GptWorkload, OpWorkload, Workload } from "../workloads.ts";

/** A library on one device, ready to run workloads. */
export interface Library {
  /** Version, and what is worth knowing about the device. */
  readonly description: string;
  /** Gets inputs to the device; throws where the library has no way to do the work. */
  prepare(workload: Workload): Promise<Job> | Job;
}

/** A workload whose inputs are on the device. */
export interface Job {
  /** Does the work once and returns numbers on which libraries must agree: an op's output, or the losses of 3 steps. */
  values(): Promise<ArrayLike<number>>;
  /** Milliseconds that the first step of several took, once `values` is there. */
  readonly first?: number;
  /** Does the work once and waits for the device. */
  run(): Promise<void>;
  /** Frees what the job holds. */
  dispose(): void;
}

/** How a library is set up. */
export interface LibraryOptions {
  /** The device, as the library calls it. */
  readonly backend: string;
  /** Threads to use, where there is a choice. */
  readonly threads?: number;
}

/** Data with its shape. */
export interface Input<Data = Float32Array<ArrayBuffer>> {
  readonly data: Data;
  readonly shape: readonly number[];
}

const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** The inputs of an op. */
export function opInputs({ shapes, scale }: OpWorkload): Input[] {
  return shapes.map((shape, i) => ({ data: uniform(count(shape), i + 1, scale), shape }));
}

/** The first value of every parameter of the GPT, in order. */
export function gptInputs({ parameters }: GptWorkload): (GptParameter & Input)[] {
  return parameters.map((parameter, i) => {
    const size = count(parameter.shape);
    const data = parameter.scale === null ? new Float32Array(size).fill(1) : uniform(size, i + 1, parameter.scale);
    return { ...parameter, data };
  });
}

/** A batch of the GPT; both `[batch, context]`. */
export interface Batch {
  readonly tokens: Input<Int32Array<ArrayBuffer>>;
  readonly targets: Input<Int32Array<ArrayBuffer>>;
}

/** The batches of the GPT. */
export function gptBatches(workload: GptWorkload): Batch[] {
  const { batches, batch, context, vocabSize } = workload, shape = [batch, context];
  return Array.from({ length: batches }, (_, i) => ({
    tokens: { data: integers(batch * context, 1000 + 2 * i, vocabSize), shape },
    targets: { data: integers(batch * context, 1001 + 2 * i, vocabSize), shape },
  }));
}

/** A job of training steps, each resolving to its loss. */
export function stepJob(step: () => Promise<number>, dispose: () => void): Job {
  let first: number | undefined;
  return {
    async values() {
      const start = performance.now(), losses = [await step()];
      first = performance.now() - start;
      while (losses.length < 3) losses.push(await step());
      return losses;
    },
    get first() {
      return first;
    },
    async run() {
      await step();
    },
    dispose,
  };
}
