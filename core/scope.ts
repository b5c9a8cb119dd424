/**
 * Who frees what: scopes, the count of live memory, and the debugging aids.
 *
 * @module
 */
import { ArgumentError, NumericsError } from "./errors.ts";
import { leaves } from "./tree.ts";

/** Live tensors and bytes. */
export interface Memory {
  /** Pieces of device memory that are alive; tensors that differ only in shape share one. */
  readonly tensors: number;
  /** Bytes that they hold. */
  readonly bytes: number;
  /** The most bytes that were alive at any time since {@linkcode resetPeak}. */
  readonly peakBytes: number;
  /** With `debug({ leaks: true })`: where each survivor was made, most bytes first. */
  readonly survivors: readonly { readonly site: string; readonly tensors: number; readonly bytes: number }[];
}

/** What is remembered of a live tensor while `debug({ leaks: true })` is on. */
export interface Survivor {
  readonly site: string;
  readonly bytes: number;
}

/** Debugging aids; all of them cost time. */
export interface DebugOptions {
  /** Remember the file and line that made each tensor, for `memory().survivors`. */
  readonly leaks?: boolean;
  /** Check every op's output; the first NaN or infinity throws a {@linkcode NumericsError} that names the op. */
  readonly checkNumerics?: boolean;
}

let tensors = 0, bytes = 0, peak = 0;
let options: Required<DebugOptions> = { leaks: false, checkNumerics: false };
const survivors = new Set<Survivor>();
const pending: Promise<void>[] = [];

/**
 * Turns debugging aids on or off; what is not named goes off. With `checkNumerics`, compiled functions run op by op, so
 * that the culprit has a name.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * tn.debug({ leaks: true });
 * const kept = tn.ones([2]);
 * const survivors = tn.memory().survivors.map(({ tensors, bytes }) => [tensors, bytes]); // `site` is the line above
 * tn.debug();
 * assertEquals(survivors, [[1, kept.size * 4]]);
 * ```
 */
export function debug({ leaks = false, checkNumerics = false }: DebugOptions = {}): void {
  options = { leaks, checkNumerics };
  if (!leaks) survivors.clear();
}

/** Whether numerics are checked. */
export function checksNumerics(): boolean {
  return options.checkNumerics;
}

/** Remembers a check that a device will answer later. */
export function awaitNumerics(check: Promise<void>): void {
  check.catch(() => {});
  pending.push(check);
}

/** Waits for the checks issued so far; throws the first failure. */
export async function settleNumerics(): Promise<void> {
  if (pending.length > 0) await Promise.all(pending.splice(0));
}

/** Throws if `values` hold a NaN or an infinity. */
export function assertFinite(op: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new NumericsError(`${op} made the first ${values[i]}, at element ${i} of ${values.length}`);
    }
  }
}

/** Where the user's code is right now: the first line of the stack outside the library. */
export function userSite(): string {
  const here = new URL("../", import.meta.url).href;
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Infinity; // the user's line may lie deep
  const { stack = "" } = new Error();
  Error.stackTraceLimit = limit;
  const lines = stack.split("\n").slice(1).map((line) => line.trim().replace(/^at /, ""));
  const inside = /^(core|transforms|ops|train|models|backends|io)\//;
  const outside = lines.find((line) => {
    const at = line.indexOf(here);
    return at < 0 ? /:\d+:\d+/.test(line) : !inside.test(line.slice(at + here.length));
  });
  return (outside ?? lines.at(-1) ?? "unknown").replace(/^.*\((.*)\)$/, "$1");
}

/** Counts memory as alive. */
export function born(size: number): Survivor | null {
  tensors++;
  bytes += size;
  if (bytes > peak) peak = bytes;
  if (!options.leaks) return null;
  const survivor = { site: userSite(), bytes: size };
  survivors.add(survivor);
  return survivor;
}

/** Counts memory as gone. */
export function died(size: number, survivor: Survivor | null): void {
  tensors--;
  bytes -= size;
  if (survivor) survivors.delete(survivor);
}

/**
 * Live tensors and bytes, and the peak so far.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const before = tn.memory().tensors;
 * {
 *   using x = tn.ones([3]);
 *   assertEquals([x.size, tn.memory().tensors], [3, before + 1]);
 * }
 * assertEquals(tn.memory().tensors, before);
 * ```
 */
export function memory(): Memory {
  const sites = new Map<string, { site: string; tensors: number; bytes: number }>();
  for (const { site, bytes } of survivors) {
    const entry = sites.get(site) ?? { site, tensors: 0, bytes: 0 };
    sites.set(site, { site, tensors: entry.tensors + 1, bytes: entry.bytes + bytes });
  }
  return { tensors, bytes, peakBytes: peak, survivors: [...sites.values()].sort((a, b) => b.bytes - a.bytes) };
}

/** Starts a new peak of `memory().peakBytes` at what is alive now. */
export function resetPeak(): void {
  peak = bytes;
}

let open: Set<Disposable> | null = null;

/** Hands `item` to the innermost scope. */
export function adopt(item: Disposable): void {
  open?.add(item);
}

/**
 * Runs `f`; what it made and did not return is freed, what it returned goes to the scope around.
 *
 * @param f Returns any tree; not async.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const length = tn.scope(() => tn.sqrt(tn.sum(tn.square(tn.tensor([3, 4]))))); // the square and the sum are freed
 * assertEquals(await length.item(), 5);
 * ```
 */
export function scope<T>(f: () => T): T {
  const outer = open;
  const mine: Set<Disposable> = open = new Set();
  let result: T;
  try {
    result = f();
  } catch (error) {
    open = outer;
    for (const item of mine) item[Symbol.dispose]();
    throw error;
  }
  open = outer;
  if (result instanceof Promise) {
    for (const item of mine) item[Symbol.dispose]();
    throw new ArgumentError("Cannot scope an async function: it returns before its tensors are done, await outside");
  }
  for (const leaf of leaves(result)) {
    if (mine.delete(leaf as Disposable)) outer?.add(leaf as Disposable);
  }
  for (const item of mine) item[Symbol.dispose]();
  return result;
}
