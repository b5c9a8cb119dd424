/**
 * Groups as steps that still name values instead of buffers: maps are folded into the whole ops before them, loops are
 * opened.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { Grouping } from "./fuse.ts";
import { copyOp, Group } from "./group.ts";
import type { Graph, Node } from "./graph.ts";
import { Value } from "./graph.ts";
import { contiguous, isContiguous } from "./layout.ts";
import type { Operand, OpStep, RegionStep, Step } from "./program.ts";
import { buildAssembly, buildEpilogue, buildRegion, type BuiltRegion } from "./region.ts";
import type { ScanAttrs } from "./body.ts";
import { size } from "./shape.ts";

/** A step that names values instead of buffers. */
export interface Draft {
  readonly reads: readonly Value[];
  readonly writes: readonly Value[];
  /** The step, once values have buffers. */
  readonly step: (number: (value: Value) => number) => Step;
  /** For a loop, in place of `step`: what to plan inside. */
  readonly loop?: LoopDraft;
}

/** A scan whose body is drafted; see `plan.ts` for how its buffers are placed. */
export interface LoopDraft {
  readonly name: string;
  readonly length: number;
  readonly reverse: boolean;
  readonly body: readonly Draft[];
  /** Values of the body that are values outside: constants as they are, carries as the scan's outputs. */
  readonly fixed: readonly (readonly [inside: Value, outside: Value])[];
  /** Values of the body that are slices of values outside. */
  readonly slices: readonly (readonly [inside: Value, outside: Value])[];
  /** Each carry: what a turn starts from, and what it makes of it. */
  readonly carries: readonly (readonly [before: Value, after: Value])[];
}

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
      ...(node.op.inPlace === undefined ? {} : { inPlace: node.op.inPlace }),
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
export class Drafts {
  readonly drafts: Draft[] = [];
  readonly #readers = new Map<Value, Set<Group>>();
  readonly #kept: ReadonlySet<Value>;
  /** Epilogues by the map that became one; null where it cannot. */
  readonly #folds = new Map<Group, BuiltRegion | null>();

  constructor(readonly fusion: Grouping, outputs: readonly Value[], readonly backend: Backend) {
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
    for (const group of order) {
      if (group.assembles) { for (const built of buildAssembly(group)) this.drafts.push(regionDraft(built)); }
      else if (group.whole?.node.op.name === "scan") this.drafts.push(...scanDrafts(group, this.backend));
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

  /** Whole ops whose outputs a group reads; first the one that runs last, when all else that the group reads is there. */
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
    let built = this.#folds.get(group);
    if (built === undefined) this.#folds.set(group, built = this.buildFold(whole, group));
    return built;
  }

  private buildFold(whole: Group, group: Group): BuiltRegion | null {
    const [output] = whole.whole!.node.outputs;
    const parts = epilogueParts(whole.whole!.node.op.name, output.shape.length);
    const contiguousReads = group.members.every(({ operands }) =>
      operands.every(({ root, layout }) => root !== output || isContiguous(layout))
    );
    return parts && contiguousReads ? buildEpilogue(group, output, this.stored(group), parts) : null;
  }
}

/** A graph's groups as drafts, in order, and its outputs, each with memory of its own. */
export interface DraftedGraph {
  readonly drafts: Draft[];
  readonly outputs: readonly Value[];
}

/** Fuses a simplified graph and drafts the steps of its groups. */
export function draftGraph(graph: Graph, backend: Backend): DraftedGraph {
  const fusion = new Grouping(graph, backend.strided ?? new Set());
  const outputs = graph.outputs.map((value) => fusion.materialize(value));
  return { drafts: new Drafts(fusion, outputs, backend).drafts, outputs };
}

/** One value copied to another of the same size. */
export function copyDraft(from: Value, to: Value): Draft {
  const node: Node = { op: copyOp, attrs: null, inputs: [from], outputs: [to] };
  const group = new Group();
  group.shape = from.shape;
  group.members.push({ node, operands: [{ root: from, layout: contiguous(from.shape) }] });
  return regionDraft(buildRegion(group, [to]));
}

/**
 * A scan as copies of the first carries to where the last ones will be, then a loop that updates them there.
 */
function scanDrafts(group: Group, backend: Backend): Draft[] {
  const { node, operands } = group.whole!;
  const { body, constants, carries, length, reverse } = node.attrs as ScanAttrs;
  const roots = operands.map(({ root }) => root as Value);
  const { drafts, outputs } = draftGraph(body.graph, backend);
  const xs = roots.length - constants - carries;
  const inside = body.graph.inputs;
  const ends = node.outputs.slice(0, carries), ys = node.outputs.slice(carries);
  const inputs = new Set(inside);
  // a result that is an input, or two results at once, gets a copy of its own
  const taken = new Set<Value>();
  const own = (value: Value): Value => {
    if (!inputs.has(value) && !taken.has(value)) {
      taken.add(value);
      return value;
    }
    const copy = new Value(value, value.origin);
    // an input is copied first, so that what comes of it may take its place
    if (inputs.has(value)) drafts.unshift(copyDraft(value, copy));
    else drafts.push(copyDraft(value, copy));
    return copy;
  };
  const results = outputs.map(own);
  const begin = roots.slice(constants, constants + carries).map((root, i) => copyDraft(root, ends[i]));
  const loop: LoopDraft = {
    name: "scan",
    length,
    reverse,
    body: drafts,
    fixed: [
      ...inside.slice(0, carries).map((value, i) => [value, ends[i]] as const),
      ...inside.slice(carries + xs).map((value, i) => [value, roots[i]] as const),
    ],
    slices: [
      ...inside.slice(carries, carries + xs).map((value, i) => [value, roots[constants + carries + i]] as const),
      ...results.slice(carries).map((value, i) => [value, ys[i]] as const),
    ],
    carries: inside.slice(0, carries).map((value, i) => [value, results[i]] as const),
  };
  const step = () => {
    throw new Error("a loop is planned, not stepped");
  };
  return [...begin, { reads: [...roots, ...ends], writes: [...ends, ...ys], step, loop }];
}
