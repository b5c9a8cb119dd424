/**
 * One epoch of a dataset as batches of tensors.
 *
 * ```text
 *  dataset ──order (key, epoch)──> rows ──map (key, epoch, step)──> host arrays ──upload──> { images, labels }
 * ```
 *
 * Where a training stands is data: an epoch and a step. A training that begins there again sees the same batches.
 *
 * @module
 */
import { ArgumentError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { tensor } from "../../ops/create.ts";
import type { Key } from "../../ops/random.ts";
import { count, type Dataset, type HostArray, slice, take } from "./dataset.ts";
import { type Random, randomOf } from "./random.ts";

/** Tensors by the names that the arrays have: a plain object, which frees them with `using` or `Symbol.dispose`. */
export type Batch<D extends Dataset<keyof D>> = { readonly [K in keyof D]: Tensor } & Disposable;

/** Where a training stands: how many epochs are complete, and how many steps of the one after them. */
export interface Position {
  /** Complete epochs. */
  readonly epoch: number;
  /** Complete steps of this epoch. */
  readonly step: number;
}

/** How many batches there are. */
export interface BatchSizes {
  /** Examples in a batch. */
  readonly size: number;
  /** Whether a last batch that is not full is left out, so that all have one shape; false by default. */
  readonly dropLast?: boolean;
}

/** Which batches there are, and what they hold. */
export interface BatchesOptions<D extends Dataset<keyof D>, M extends Dataset<keyof M> = D> extends BatchSizes {
  /** Shuffles: a key (which must stay alive) or a seed. Each epoch has an order of its own. Without it nothing moves. */
  readonly key?: Key | number;
  /** Where to begin; `{ epoch: 0, step: 0 }` by default. */
  readonly at?: Position;
  /** Rewrites a batch on the host, say to augment it; the numbers depend on key, epoch and step. Its argument is not to be changed. */
  readonly map?: (batch: D, random: Random) => M | Promise<M>;
  /** Batches made ahead, while the device is busy; 1 by default. */
  readonly prefetch?: number;
  /** Name of the backend the tensors go to; the one in use by default. */
  readonly backend?: string;
}

/**
 * How many batches an epoch has.
 *
 * @throws {ArgumentError} If there are none.
 * @example
 * ```ts
 * import { hostArray, stepsPerEpoch } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const dataset = { x: hostArray([1, 2, 3, 4, 5]) };
 * assertEquals(stepsPerEpoch(dataset, { size: 2 }), 3);
 * assertEquals(stepsPerEpoch(dataset, { size: 2, dropLast: true }), 2);
 * ```
 */
export function stepsPerEpoch<D extends Dataset<keyof D>>(dataset: D, { size, dropLast = false }: BatchSizes): number {
  const examples = count(dataset), steps = examples / size;
  if (!Number.isInteger(size) || size < 1) {
    throw new ArgumentError(`Cannot make batches of ${size}: it takes a whole number of at least 1`);
  }
  if (dropLast && size > examples) {
    throw new ArgumentError(`Cannot make full batches of ${size}: there are ${examples} examples`);
  }
  return dropLast ? Math.floor(steps) : Math.ceil(steps);
}

/**
 * The batches of one epoch, or of its rest, in order. The arrays of a batch become tensors: bytes `i32`, the others what
 * they are.
 *
 * Each batch belongs to whoever takes it: `using` frees its tensors after the step. What was made ahead is freed when the
 * loop is left early.
 *
 * @throws {ArgumentError} If a batch has no examples, or an epoch not as many steps as `at` says.
 * @throws {ShapeError} If the arrays do not have as many examples each.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { batches, hostArray, type Position } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const dataset = { x: hostArray([[1], [2], [3], [4], [5]]), label: hostArray(Int32Array.of(0, 1, 0, 1, 0)) };
 * let position: Position = { epoch: 0, step: 0 }, seen = 0;
 * for (; position.epoch < 2; position = { epoch: position.epoch + 1, step: 0 }) {
 *   for await (using batch of batches(dataset, { size: 2, key: 42, at: position })) {
 *     seen += batch.x.shape[0];
 *     position = { ...position, step: position.step + 1 };
 *   }
 * }
 * assertEquals(seen, 10);
 * ```
 */
export function batches<D extends Dataset<keyof D>, M extends Dataset<keyof M> = D>(
  dataset: D,
  options: BatchesOptions<D, M>,
): AsyncIterable<Batch<M>> {
  const steps = stepsPerEpoch(dataset, options);
  const { at = { epoch: 0, step: 0 }, prefetch = 1 } = options;
  if (!(Number.isInteger(at.epoch) && at.epoch >= 0 && Number.isInteger(at.step) && at.step >= 0 && at.step <= steps)) {
    throw new ArgumentError(
      `Cannot begin at step ${at.step} of epoch ${at.epoch}: an epoch has ${steps} steps, both count from 0`,
    );
  }
  return { [Symbol.asyncIterator]: () => inOrder(maker(dataset, options), { from: at.step, to: steps, prefetch }) };
}

/** The numbers that choose the order come first in an epoch, then those of each step. */
const ORDER = 0, FIRST_STEP = 1;

/** A function that makes the batch of a step. */
function maker<D extends Dataset<keyof D>, M extends Dataset<keyof M>>(
  dataset: D,
  { size, key, at, map, backend }: BatchesOptions<D, M>,
): (step: number) => Promise<Batch<M>> {
  const examples = count(dataset), epoch = at?.epoch ?? 0;
  let order: Promise<Int32Array> | undefined;
  return async (step) => {
    const start = step * size, end = Math.min(start + size, examples);
    let rows: D;
    if (key === undefined) rows = slice(dataset, { start, end });
    else {
      order ??= randomOf(key, epoch, ORDER).then((random) => random.permutation(examples));
      rows = take(dataset, (await order).subarray(start, end));
    }
    const mapped = map ? await map(rows, await randomOf(key ?? 0, epoch, FIRST_STEP + step)) : rows as unknown as M;
    return upload(mapped, backend);
  };
}

function upload<D extends Dataset<keyof D>>(arrays: D, backend?: string): Batch<D> {
  const entries = Object.entries<HostArray>(arrays).map(([name, { data, shape }]) =>
    [name, tensor(data, { shape, dtype: data instanceof Uint8Array ? "i32" : undefined, backend })] as const
  );
  const dispose = () => entries.forEach(([, value]) => value.dispose());
  const batch = Object.fromEntries(entries);
  return Object.defineProperty(batch, Symbol.dispose, { value: dispose }) as unknown as Batch<D>;
}

/** Work that begins when the event loop is idle, or when its result is asked for. */
interface Ahead<T> {
  get(): Promise<T>;
  /** Ends it; what it has made is freed. */
  cancel(): Promise<void>;
}

function ahead<T extends Disposable>(make: () => Promise<T>): Ahead<T> {
  let made: Promise<T> | undefined;
  const begin = () => {
    clearTimeout(timer);
    return made ??= make();
  };
  const timer = setTimeout(() => begin().catch(() => {})); // an error is thrown to the one who asks
  return {
    get: begin,
    async cancel() {
      clearTimeout(timer);
      await made?.then((value) => value[Symbol.dispose](), () => {});
    },
  };
}

/** Steps to walk, and how far ahead. */
interface Walk {
  readonly from: number;
  readonly to: number;
  readonly prefetch: number;
}

async function* inOrder<T extends Disposable>(
  make: (step: number) => Promise<T>,
  { from, to, prefetch }: Walk,
): AsyncGenerator<T, void, void> {
  const queue: Ahead<T>[] = [];
  let next = from;
  try {
    for (let step = from; step < to; step++) {
      while (next < to && queue.length <= prefetch) {
        const own = next++;
        queue.push(ahead(() => make(own)));
      }
      yield await queue.shift()!.get();
    }
  } finally {
    await Promise.all(queue.map((work) => work.cancel()));
  }
}
