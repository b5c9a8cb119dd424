/**
 * Tensors made by counting: evenly spaced numbers and the identity matrix.
 *
 * @module
 */
import { runningBackend } from "../core/backend.ts";
import { ArgumentError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { type CreateOptions, iota, tensor } from "./create.ts";
import { add, cast, equal, mul } from "./elementwise.ts";

/** How to count. */
export interface ArangeOptions extends CreateOptions {
  /** Distance between neighbours, 1 by default; negative counts down. */
  readonly step?: number;
}

/**
 * Numbers from `start` (0 when only one is given) up to, not including, `stop`: one axis of `ceil((stop - start) / step)`.
 *
 * @param options `dtype` defaults to `i32` if start, stop and step are whole numbers, else to `f32`, as in NumPy.
 * @throws {ArgumentError} If `step` is 0 or a bound is not finite.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.arange(3).array(), [0, 1, 2]);
 * assertEquals(await tn.arange(1, 2, { step: 0.5 }).array(), [1, 1.5]);
 * ```
 */
export function arange(stop: number, options?: ArangeOptions): Tensor;
/** The same from `start` instead of 0. */
export function arange(start: number, stop: number, options?: ArangeOptions): Tensor;
export function arange(first: number, second?: number | ArangeOptions, third?: ArangeOptions): Tensor {
  const [start, stop] = typeof second === "number" ? [first, second] : [0, first];
  const { step = 1, dtype, ...options } = (typeof second === "number" ? third : second) ?? {};
  const count = Math.ceil((stop - start) / step);
  if (!Number.isFinite(count)) {
    throw new ArgumentError(`Cannot count from ${start} to ${stop} in steps of ${step}: the end is never reached`);
  }
  const length = Math.max(0, count);
  if ([start, stop, step].every(Number.isInteger) && (dtype ?? "i32") === "i32") {
    return wholeRange(length, start, step, options);
  }
  return tensor(Array.from({ length }, (_, i) => start + i * step), { dtype: dtype ?? "f32", ...options });
}

/** Counting done by the backend: nothing is uploaded, and `compile` sees no constant but a rule. */
function wholeRange(length: number, start: number, step: number, { backend }: CreateOptions): Tensor {
  return scope(() => {
    const index = iota([length], 0, "i32", backend === undefined ? undefined : runningBackend(backend));
    const scaled = step === 1 ? index : mul(index, step);
    return start === 0 ? scaled : add(scaled, start);
  });
}

/** How many numbers. */
export interface LinspaceOptions extends CreateOptions {
  /** Number of elements, both ends included; 50 by default. */
  readonly steps?: number;
}

/**
 * Evenly spaced numbers from `start` to `stop`, both included.
 *
 * @throws {ArgumentError} If `steps` is not a whole number of at least 0.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.linspace(0, 1, { steps: 5 }).array(), [0, 0.25, 0.5, 0.75, 1]);
 * ```
 */
export function linspace(start: number, stop: number, { steps = 50, ...options }: LinspaceOptions = {}): Tensor {
  if (!Number.isInteger(steps) || steps < 0) {
    throw new ArgumentError(`Cannot make ${steps} numbers: steps must be a whole number of at least 0`);
  }
  const values = Array.from({ length: steps }, (_, i) => {
    if (i === 0) return start;
    return i === steps - 1 ? stop : start + (stop - start) * i / (steps - 1);
  });
  return tensor(values, { dtype: "f32", ...options });
}

/** The identity matrix, or a rectangular one. */
export interface EyeOptions extends CreateOptions {
  /** Number of columns; as many as rows by default. */
  readonly columns?: number;
}

/**
 * Ones on the diagonal, zeros elsewhere: `[n, columns]`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.eye(2, { columns: 3 }).array(), [[1, 0, 0], [0, 1, 0]]);
 * ```
 */
export function eye(n: number, { columns = n, dtype = "f32", backend }: EyeOptions = {}): Tensor {
  const home = backend === undefined ? undefined : runningBackend(backend);
  using row = iota([n, 1], 0, "i32", home);
  using column = iota([1, columns], 1, "i32", home);
  using mask = equal(row, column);
  return cast(mask, dtype);
}
