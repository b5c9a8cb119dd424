/**
 * Learning rates that change as training goes on. A schedule is written in ops, so that it is part of a compiled step.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, cast, cos, div, less, mul, rsqrt, sub, where } from "../ops/elementwise.ts";
import { scalar } from "../ops/create.ts";
import { max, min } from "../ops/extremum.ts";

/** The learning rate (an f32 scalar) for an update, given how many updates came before it (an i32 scalar). */
export type Schedule = (step: Tensor) => Tensor;

function requireSteps(schedule: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new ArgumentError(
      `Cannot make the schedule ${schedule} over ${steps} steps: it takes a whole number above 0`,
    );
  }
}

/** How far `step` has come on the way from `start` to `end`, between 0 and 1. */
function progress(step: Tensor, start: number, end: number): Tensor {
  return min(max(div(sub(cast(step, "f32"), start), end - start), 0), 1);
}

/** From `a` to `b` along half a cosine wave: slow, fast, slow. */
function cosineBetween(a: number, b: number, fraction: Tensor): Tensor {
  return add(mul(cos(mul(fraction, Math.PI)), (a - b) / 2), (a + b) / 2);
}

/**
 * Always `value`.
 *
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * assertEquals(await schedules.constant(0.5)(tensor(7, { dtype: "i32" })).item(), 0.5);
 * ```
 */
export function constant(value: number): Schedule {
  return (step) => scalar(value, "f32", step.backend);
}

/** Where a schedule begins, where it ends, and after how many updates. */
export interface RampOptions {
  /** The rate of the first update. */
  readonly from: number;
  /** The rate after `steps` updates, kept from then on; 0 by default. */
  readonly to?: number;
  /** How many updates the way takes. */
  readonly steps: number;
}

/**
 * From `from` to `to` in a straight line.
 *
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const rate = schedules.linear({ from: 1, to: 0.5, steps: 4 });
 * assertEquals(await rate(tensor(2, { dtype: "i32" })).item(), 0.75);
 * assertEquals(await rate(tensor(9, { dtype: "i32" })).item(), 0.5);
 * ```
 */
export function linear({ from, to = 0, steps }: RampOptions): Schedule {
  requireSteps("linear", steps);
  return (step) => add(mul(progress(step, 0, steps), to - from), from);
}

/**
 * From `from` to `to` along half a cosine wave.
 *
 * @see https://arxiv.org/abs/1608.03983
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const rate = schedules.cosine({ from: 1, steps: 10 });
 * assertAlmostEquals(await rate(tensor(5, { dtype: "i32" })).item(), 0.5, 1e-6);
 * ```
 */
export function cosine({ from, to = 0, steps }: RampOptions): Schedule {
  requireSteps("cosine", steps);
  return (step) => cosineBetween(from, to, progress(step, 0, steps));
}

/**
 * Rises in a straight line to where `schedule` begins, then follows it. Update `s` of the ramp, counted from 0, gets
 * the part `(s + 1) / (steps + 1)` of that value, so that the first one is not wasted.
 *
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const rate = schedules.warmUp(schedules.linear({ from: 1, steps: 4 }), { steps: 3 });
 * const at = async (step: number) => await rate(tensor(step, { dtype: "i32" })).item();
 * assertEquals([await at(0), await at(1), await at(3), await at(5)], [0.25, 0.5, 1, 0.5]);
 * ```
 */
export function warmUp(schedule: Schedule, { steps }: { readonly steps: number }): Schedule {
  requireSteps("warmUp", steps);
  return (step) => {
    const rate = schedule(max(sub(step, steps), 0));
    return mul(rate, min(div(add(cast(step, "f32"), 1), steps + 1), 1));
  };
}

/** Options of {@linkcode oneCycle}. */
export interface OneCycleOptions {
  /** The highest rate. */
  readonly peak: number;
  /** All updates of the training. */
  readonly steps: number;
  /** The part of them that rises. */
  readonly rise?: number;
  /** The peak is this many times the first rate. */
  readonly startFactor?: number;
  /** The first rate is this many times the last one. */
  readonly endFactor?: number;
}

/**
 * Up to a peak and down again far below the start, both along half a cosine wave.
 *
 * @see https://arxiv.org/abs/1708.07120
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const rate = schedules.oneCycle({ peak: 1, steps: 10, rise: 0.4, startFactor: 20 });
 * assertAlmostEquals(await rate(tensor(0, { dtype: "i32" })).item(), 0.05, 1e-6);
 * assertAlmostEquals(await rate(tensor(3, { dtype: "i32" })).item(), 1, 1e-6);
 * ```
 */
export function oneCycle(
  { peak, steps, rise = 0.3, startFactor = 25, endFactor = 1e4 }: OneCycleOptions,
): Schedule {
  requireSteps("oneCycle", steps);
  const top = rise * steps - 1, end = steps - 1, start = peak / startFactor;
  if (!(top > 0 && top < end)) {
    throw new ArgumentError(
      `Cannot make the schedule oneCycle with rise ${rise} of ${steps} steps: too few rise or fall`,
    );
  }
  return (step) =>
    where(
      less(cast(step, "f32"), top),
      cosineBetween(start, peak, progress(step, 0, top)),
      cosineBetween(peak, start / endFactor, progress(step, top, end)),
    );
}

/**
 * Rises in a straight line to `peak` in `warmUp` updates, then falls with the inverse square root of the step.
 *
 * @see https://arxiv.org/abs/1706.03762
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const rate = schedules.inverseSquareRoot({ peak: 1, warmUp: 4 });
 * assertAlmostEquals(await rate(tensor(1, { dtype: "i32" })).item(), 0.5, 1e-6);
 * assertAlmostEquals(await rate(tensor(15, { dtype: "i32" })).item(), 0.5, 1e-6);
 * ```
 */
export function inverseSquareRoot({ peak, warmUp }: { readonly peak: number; readonly warmUp: number }): Schedule {
  requireSteps("inverseSquareRoot", warmUp);
  return (step) => {
    const count = add(cast(step, "f32"), 1);
    return mul(min(div(count, warmUp), mul(rsqrt(count), Math.sqrt(warmUp))), peak);
  };
}

/**
 * One schedule after the other: `all[i + 1]` takes over, counting from 0, at update `boundaries[i]`.
 *
 * @throws {ArgumentError} If there is not exactly one rising boundary between each two schedules.
 * @example
 * ```ts
 * import { schedules, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const { constant, join, linear } = schedules;
 * const rate = join([constant(1), linear({ from: 1, steps: 4 })], [10]);
 * assertEquals(await rate(tensor(9, { dtype: "i32" })).item(), 1);
 * assertEquals(await rate(tensor(12, { dtype: "i32" })).item(), 0.5);
 * ```
 */
export function join(all: readonly Schedule[], boundaries: readonly number[]): Schedule {
  if (boundaries.length !== all.length - 1 || boundaries.some((b, i) => !(b > (boundaries[i - 1] ?? 0)))) {
    throw new ArgumentError(
      `Cannot join ${all.length} schedules at [${
        boundaries.join(",")
      }]: there must be one rising boundary between each two`,
    );
  }
  return (step) =>
    all.slice(1).reduce(
      (rate, schedule, i) => {
        const since = sub(step, boundaries[i]);
        return where(less(since, 0), rate, schedule(max(since, 0)));
      },
      all[0](step),
    );
}
