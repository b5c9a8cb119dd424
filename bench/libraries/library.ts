/**
 * What a bench asks of a library.
 *
 * @module
 */
import { integers, uniform } from "../values.ts";
import type { CnnWorkload, DcganWorkload, DecodeWorkload, LstmWorkload } from "../models.ts";
import type { GptWorkload, ModelWorkload, OpWorkload, Workload } from "../workloads.ts";

/** A library on one device, ready to run workloads. */
export interface Library {
  /** Version, and what is worth knowing about the device. */
  readonly description: string;
  /** Gets inputs to the device; throws where the library has no way to do the work. */
  prepare(workload: Workload): Promise<Job> | Job;
}

/** A workload whose inputs are on the device. */
export interface Job {
  /** Does the work once and returns numbers on which libraries must agree: an op's output, losses or logits of 3 steps. */
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

/** The first value of every parameter by name, as what `make` makes of it. */
export function modelParameters<T>(
  { parameters }: Pick<ModelWorkload, "parameters">,
  make: (input: Input, name: string) => T,
): Record<string, T> {
  const entries = parameters.map(({ name, shape, scale }, i) => {
    const size = count(shape);
    const data = scale === null ? new Float32Array(size).fill(1) : uniform(size, i + 1, scale);
    return [name, make({ data, shape }, name)];
  });
  return Object.fromEntries(entries);
}

const floats = (shape: readonly number[], seed: number): Input => ({ data: uniform(count(shape), seed), shape });

type Integers = Input<Int32Array<ArrayBuffer>>;

const ids = (shape: readonly number[], seed: number, below: number): Integers => ({
  data: integers(count(shape), seed, below),
  shape,
});

/** What `make` makes of two seeds, for every batch. */
function batchesOf<Batch>({ batches }: ModelWorkload, make: (a: number, b: number) => Batch): Batch[] {
  return Array.from({ length: batches }, (_, i) => make(1000 + 2 * i, 1001 + 2 * i));
}

/** A batch of text: `[batch, context]` for the GPT, `[sequence, batch]` for the LSTM. */
export interface TextBatch {
  readonly tokens: Integers;
  readonly targets: Integers;
}

/** The batches of the GPT or the LSTM. */
export function textBatches(workload: GptWorkload | LstmWorkload): TextBatch[] {
  const { batch, vocabSize } = workload;
  const shape = workload.kind === "gpt" ? [batch, workload.context] : [workload.sequence, batch];
  return batchesOf(workload, (a, b) => ({ tokens: ids(shape, a, vocabSize), targets: ids(shape, b, vocabSize) }));
}

/** The batches of the CNN: images `[batch, 1, size, size]`, labels `[batch]`. */
export function imageBatches(workload: CnnWorkload): { readonly images: Input; readonly labels: Integers }[] {
  const { batch, size, classes } = workload;
  return batchesOf(
    workload,
    (a, b) => ({ images: floats([batch, 1, size, size], a), labels: ids([batch], b, classes) }),
  );
}

/** The batches of the DCGAN: real images `[batch, 1, size, size]`, latents `[batch, latent]`. */
export function ganBatches(workload: DcganWorkload): { readonly real: Input; readonly latent: Input }[] {
  const { batch, size, latent } = workload;
  return batchesOf(
    workload,
    (a, b) => ({ real: floats([batch, 1, size, size], a), latent: floats([batch, latent], b) }),
  );
}

/** What decoding begins with: keys and values `[2, heads, filled, channels / heads]` of each block. */
export function cacheInputs({ layers, heads, channels, filled }: DecodeWorkload): Input[] {
  return Array.from({ length: layers }, (_, i) => floats([2, heads, filled, channels / heads], 1000 + i));
}

/** The token that is read in step `number` of decoding, and where it stands; past the context all begins anew. */
export function tokenAt(
  { context, filled, vocabSize }: DecodeWorkload,
  number: number,
): { readonly token: number; readonly position: number } {
  return { token: (7919 * number) % vocabSize, position: filled + number % (context - filled) };
}

/** Steps whose results are compared. */
export const COMPARED = 3;

/** A job of training steps; `step` takes its number, from 0, and resolves to its losses, or to some of its logits. */
export function stepJob(step: (number: number) => Promise<readonly number[]>, dispose: () => void): Job {
  let first: number | undefined, steps = 0;
  const run = () => step(steps++);
  return {
    async values() {
      const start = performance.now(), losses = [...await run()];
      first = performance.now() - start;
      while (steps < COMPARED) losses.push(...await run());
      return losses;
    },
    get first() {
      return first;
    },
    async run() {
      await run();
    },
    dispose,
  };
}
