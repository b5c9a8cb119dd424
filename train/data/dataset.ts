/**
 * Datasets on the host: typed arrays by name, whose first axis counts examples.
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../../core/errors.ts";
import { type Shape, show, size } from "../../core/shape.ts";
import type { Key } from "../../ops/random.ts";
import { randomOf } from "./random.ts";

/** Elements as the host keeps them. Bytes become `i32` tensors, the others tensors of their own type. */
export type HostData = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** An array on the host, in row-major order. */
export interface HostArray<T extends HostData = HostData> {
  /** All elements. */
  readonly data: T;
  /** Sizes of the axes; the first one counts examples. */
  readonly shape: Shape;
}

/** Arrays by name, with as many examples each. A type of one's own, with its names, is a dataset as well. */
export type Dataset<Names extends PropertyKey = string> = Readonly<Record<Names, HostArray>>;

/** Numbers in arrays, as deep as there are axes. */
export type NestedNumbers = readonly (number | NestedNumbers)[];

/**
 * An array on the host: nested numbers become `f32`; a typed array is taken as it is, with one axis unless `shape` is
 * given.
 *
 * @throws {ShapeError} If nested arrays are ragged, or `shape` holds another number of elements.
 * @example
 * ```ts
 * import { hostArray } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(hostArray([[1, 2, 3], [4, 5, 6]]).shape, [2, 3]);
 * assertEquals(hostArray(Int32Array.of(3, 1, 2), { shape: [3, 1] }).shape, [3, 1]);
 * ```
 */
export function hostArray<T extends HostData>(values: T, options?: { readonly shape?: Shape }): HostArray<T>;
/** Numbers in arrays as `f32`. */
export function hostArray(values: NestedNumbers, options?: { readonly shape?: Shape }): HostArray<Float32Array>;
export function hostArray(
  values: HostData | NestedNumbers,
  options: { readonly shape?: Shape } = {},
): HostArray {
  const nested = ArrayBuffer.isView(values) ? [values.length] : nestedShape(values);
  const data = ArrayBuffer.isView(values) ? values : Float32Array.from(flatten(values));
  const shape = options.shape ?? nested;
  if (size(shape) !== data.length) {
    throw new ShapeError(`Cannot make an array of shape ${show(shape)} from ${data.length} elements`);
  }
  return { data, shape };
}

function flatten(values: NestedNumbers): number[] {
  return values.flatMap((value) => typeof value === "number" ? value : flatten(value));
}

function nestedShape(values: NestedNumbers): number[] {
  const shape: number[] = [];
  for (let level: NestedNumbers | number = values; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

/** Elements of one example. */
export function rowSize({ shape }: HostArray): number {
  return size(shape.slice(1));
}

/**
 * How many examples there are.
 *
 * @throws {ArgumentError} If there is no array.
 * @throws {ShapeError} If an array has another number of examples than the first one, or its data another length than
 * its shape holds.
 * @example
 * ```ts
 * import { count, hostArray } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(count({ x: hostArray([[1, 2], [3, 4], [5, 6]]), y: hostArray([0, 1, 0]) }), 3);
 * ```
 */
export function count<D extends Dataset<keyof D>>(dataset: D): number {
  const entries = Object.entries<HostArray>(dataset);
  if (entries.length === 0) throw new ArgumentError("Cannot count the examples of a dataset without arrays");
  const [first, { shape: [examples] }] = entries[0];
  for (const [name, { data, shape }] of entries) {
    if (shape.length === 0 || size(shape) !== data.length) {
      throw new ShapeError(`Cannot use "${name}" of shape ${show(shape)}: it has ${data.length} elements`);
    }
    if (shape[0] !== examples) {
      throw new ShapeError(`Cannot use ${shape[0]} examples of "${name}" with ${examples} of "${first}"`);
    }
  }
  return examples;
}

/** Another array in the place of each. */
function mapArrays<D extends Dataset<keyof D>>(dataset: D, f: (array: HostArray) => HostArray): D {
  return Object.fromEntries(
    Object.entries<HostArray>(dataset).map(([name, array]) => [name, f(array)]),
  ) as unknown as D;
}

/**
 * A copy of some examples, in the order in which they are named.
 *
 * @throws {ArgumentError} If there is no such example.
 * @example
 * ```ts
 * import { hostArray, take } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const { x } = take({ x: hostArray([[1, 2], [3, 4], [5, 6]]) }, [2, 0]);
 * assertEquals([...x.data], [5, 6, 1, 2]);
 * ```
 */
export function take<D extends Dataset<keyof D>>(dataset: D, examples: ArrayLike<number>): D {
  const known = count(dataset);
  for (let i = 0; i < examples.length; i++) {
    if (!(Number.isInteger(examples[i]) && examples[i] >= 0 && examples[i] < known)) {
      throw new ArgumentError(`Cannot take example ${examples[i]}: they are numbered from 0 to ${known - 1}`);
    }
  }
  return mapArrays(dataset, (array) => {
    const row = rowSize(array), { data, shape } = array;
    const taken = new (data.constructor as new (length: number) => HostData)(examples.length * row);
    for (let i = 0; i < examples.length; i++) {
      taken.set(data.subarray(examples[i] * row, (examples[i] + 1) * row), i * row);
    }
    return { data: taken, shape: [examples.length, ...shape.slice(1)] };
  });
}

/** A range of examples. */
export interface Range {
  /** The first one; 0 by default. */
  readonly start?: number;
  /** The one after the last; all by default. */
  readonly end?: number;
}

/**
 * Examples in a row, without a copy: both datasets share memory.
 *
 * @example
 * ```ts
 * import { hostArray, slice } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const { x } = slice({ x: hostArray([1, 2, 3, 4]) }, { start: 1, end: 3 });
 * assertEquals([...x.data], [2, 3]);
 * ```
 */
export function slice<D extends Dataset<keyof D>>(dataset: D, { start = 0, end }: Range): D {
  const known = count(dataset), to = Math.min(end ?? known, known), from = Math.min(start, to);
  return mapArrays(dataset, (array) => {
    const row = rowSize(array);
    return { data: array.data.subarray(from * row, to * row), shape: [to - from, ...array.shape.slice(1)] };
  });
}

/** How to divide a dataset. */
export interface DivideOptions {
  /** Part of the examples that goes to the first dataset, from 0 to 1. */
  readonly fraction: number;
  /** Chooses them: a key or a seed. Without it they are the first ones. */
  readonly key?: Key | number;
}

/**
 * Two datasets of one, such as nine tenths for training and the rest for validation.
 *
 * @throws {ArgumentError} If the fraction is not from 0 to 1.
 * @example
 * ```ts
 * import { count, divide, hostArray } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const [training, validation] = await divide({ x: hostArray([1, 2, 3, 4, 5]) }, { fraction: 0.8, key: 42 });
 * assertEquals([count(training), count(validation)], [4, 1]);
 * ```
 */
export async function divide<D extends Dataset<keyof D>>(
  dataset: D,
  { fraction, key }: DivideOptions,
): Promise<[D, D]> {
  if (!(fraction >= 0 && fraction <= 1)) {
    throw new ArgumentError(`Cannot divide a dataset at ${fraction}: it must be from 0 to 1`);
  }
  const known = count(dataset), at = Math.round(known * fraction);
  if (key === undefined) return [slice(dataset, { end: at }), slice(dataset, { start: at })];
  const order = (await randomOf(key)).permutation(known);
  return [take(dataset, order.subarray(0, at)), take(dataset, order.subarray(at))];
}
