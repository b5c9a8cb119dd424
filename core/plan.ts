/**
 * Planning: groups become steps, and every buffer gets a place.
 *
 * Liveness decides what may share memory: a buffer is live from the step that writes it to the last that reads it, and
 * two buffers that are never live together may take the same bytes of the arena. A donated input whose last reader
 * writes an output of the same size place by place becomes that output.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { bytesPerElement } from "./dtype.ts";
import { Fusion, type Group } from "./fuse.ts";
import type { Graph, Value } from "./graph.ts";
import { isContiguous } from "./layout.ts";
import type { BufferPlan, Operand, OpStep, Place, Program, RegionStep, Step } from "./program.ts";
import { buildAssembly, buildEpilogue, buildRegion, type BuiltRegion } from "./region.ts";
import { size } from "./shape.ts";

/** A step that names values instead of buffers. */
type Draft = { readonly step: (numbers: (value: Value) => number) => Step; readonly reads: Value[]; readonly writes: Value[] };

const ALIGN = 256;
const align = (bytes: number) => Math.ceil(bytes / ALIGN) * ALIGN;

function regionDraft(built: BuiltRegion): Draft {
  return {
    reads: [...built.inputs],
    writes: [...built.outputs],
    step: (number): RegionStep => ({
      kind: "region",
      name: built.name,
      region: built.region,
      inputs: built.inputs.map(number),
      outputs: built.outputs.map(number),
    }),
  };
}

function opDraft(group: Group, epilogue: BuiltRegion | null): Draft {
  const { node, operands } = group.whole!;
  const roots = operands.map(({ root }) => root as Value);
  const outputs = epilogue ? epilogue.outputs : node.outputs;
  return {
    reads: [...roots, ...epilogue?.inputs ?? []],
    writes: [...outputs],
    step: (number): OpStep => ({
      kind: "op",
      name: epilogue ? `${node.op.name} ${epilogue.name}` : node.op.name,
      op: node.op.name,
      attrs: node.attrs,
      inputs: operands.map(({ layout }, i): Operand => ({
        buffer: number(roots[i]),
        dtype: roots[i].dtype,
        shape: layout.shape,
        strides: layout.strides,
        offset: layout.offset,
      })),
      outputs: outputs.map(number),
      outputSpecs: node.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
      ...(epilogue ? { epilogue: { region: epilogue.region, inputs: epilogue.inputs.map(number) } } : {}),
    }),
  };
}

/** Which axes an epilogue keeps apart: rows and columns of a product, planes of an image. */
function epilogueParts(op: string, rank: number): number[][] | null {
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  if (op === "matmul") return [range(0, rank - 1), [rank - 1]];
  if (op === "conv") return [[0], [1], range(2, rank)];
  return null;
}

/** Groups as drafts of steps, maps folded into the whole ops before them. */
class Drafts {
  readonly drafts: Draft[] = [];
  readonly #readers = new Map<Value, Set<Group>>();
  readonly #kept: ReadonlySet<Value>;

  constructor(readonly fusion: Fusion, outputs: readonly Value[]) {
    this.#kept = new Set(outputs);
    const order = fusion.ordered();
    for (const group of order) {
      for (const { operands } of [...group.members, ...group.whole ? [group.whole] : []]) {
        for (const { root } of operands) {
          if (root === "sequence" || "constant" in root) continue;
          this.#readers.set(root, (this.#readers.get(root) ?? new Set()).add(group));
        }
      }
    }
    const folded = new Set<Group>();
    for (const group of order) {
      if (folded.has(group)) continue;
      if (group.assembles) for (const built of buildAssembly(group)) this.drafts.push(regionDraft(built));
      else if (group.whole) {
        const rest = this.epilogueOf(group);
        if (!rest) this.drafts.push(opDraft(group, null));
      } else {
        const whole = this.wholeBefore(group);
        if (whole) this.drafts.push(opDraft(whole, this.fold(whole, group)));
        else this.drafts.push(regionDraft(buildRegion(group, this.stored(group))));
      }
    }
  }

  /** Values that others than the group itself need. */
  private stored(group: Group): Value[] {
    return group.members.map(({ node }) => node.outputs[0]).filter((value) =>
      this.#kept.has(value) || [...this.#readers.get(value) ?? []].some((reader) => reader !== group)
    );
  }

  /** The map that can run on the output of a whole op, if there is just one reader and it is such a map. */
  private epilogueOf(whole: Group): Group | null {
    const { node } = whole.whole!;
    const [output] = node.outputs;
    const readers = [...this.#readers.get(output) ?? []];
    if (node.outputs.length !== 1 || readers.length !== 1 || this.#kept.has(output)) return null;
    const [reader] = readers;
    if (reader.whole || reader.axes.length > 0 || size(reader.shape) !== size(output.shape)) return null;
    if (this.wholesOf(reader)[0] !== whole) return null;
    return this.fold(whole, reader) ? reader : null;
  }

  /** Whole ops whose outputs a group reads, earliest first. */
  private wholesOf(group: Group): Group[] {
    const values = group.members.flatMap(({ operands }) => operands.map(({ root }) => root));
    const homes = values.flatMap((root) => root === "sequence" || "constant" in root ? [] : [this.fusion.homeOf(root)]);
    const foldable = homes.filter((home): home is Group =>
      home?.whole != null && !home.assembles && home.whole.node.outputs.length === 1 &&
      epilogueParts(home.whole.node.op.name, home.whole.node.outputs[0].shape.length) !== null &&
      !this.#kept.has(home.whole.node.outputs[0]) &&
      [...this.#readers.get(home.whole.node.outputs[0])!].every((reader) => reader === group) &&
      size(home.shape) === size(group.shape)
    );
    return [...new Set(foldable)].sort((a, b) => b.before.size - a.before.size);
  }

  private wholeBefore(group: Group): Group | null {
    if (group.axes.length > 0) return null;
    const [whole] = this.wholesOf(group);
    return whole && this.fold(whole, group) ? whole : null;
  }

  private fold(whole: Group, group: Group): BuiltRegion | null {
    const [output] = whole.whole!.node.outputs;
    const parts = epilogueParts(whole.whole!.node.op.name, output.shape.length);
    const contiguousReads = group.members.every(({ operands }) =>
      operands.every(({ root, layout }) => root !== output || isContiguous(layout))
    );
    return parts && contiguousReads ? buildEpilogue(group, output, this.stored(group), parts) : null;
  }
}

/** First and last step that touches each value. */
function livenessOf(drafts: readonly Draft[]): Map<Value, { first: number; last: number }> {
  const live = new Map<Value, { first: number; last: number }>();
  drafts.forEach(({ reads, writes }, i) => {
    for (const value of [...writes, ...reads]) {
      const span = live.get(value);
      if (span) span.last = i;
      else live.set(value, { first: i, last: i });
    }
  });
  return live;
}

/** Gives arena offsets, largest buffers first, each at the lowest offset free for its whole life. */
function packArena(spans: readonly { value: Value; bytes: number; first: number; last: number }[]) {
  const placed: { offset: number; bytes: number; first: number; last: number }[] = [];
  const offsets = new Map<Value, number>();
  let total = 0;
  for (const { value, bytes, first, last } of [...spans].sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const rivals = placed.filter((other) => first <= other.last && other.first <= last);
    rivals.sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + bytes <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    placed.push({ offset, bytes, first, last });
    offsets.set(value, offset);
    total = Math.max(total, offset + bytes);
  }
  return { offsets, total };
}

/** Whether a step reads `input` only at the very places where it writes `output`. */
function overwrites(step: Step, input: number, output: number): boolean {
  if (step.kind !== "region") return false;
  const { body, stores } = step.region;
  const store = stores.find((s) => step.outputs[s.output] === output)!;
  if (step.region.inner.length > 0) return false;
  return body.every((instr) =>
    instr.kind !== "load" || step.inputs[instr.input] !== input ||
    (instr.offset === store.offset && instr.strides.every((stride, axis) => stride === store.strides[axis]))
  );
}

/** A program for a simplified graph. `donated` inputs may be overwritten. */
export function planProgram(graph: Graph, backend: Backend, donated: ReadonlySet<number> = new Set()): Program {
  const fusion = new Fusion(graph, backend.strided ?? new Set());
  const outputs = graph.outputs.map((value) => fusion.materialize(value));
  const { drafts } = new Drafts(fusion, outputs);
  const live = livenessOf(drafts);
  const numbers = new Map<Value, number>();
  const buffers: BufferPlan[] = [];
  const add = (value: Value, place: Place) => {
    if (numbers.has(value)) return;
    const bytes = align(size(value.shape) * bytesPerElement(value.dtype));
    numbers.set(value, buffers.push({ bytes, dtype: value.dtype, place }) - 1);
  };
  graph.inputs.forEach((value, index) => add(value, { kind: "input", index }));
  outputs.forEach((value, index) => add(value, { kind: "output", index }));
  const spans = [...live].flatMap(([value, { first, last }]) =>
    numbers.has(value) ? [] : [{ value, bytes: align(size(value.shape) * bytesPerElement(value.dtype)), first, last }]
  );
  const { offsets, total } = packArena(spans);
  for (const [value, offset] of offsets) add(value, { kind: "arena", offset });
  const steps = drafts.map(({ step }) => step((value) => numbers.get(value)!));
  donate(graph, outputs, donated, { numbers, buffers, steps, live });
  return {
    inputs: graph.inputs.map(({ shape, dtype }) => ({ shape, dtype })),
    outputs: graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    buffers,
    results: outputs.map((value) => numbers.get(value)!),
    arenaBytes: total,
    steps,
  };
}

interface Planned {
  readonly numbers: ReadonlyMap<Value, number>;
  readonly buffers: BufferPlan[];
  readonly steps: readonly Step[];
  readonly live: ReadonlyMap<Value, { first: number; last: number }>;
}

/** Lets outputs take the place of donated inputs that nothing reads after them. */
function donate(graph: Graph, outputs: readonly Value[], donated: ReadonlySet<number>, plan: Planned): void {
  const taken = new Set<number>();
  for (const output of new Set(outputs)) {
    const span = plan.live.get(output);
    const number = plan.numbers.get(output)!;
    if (!span || plan.buffers[number].place.kind !== "output") continue;
    const step = plan.steps[span.first];
    for (const index of donated) {
      const input = graph.inputs[index];
      const fits = !taken.has(index) && input.dtype === output.dtype && size(input.shape) === size(output.shape) &&
        (plan.live.get(input)?.last ?? -1) === span.first && !outputs.includes(input);
      if (!fits || !overwrites(step, plan.numbers.get(input)!, number)) continue;
      taken.add(index);
      plan.buffers[number] = { ...plan.buffers[number], place: { kind: "input", index } };
      break;
    }
  }
}
