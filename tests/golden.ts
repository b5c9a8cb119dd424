/**
 * Values made by PyTorch (`golden/make.py`), as tensors.
 *
 * @module
 */
import type { DType, Tensor } from "../mod.ts";
import { fromValues, type Tolerance } from "./cases/case.ts";
import { difference } from "./compare.ts";

/** A tensor in a golden file; what is not finite is written as text. */
export interface Packed {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: readonly (number | "NaN" | "Infinity" | "-Infinity")[];
}

/** The content of `golden/<name>.json`. */
export async function golden<T>(name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(`./golden/${name}.json`, import.meta.url)));
}

/** The elements as numbers. */
export function numbers({ data }: Packed): number[] {
  return data.map(Number);
}

/** A tensor on the backend in use. */
export function unpack(packed: Packed): Tensor {
  return fromValues(numbers(packed), packed);
}

/** Throws unless the tensor has the golden shape, dtype and values. */
export async function assertGolden(
  what: string,
  actual: Tensor,
  expected: Packed,
  tolerance: Tolerance,
): Promise<void> {
  const [given, wanted] = [actual, expected].map(({ dtype, shape }) => `${dtype}[${shape.join(",")}]`);
  if (given !== wanted) throw new Error(`${what} is ${given}, expected ${wanted}`);
  const problem = difference(await actual.data(), numbers(expected), tolerance);
  if (problem) throw new Error(`${what}: ${problem}`);
}
