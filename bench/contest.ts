/**
 * Times several libraries on the same work: their results are compared first, then they take turns, so that what else
 * the machine does hits all of them alike.
 *
 * @module
 */
import type { Column, Contestant } from "./contestant.ts";
import type { Workload } from "./workloads.ts";

/** Someone's part in a contest. */
export interface Entry {
  readonly title: string;
  /** The column of the speed table that it competes for, if any. */
  readonly column: Column | null;
  /** Who runs it, or the reason why nobody does. */
  readonly contestant: Contestant | string;
  readonly workload: Workload;
}

/** How an entry fared. */
export interface Outcome {
  readonly title: string;
  readonly column: Column | null;
  /** Milliseconds; null if it did not run. */
  readonly median: number | null;
  readonly fastest: number | null;
  /** Milliseconds that the first run took, compilation included. */
  readonly first: number | null;
  readonly runs: number;
  /** How far its values are from the first entry's, relative to the largest. */
  readonly difference: number;
  /** Why it did not run. */
  readonly reason: string | null;
}

/** How long to measure. */
export interface ContestOptions {
  /** Milliseconds for each entry; a run that takes longer is done three times. */
  readonly budget: number;
}

/** Turns that every entry gets. */
const ROUNDS = 5;

interface Runner {
  readonly entry: Entry;
  readonly contestant: Contestant | null;
  readonly first: number;
  readonly difference: number;
  readonly times: number[];
  /** Runs in each turn. */
  readonly share: number;
  reason: string | null;
}

/** Times `entries`, which all do the same work; the first one's values are what the others are compared with. */
export async function contest(entries: readonly Entry[], options: ContestOptions): Promise<Outcome[]> {
  const runners: Runner[] = [];
  let reference: readonly number[] | null = null;
  for (const entry of entries) {
    const runner = await warmUp(entry, reference, options);
    runners.push(runner);
    reference ??= runner.values;
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const runner of runners) await takeTurn(runner, round);
  }
  return runners.map(({ entry, times, first, difference, reason }) => {
    const sorted = [...times].sort((a, b) => a - b), done = reason === null && sorted.length > 0;
    return {
      title: entry.title,
      column: entry.column,
      median: done ? median(sorted) : null,
      fastest: done ? sorted[0] : null,
      first: done ? first : null,
      runs: times.length,
      difference,
      reason,
    };
  });
}

async function warmUp(
  entry: Entry,
  reference: readonly number[] | null,
  { budget }: ContestOptions,
): Promise<Runner & { readonly values: readonly number[] | null }> {
  const { contestant, workload } = entry;
  const absent = { entry, contestant: null, first: 0, difference: 0, times: [], share: 0, values: null };
  if (typeof contestant === "string") return { ...absent, reason: contestant };
  try {
    const { values, first } = await contestant.prepare(workload);
    const isCompared = reference && workload.tolerance < Infinity;
    const difference = isCompared ? relativeDifference(values, reference) : 0;
    if (!(difference <= workload.tolerance)) throw new Error(`its result differs by ${difference.toExponential(1)}`);
    const [one] = await contestant.run(1);
    const share = Math.max(1, Math.min(500, Math.round(budget / ROUNDS / one)));
    return { entry, contestant, first, difference, times: [], share, reason: null, values };
  } catch (error) {
    return { ...absent, reason: (error as Error).message };
  }
}

async function takeTurn(runner: Runner, round: number): Promise<void> {
  const isSlow = runner.times.length > 0 && runner.times[0] > 1000;
  if (!runner.contestant || runner.reason !== null || (isSlow && round >= 3)) return;
  try {
    runner.times.push(...await runner.contestant.run(runner.share));
  } catch (error) {
    runner.reason = (error as Error).message;
  }
}

/** The largest difference, in units of the largest value. */
export function relativeDifference(values: readonly number[], reference: readonly number[]): number {
  if (values.length !== reference.length) return NaN;
  const scale = reference.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return values.reduce((most, value, i) => Math.max(most, Math.abs(value - reference[i])), 0) / scale;
}

/** The middle of sorted numbers. */
export function median(sorted: readonly number[]): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
