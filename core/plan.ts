/**
 * Planning: every buffer gets a place, and drafts become steps.
 *
 * Liveness decides what may share memory: a buffer is live from the step that writes it to the last that reads it, and
 * two buffers that are never live together may take the same bytes of the arena. A donated input whose last reader
 * writes an output of the same size place by place becomes that output; the carries of a loop do the same.
 *
 * @module
 */
import { bytesPerElement } from "./dtype.ts";
import type { Graph, Value } from "./graph.ts";
import type { BufferPlan, Place, Program, Step } from "./program.ts";
import { size } from "./shape.ts";
import { copyDraft, type Draft, type DraftedGraph, type LoopDraft } from "./steps.ts";

const ALIGN = 256;
const align = (bytes: number) => Math.ceil(bytes / ALIGN) * ALIGN;
const bytesOf = (value: Value) => size(value.shape) * bytesPerElement(value.dtype);

/** First and last step that touches a value. */
interface Span {
  readonly first: number;
  last: number;
}

function livenessOf(drafts: readonly Draft[]): Map<Value, Span> {
  const live = new Map<Value, Span>();
  drafts.forEach(({ reads, writes }, i) => {
    for (const value of [...writes, ...reads]) {
      const span = live.get(value);
      if (span) span.last = i;
      else live.set(value, { first: i, last: i });
    }
  });
  return live;
}

/** Gives arena offsets, largest pieces first, each at the lowest offset free for its whole life. */
function packArena<K>(pieces: readonly { key: K; bytes: number; first: number; last: number }[]) {
  const placed: { offset: number; bytes: number; first: number; last: number }[] = [];
  const offsets = new Map<K, number>();
  let total = 0;
  for (const { key, bytes, first, last } of [...pieces].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const rivals = placed.filter((other) => first <= other.last && other.first <= last);
    rivals.sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + bytes <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    placed.push({ offset, bytes, first, last });
    offsets.set(key, offset);
    total = Math.max(total, offset + bytes);
  }
  return { offsets, total };
}

/** Whether a step reads `input` only at the very places where it writes `output`, so that they may share memory. */
function overwrites(step: Step, input: number, output: number): boolean {
  if (step.kind === "loop") return false;
  if (step.kind === "op" && step.inputs.some(({ buffer }) => buffer === input)) {
    return step.inputs.every(({ buffer }, i) => (buffer === input) === (i === step.inPlace));
  }
  const map = step.kind === "region" ? step : step.epilogue;
  if (!map || map.region.inner.length > 0) return false;
  const { body, stores } = map.region;
  const store = stores.find((s) => step.outputs[s.output] === output)!;
  return body.every((instr) =>
    instr.kind !== "load" || map.inputs[instr.input] !== input ||
    (instr.offset === store.offset && instr.strides.every((stride, axis) => stride === store.strides[axis]))
  );
}

/** A loop's body with its memory laid out, relative to the start of its block in the arena. */
interface PlannedLoop {
  readonly loop: LoopDraft;
  readonly drafts: readonly Draft[];
  /** Results of a turn that are made where the carry was, with the carry. */
  readonly inPlace: ReadonlyMap<Value, Value>;
  readonly memory: Memory;
}

/** Offsets of the values that drafts make, and the loops among them. */
interface Memory {
  readonly live: ReadonlyMap<Value, Span>;
  readonly offsets: ReadonlyMap<Value | Draft, number>;
  readonly total: number;
  readonly loops: ReadonlyMap<Draft, PlannedLoop>;
}

/** Lays out what `drafts` make; values of `elsewhere` have a place already. */
function layOut(drafts: readonly Draft[], elsewhere: ReadonlySet<Value>): Memory {
  const live = livenessOf(drafts);
  const loops = new Map<Draft, PlannedLoop>();
  for (const draft of drafts) if (draft.loop) loops.set(draft, planLoop(draft.loop));
  const pieces: { key: Value | Draft; bytes: number; first: number; last: number }[] = [];
  for (const [value, { first, last }] of live) {
    if (!elsewhere.has(value)) pieces.push({ key: value, bytes: align(bytesOf(value)), first, last });
  }
  drafts.forEach((draft, i) => {
    const planned = loops.get(draft);
    if (planned) pieces.push({ key: draft, bytes: planned.memory.total, first: i, last: i });
  });
  return { live, loops, ...packArena(pieces) };
}

function planLoop(loop: LoopDraft): PlannedLoop {
  const live = livenessOf(loop.body);
  const ids = new Map<Value, number>();
  const idOf = (value: Value) => ids.get(value) ?? (ids.set(value, ids.size), ids.size - 1);
  const inPlace = new Map<Value, Value>();
  const drafts = [...loop.body];
  const late: Draft[] = [];
  for (const [before, after] of loop.carries) {
    const made = live.get(after)!.first, read = live.get(before)?.last ?? -1;
    const draft = loop.body[made];
    const free = read < made ||
      (read === made && !draft.loop && overwrites(draft.step(idOf), idOf(before), idOf(after)));
    if (free && loop.slices.every(([inside]) => inside !== after)) inPlace.set(after, before);
    else late.push(copyDraft(after, before));
  }
  drafts.push(...late);
  const elsewhere = new Set([...loop.fixed, ...loop.slices].map(([inside]) => inside));
  for (const value of inPlace.keys()) elsewhere.add(value);
  return { loop, drafts, inPlace, memory: layOut(drafts, elsewhere) };
}

/** Numbers values as buffers, and turns drafts into steps. */
class Numbering {
  readonly buffers: BufferPlan[] = [];
  readonly #numbers = new Map<Value, number>();
  #loops = 0;

  has(value: Value): boolean {
    return this.#numbers.has(value);
  }

  of = (value: Value): number => this.#numbers.get(value)!;

  add(value: Value, place: Place): void {
    if (this.has(value)) return;
    this.#numbers.set(value, this.buffers.push({ bytes: align(bytesOf(value)), dtype: value.dtype, place }) - 1);
  }

  /** Makes `value` another name of `other`'s buffer. */
  alias(value: Value, other: Value): void {
    this.#numbers.set(value, this.of(other));
  }

  steps(drafts: readonly Draft[], memory: Memory, base: number): Step[] {
    for (const [key, offset] of memory.offsets) {
      if (!("writes" in key)) this.add(key, { kind: "arena", offset: base + offset });
    }
    return drafts.map((draft) => {
      const planned = memory.loops.get(draft);
      return planned ? this.loop(planned, base + memory.offsets.get(draft)!) : draft.step(this.of);
    });
  }

  private loop({ loop, drafts, inPlace, memory }: PlannedLoop, base: number): Step {
    const id = this.#loops++;
    for (const [inside, outside] of loop.fixed) this.alias(inside, outside);
    for (const [inside, outside] of loop.slices) {
      this.add(inside, { kind: "slice", of: this.of(outside), stride: bytesOf(inside), loop: id });
    }
    for (const [after, before] of inPlace) this.alias(after, before);
    const steps = this.steps(drafts, memory, base);
    return { kind: "loop", name: loop.name, loop: id, length: loop.length, reverse: loop.reverse, steps };
  }
}

/** A program of the drafts of a graph. `donated` inputs may be overwritten. */
export function planProgram(
  graph: Graph,
  { drafts, outputs }: DraftedGraph,
  donated: ReadonlySet<number> = new Set(),
): Program {
  const numbering = new Numbering();
  graph.inputs.forEach((value, index) => numbering.add(value, { kind: "input", index }));
  outputs.forEach((value, index) => numbering.add(value, { kind: "output", index }));
  const memory = layOut(drafts, new Set([...graph.inputs, ...outputs]));
  const steps = numbering.steps(drafts, memory, 0);
  donate(graph, outputs, donated, numbering, steps, memory.live);
  return {
    inputs: graph.inputs.map(({ shape, dtype }) => ({ shape, dtype })),
    outputs: graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    buffers: numbering.buffers,
    results: outputs.map(numbering.of),
    arenaBytes: memory.total,
    steps,
  };
}

/** Lets outputs take the place of donated inputs that nothing reads after them. */
function donate(
  graph: Graph,
  outputs: readonly Value[],
  donated: ReadonlySet<number>,
  { buffers, of }: Numbering,
  steps: readonly Step[],
  live: ReadonlyMap<Value, Span>,
): void {
  const taken = new Set<number>();
  for (const output of new Set(outputs)) {
    const span = live.get(output);
    const number = of(output);
    if (!span || buffers[number].place.kind !== "output") continue;
    for (const index of donated) {
      const input = graph.inputs[index];
      const fits = !taken.has(index) && input.dtype === output.dtype && size(input.shape) === size(output.shape) &&
        (live.get(input)?.last ?? -1) === span.first && !outputs.includes(input);
      if (!fits || !overwrites(steps[span.first], of(input), number)) continue;
      taken.add(index);
      buffers[number] = { ...buffers[number], place: { kind: "input", index } };
      break;
    }
  }
}
