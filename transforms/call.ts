/**
 * The arguments of a compiled function, taken apart: tensors, and the signature that tells programs apart.
 *
 * @module
 */
import { type Backend, currentBackend, nameBeside } from "../core/backend.ts";
import { identityOf, keyOf } from "../core/cache_key.ts";
import { ArgumentError, BackendError } from "../core/errors.ts";
import { show } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { tensorsOf } from "./pullback.ts";

/** How to compile. */
export interface CompileOptions {
  /**
   * Arguments whose memory the program may take over; they are disposed by the call. Memory that another tensor shares is
   * copied first.
   */
  readonly donate?: readonly number[];
  /** Arguments that belong to the signature as they are: a new value means a new program. */
  readonly static?: readonly number[];
  /** Programs kept, one per signature; the least recently used goes first. 16 by default. */
  readonly capacity?: number;
  /** Called with the reason whenever a call compiles again. */
  readonly onRecompile?: (reason: string) => void;
}

/** A call's arguments, taken apart. */
export interface Call {
  /** What a report shows, and what tells programs apart. */
  readonly signature: string;
  readonly key: string;
  readonly tensors: readonly Tensor[];
  readonly rebuild: (tensors: readonly Tensor[]) => unknown[];
  /** Indices into `tensors` that are donated. */
  readonly donated: ReadonlySet<number>;
}

/** A leaf as a part of a signature: tensors by their specs, numbers and strings by value, anything else by identity. */
function leafKey(leaf: unknown): string {
  return leaf instanceof Tensor ? `${leaf.dtype}${show(leaf.shape)}` : staticKey(leaf);
}

/** The same in an argument that belongs to the signature as it is: a tensor too by its identity. */
function staticKey(leaf: unknown): string {
  if ((typeof leaf === "object" && leaf !== null) || typeof leaf === "function") return `#${identityOf(leaf)}`;
  return `${typeof leaf} ${typeof leaf === "bigint" ? leaf : keyOf(leaf)}`;
}

/** The backend that a call with these tensors runs on. */
export function homeOf(tensors: readonly Tensor[]): Backend {
  const home = tensors[0]?.backend ?? currentBackend();
  requireOn(home, tensors);
  return home;
}

/** Throws if a tensor is elsewhere. */
export function requireOn(home: Backend, tensors: readonly Tensor[]): void {
  const foreign = tensors.find(({ backend }) => backend !== home);
  if (!foreign) return;
  throw new BackendError(
    `Cannot call a compiled function with tensors on ${home.name} and ${nameBeside(home, foreign.backend)}: ` +
      `move one with \`await t.to("${home.name}")\``,
  );
}

/** Takes a call apart. */
export function takeApart(args: readonly unknown[], options: CompileOptions): Call {
  const fixed = options.static ?? [];
  for (const name of ["donate", "static"] as const) {
    const absent = options[name]?.find((place) => !(place in args));
    if (absent === undefined) continue;
    throw new ArgumentError(
      `Cannot call a compiled function: ${name} names argument ${absent}, there are ${args.length}`,
    );
  }
  const parts = args.map((arg, i) => fixed.includes(i) ? null : tensorsOf(arg));
  const tensors: Tensor[] = [];
  const donated = new Set<number>();
  const signature = args.map((arg, i) => {
    const part = parts[i];
    const [leaves, structure] = tree.flatten(arg);
    const described = `${tree.describe(structure)}(${leaves.map(part ? leafKey : staticKey)})`;
    if (!part) return `static ${described}`;
    if (options.donate?.includes(i)) part[0].forEach((_, k) => donated.add(tensors.length + k));
    tensors.push(...part[0]);
    return described;
  }).join("; ");
  const rebuild = (next: readonly Tensor[]) => {
    let at = 0;
    return args.map((arg, i) => {
      const part = parts[i];
      if (!part) return arg;
      const count = part[0].length;
      at += count;
      return part[1](next.slice(at - count, at));
    });
  };
  const home = homeOf(tensors);
  const shown = `${home.name} ${signature}`;
  // not by the name alone: another backend may have been registered under it
  return { signature: shown, key: `${identityOf(home)} ${shown}`, tensors, rebuild, donated };
}

/** What is new in a signature. */
export function difference(before: string, now: string): string {
  const old = before.split("; "), fresh = now.split("; ");
  const i = fresh.findIndex((part, k) => part !== old[k]);
  if (i < 0) return fresh.length < old.length ? "fewer arguments" : "the backend is a new one";
  return `argument ${i} was ${old[i] ?? "absent"}, is ${fresh[i]}`;
}
