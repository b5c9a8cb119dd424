/**
 * The gradient tape: what was computed, in order, so that it can be walked back.
 *
 * A tape tracks the tensors that depend on its own inputs and nothing else, so tapes nest: gradients of gradients are
 * tapes around tapes, and an inner gradient never sees what only an outer one differentiates.
 *
 * @module
 */
import type { AnyOp } from "./op.ts";
import { adopt } from "./scope.ts";
import { isFloat } from "./dtype.ts";
import { Storage, type Tensor } from "./tensor.ts";

/** Gradients of a step's inputs, given those of its outputs (`null` where nothing arrived). */
export type Pullback = (grads: readonly (Tensor | null)[]) => readonly (Tensor | null)[];

/** One thing that was computed. */
export interface TapeStep {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** What a pullback needs besides; its memory is kept too. */
  readonly saved?: readonly Tensor[];
  /** The op that ran, with its attributes; or a pullback of its own (checkpoint, customVjp, ...). */
  readonly rule: { readonly op: AnyOp; readonly attrs: unknown } | Pullback;
}

/** Hears of every step while it listens. */
interface Listener {
  tracks(tensor: Tensor): boolean;
  record(step: TapeStep): void;
}

const forgotten = new FinalizationRegistry<Set<Storage>>((held) => {
  for (const storage of held) storage.release();
  held.clear();
});

/** A recording; it keeps the memory of what it recorded until it is disposed. */
export class Tape implements Listener, Disposable {
  readonly steps: TapeStep[] = [];
  readonly #tracked = new Set<Tensor>();
  readonly #held = new Set<Storage>();
  #disposed = false;

  constructor(inputs: readonly Tensor[]) {
    for (const input of inputs) this.#tracked.add(input);
    forgotten.register(this, this.#held);
    adopt(this);
  }

  /** Whether the tensor depends on this tape's inputs. */
  tracks(tensor: Tensor): boolean {
    return this.#tracked.has(tensor);
  }

  /** Records a step if it depends on this tape's inputs. */
  record(step: TapeStep): void {
    if (!step.inputs.some((input) => this.#tracked.has(input))) return;
    this.steps.push(step);
    for (const output of step.outputs) if (isFloat(output.dtype)) this.#tracked.add(output);
    for (const { source } of [...step.inputs, ...step.outputs, ...step.saved ?? []]) {
      if (source instanceof Storage && !this.#held.has(source)) this.#held.add(source.retain());
    }
  }

  /** Whether what was recorded is gone. */
  get disposed(): boolean {
    return this.#disposed;
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const storage of this.#held) storage.release();
    this.#held.clear();
    this.#tracked.clear();
    this.steps.length = 0;
  }
}

let tapes: readonly Listener[] = [];

/** Whether any tape listens. */
export function isListening(): boolean {
  return tapes.length > 0;
}

/** Whether any tape would record a step with these inputs. */
export function isTracked(inputs: readonly Tensor[]): boolean {
  return tapes.some((tape) => inputs.some((input) => tape.tracks(input)));
}

/** Runs `f` with `tape` listening too. */
export function withTape<T>(tape: Tape, f: () => T): T {
  return withTapes([...tapes, tape], f);
}

/** Runs `f` with no tape listening. */
export function withoutTapes<T>(f: () => T): T {
  return tapes.length === 0 ? f() : withTapes([], f);
}

/** Runs `f` unseen by tapes; also says which tracked tensors it used besides `args`: those it closed over. */
export function withCaptures<T>(args: readonly Tensor[], f: () => T): { result: T; captured: Tensor[] } {
  const outer = tapes;
  if (outer.length === 0) return { result: f(), captured: [] };
  const captured = new Set<Tensor>();
  const probe: Listener = {
    // so that what asks before it records, like a checkpoint inside this one, does record
    tracks: (tensor) => outer.some((tape) => tape.tracks(tensor)),
    record({ inputs }) {
      for (const input of inputs) {
        if (!args.includes(input) && outer.some((tape) => tape.tracks(input))) captured.add(input);
      }
    },
  };
  return { result: withTapes([probe], f), captured: [...captured] };
}

function withTapes<T>(next: readonly Listener[], f: () => T): T {
  const outer = tapes;
  tapes = next;
  try {
    return f();
  } finally {
    tapes = outer;
  }
}

/** Lets every listening tape know what an op computed. */
export function recordStep(op: AnyOp, inputs: readonly Tensor[], attrs: unknown, outputs: readonly Tensor[]): void {
  if (tapes.length > 0) recordOn({ inputs, outputs, rule: { op, attrs } });
}

/** Lets every listening tape know a step with a gradient rule of its own. */
export function recordOn(step: TapeStep): void {
  for (const tape of tapes) tape.record(step);
}
