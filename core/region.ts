/**
 * A fused group as a region: instructions over merged axes.
 *
 * @module
 */
import { copyOp, type Domain, type Group, levelOf, overDomain, type Ref } from "./group.ts";
import type { Value } from "./graph.ts";
import { keyOf } from "./cache_key.ts";
import { contiguous, type Layout, mergeAxes, reshapeLayout } from "./layout.ts";
import type { Instr, Region, Store } from "./program.ts";
import { size } from "./shape.ts";

/** A region, with the values behind its inputs and outputs. */
export interface BuiltRegion {
  readonly name: string;
  readonly region: Region;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** Collects instructions over the axes of a group's domain, before axes are merged. */
class Builder {
  readonly body: Instr[] = [];
  readonly stores: Store[] = [];
  readonly inputs: Value[] = [];
  readonly outputs: Value[] = [];
  readonly #made = new Map<Value, number>();
  readonly #known = new Map<string, number>();

  constructor(
    readonly domain: Domain,
    /** In an epilogue: the value that the whole op makes. */ readonly result?: Value,
  ) {}

  private push(instr: Instr): number {
    const key = keyOf(instr);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.body.push(instr);
    this.#known.set(key, this.body.length - 1);
    return this.body.length - 1;
  }

  operand({ root, layout }: Ref, dtype: Value["dtype"]): number {
    const over = overDomain(this.domain, layout)!;
    if (root === "sequence") {
      return this.push({ kind: "index", strides: over.strides, offset: over.offset, dtype });
    }
    if ("constant" in root) return this.push({ kind: "const", value: root.constant, dtype });
    if (root === this.result) return this.push({ kind: "result", dtype: root.dtype });
    const made = this.#made.get(root);
    if (made !== undefined) return made;
    let input = this.inputs.indexOf(root);
    if (input < 0) input = this.inputs.push(root) - 1;
    return this.push({ kind: "load", input, strides: over.strides, offset: over.offset, dtype: root.dtype });
  }

  member(node: Group["members"][number]["node"], operands: readonly Ref[]): void {
    const [output] = node.outputs;
    const args = operands.map((ref, i) => this.operand(ref, node.inputs[i].dtype));
    const { fusion } = node.op;
    if (node.op === copyOp || (fusion?.kind === "reduce" && this.#single())) this.#made.set(output, args[0]);
    else if (fusion?.kind === "reduce") {
      this.#made.set(output, this.push({ kind: "reduce", op: fusion.op, arg: args[0], dtype: output.dtype }));
    } else if (fusion?.kind === "scalar") {
      this.#made.set(output, this.push({ kind: "scalar", op: fusion.op, args, dtype: output.dtype }));
    }
  }

  /** Whether reductions combine one value each, which is then the result. */
  #single(): boolean {
    return size(this.domain.axes.map((axis) => this.domain.shape[axis])) === 1;
  }

  store(value: Value): void {
    const { strides } = overDomain(this.domain, contiguous(value.shape))!;
    this.stores.push({ value: this.#made.get(value)!, output: this.outputs.push(value) - 1, strides, offset: 0 });
  }

  /** The region, its axes merged within `parts` (outer axes first, then the reduced ones). */
  finish(name: string, parts: readonly (readonly number[])[]): BuiltRegion {
    const { shape } = this.domain;
    const strided = [...this.body.filter((instr) => "strides" in instr), ...this.stores];
    const merged = parts.map((axes) =>
      mergeAxes(axes.map((axis) => shape[axis]), strided.map(({ strides }) => axes.map((axis) => strides[axis])))
    );
    const place = new Map<unknown, number[]>(
      strided.map((item, i) => [item, merged.flatMap(({ strides }) => strides[i])]),
    );
    const inner = merged.at(-1)!.shape;
    return {
      name,
      region: {
        outer: merged.slice(0, -1).flatMap((part) => part.shape),
        inner,
        body: this.body.map((instr) => "strides" in instr ? { ...instr, strides: place.get(instr)! } : instr),
        stores: this.stores.map((store) => ({ ...store, strides: place.get(store)! })),
      },
      inputs: this.inputs,
      outputs: this.outputs,
    };
  }
}

/** What a report calls a group. */
function nameOf(group: Group): string {
  return group.members.map(({ node }) => node.op.name).join(" ");
}

/** The region of a group of scalar ops and reductions, storing the values of `stored`. */
export function buildRegion(group: Group, stored: readonly Value[]): BuiltRegion {
  const builder = new Builder(group);
  for (const { node, operands } of group.members) builder.member(node, operands);
  for (const value of stored) builder.store(value);
  const axes = group.shape.map((_, axis) => axis);
  return builder.finish(nameOf(group), [
    axes.filter((axis) => !group.axes.includes(axis)),
    axes.filter((axis) => group.axes.includes(axis)),
  ]);
}

/**
 * The region of a map applied to the output of a whole op, over `parts` of its axes that stay apart; null if the map
 * cannot be said over the op's shape.
 */
export function buildEpilogue(
  group: Group,
  result: Value,
  stored: readonly Value[],
  parts: readonly (readonly number[])[],
): BuiltRegion | null {
  const over: Domain = { shape: result.shape, axes: [] };
  const readable = group.members.every(({ operands }) =>
    operands.every(({ layout }) => levelOf(over, layout.shape) === "full" && overDomain(over, layout) !== null)
  );
  if (!readable) return null;
  const builder = new Builder(over, result);
  for (const { node, operands } of group.members) builder.member(node, operands);
  for (const value of stored) builder.store(value);
  const built = builder.finish(nameOf(group), [...parts, []]);
  // every part must be exactly one axis, so that the backend finds its rows and columns
  const sizes = parts.map((axes) => size(axes.map((axis) => result.shape[axis])));
  const wanted = sizes.join();
  const padded = pad(built.region, sizes);
  return padded && padded.outer.join() === wanted ? { ...built, region: padded } : null;
}

/** Puts back axes of size 1 that merging dropped; null if some part stayed several axes. */
function pad(region: Region, sizes: readonly number[]): Region | null {
  const kept = sizes.filter((n) => n !== 1);
  if (kept.join() !== region.outer.join()) return null;
  const spread = (strides: readonly number[]) => {
    let next = 0;
    return sizes.map((n) => n === 1 ? 0 : strides[next++]);
  };
  return {
    ...region,
    outer: sizes,
    body: region.body.map((instr) => "strides" in instr ? { ...instr, strides: spread(instr.strides) } : instr),
    stores: region.stores.map((store) => ({ ...store, strides: spread(store.strides) })),
  };
}

/** The regions that fill an assembled output: the fill, then each piece. */
export function buildAssembly(group: Group): BuiltRegion[] {
  const { node, operands } = group.whole!;
  const { fusion } = node.op;
  if (fusion?.kind !== "assemble") return [];
  const [output] = node.outputs;
  const target = contiguous(output.shape);
  const fill = fusion.fill(node.attrs);
  const starts = fusion.starts(node.inputs, node.attrs);
  const pieces = operands.flatMap((ref, i) => {
    if (size(ref.layout.shape) === 0) return [];
    const offset = starts[i].reduce((at, n, axis) => at + n * target.strides[axis], 0);
    return [piece(node.op.name, output, ref, { shape: node.inputs[i].shape, strides: target.strides, offset })];
  });
  if (fill === null) return pieces;
  const everywhere: Ref = { root: { constant: fill }, layout: { ...target, strides: target.strides.map(() => 0) } };
  return [piece("fill", output, everywhere, target), ...pieces];
}

/** Copies `ref` to the part `box` of `output`; the two may have different shapes of the same order. */
function piece(name: string, output: Value, ref: Ref, box: Layout): BuiltRegion {
  const shape = reshapeLayout(box, ref.layout.shape) ? ref.layout.shape : box.shape;
  const to = reshapeLayout(box, shape)!, from = reshapeLayout(ref.layout, shape)!;
  const builder = new Builder({ shape, axes: [] });
  const value = builder.operand({ root: ref.root, layout: from }, output.dtype);
  builder.outputs.push(output);
  builder.stores.push({ value, output: 0, strides: to.strides, offset: to.offset });
  return builder.finish(name, [shape.map((_, axis) => axis), []]);
}
