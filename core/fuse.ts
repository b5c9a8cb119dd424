/**
 * Fusion: primitives gathered into groups, each of which becomes one kernel.
 *
 * ```text
 *  x ─ reduceMax ─ sub ─ exp ─ sum ─ div ─ mul    one group over [rows, n]: two reductions, one store
 *  matmul ─ add bias ─ gelu                       two groups: `steps.ts` folds the map into the op, as its epilogue
 *  transpose, slice, broadcast, iota, full        no group at all: strides of the loads that read them
 * ```
 *
 * A group has a *domain*: a shape, and the axes it reduces. Its members are *full-level* (one value per place of the
 * domain) or *row-level* (one per place of the axes that are not reduced). A node joins the group that makes its
 * operand if every operand made inside is read place by place and no path leads out of the group and back.
 *
 * @module
 */
import type { Graph, Node, Value } from "./graph.ts";
import { copyOp, Group, isValue, levelOf, type Member, overDomain, readInPlace, type Ref, type Root } from "./group.ts";
import { broadcastLayout, contiguous, isContiguous, type Layout, reshapeLayout } from "./layout.ts";
import { sameShape, type Shape, size } from "./shape.ts";

/** Most ops of a group: a longer chain becomes several kernels, each of which compiles in good time. */
const MOST_MEMBERS = 256;
/** Most values that a group reads from memory: more streams at once than this no longer save anything. */
const MOST_LOADS = 12;

/** Gathers a graph of primitives into groups, in an order in which they can run. */
export class Grouping {
  readonly groups: Group[] = [];
  readonly #refs = new Map<Value, Ref>();
  readonly #home = new Map<Value, Group>();
  /** Reshaped values that no strides over their own shape say; the layout has the shape before. */
  readonly #loose = new Map<Value, Ref>();

  constructor(
    readonly graph: Graph,
    /** Ops that read their inputs through any strides. */
    readonly strided: ReadonlySet<string>,
  ) {
    for (const node of graph.nodes) this.place(node);
  }

  /** The group that makes a value; none for inputs. */
  homeOf(value: Value): Group | undefined {
    return this.#home.get(value);
  }

  /** How a value is read: itself, or a view of its root. */
  refOf(value: Value): Ref {
    if (this.#loose.has(value)) this.copy(value, this.#loose.get(value)!);
    return this.#refs.get(value) ?? { root: value, layout: contiguous(value.shape) };
  }

  private place(node: Node): void {
    const { fusion, alias } = node.op;
    const [output] = node.outputs;
    if (alias) {
      this.placeView(node, (ref) => reshapeLayout(ref.layout, output.shape));
    } else if (!fusion) {
      this.placeWhole(node);
    } else if (fusion.kind === "const") {
      this.#refs.set(output, constantRef(fusion.value(node.attrs), output.shape));
    } else if (fusion.kind === "index") {
      const axis = fusion.axis(node.attrs);
      const strides = output.shape.map((_, i) => i === axis ? 1 : 0);
      this.#refs.set(output, { root: "sequence", layout: { shape: output.shape, strides, offset: 0 } });
    } else if (fusion.kind === "view") {
      this.placeView(node, (ref) => {
        const map = fusion.view(node.inputs[0], ref.layout, node.attrs, output);
        return map && { shape: output.shape, strides: map.strides, offset: map.offset };
      });
    } else if (fusion.kind === "assemble") {
      this.placeAssembly(node);
    } else {
      this.placeScalar(node);
    }
  }

  private placeView(node: Node, view: (ref: Ref) => Layout | null): void {
    const [input] = node.inputs, [output] = node.outputs;
    const ref = this.refOf(input);
    const layout = view(ref);
    if (layout) {
      this.#refs.set(output, { root: ref.root, layout });
    } else if (node.op.alias) {
      this.#loose.set(output, ref);
    } else {
      const copy = this.materialize(input);
      this.#refs.set(output, { root: copy, layout: view({ root: copy, layout: contiguous(copy.shape) })! });
    }
  }

  /** A value whose memory holds what `value` reads, contiguous: itself, or a copy. */
  materialize(value: Value): Value {
    const ref = this.refOf(value);
    if (isValue(ref.root) && isContiguous(ref.layout) && size(ref.root.shape) === size(value.shape)) return ref.root;
    this.copy(value, ref);
    return value;
  }

  /** Gives a view memory of its own. */
  private copy(value: Value, ref: Ref): void {
    const node: Node = { op: copyOp, attrs: null, inputs: [value], outputs: [value] };
    const group = this.newGroup(ref.layout.shape);
    this.join(group, { node, operands: [ref] });
    this.#refs.delete(value);
    this.#loose.delete(value);
    this.#home.set(value, group);
  }

  private newGroup(shape: Shape, axes: readonly number[] = []): Group {
    const group = new Group();
    group.shape = shape;
    group.axes = axes;
    this.groups.push(group);
    return group;
  }

  private placeWhole(node: Node): void {
    const operands = node.inputs.map((value): Ref => {
      const ref = this.refOf(value);
      if (this.strided.has(node.op.name) && isValue(ref.root)) return ref;
      const root = this.materialize(value);
      return { root, layout: contiguous(value.shape) };
    });
    const group = this.newGroup(node.outputs[0].shape);
    group.whole = { node, operands };
    for (const { root } of operands) this.dependOn(group, root);
    for (const output of node.outputs) this.#home.set(output, group);
  }

  private placeAssembly(node: Node): void {
    const group = this.newGroup(node.outputs[0].shape);
    group.assembles = true;
    const operands = node.inputs.map((value) => this.#loose.get(value) ?? this.refOf(value));
    group.whole = { node, operands };
    for (const { root } of operands) this.dependOn(group, root);
    this.#home.set(node.outputs[0], group);
  }

  private placeScalar(node: Node): void {
    const { fusion } = node.op;
    const reduce = fusion?.kind === "reduce";
    const shape = reduce ? node.inputs[0].shape : node.outputs[0].shape;
    const axes = reduce ? fusion.axes(node.attrs) : [];
    const member: Member = {
      node,
      operands: node.inputs.map((value) => {
        const { root, layout } = this.refOf(value);
        return { root, layout: broadcastLayout(layout, shape) };
      }),
    };
    const makers = [...new Set(member.operands.flatMap(({ root }) => isValue(root) ? this.makersOf(root) : []))];
    makers.sort((a, b) => b.id - a.id);
    let home = makers.find((group) => this.fits(group, member, shape, axes));
    if (home) {
      if (reduce && home.axes.length === 0) {
        home.shape = shape;
        home.axes = axes;
      }
    } else {
      home = this.newGroup(shape, axes);
    }
    this.join(home, member);
    this.#home.set(node.outputs[0], home);
    for (const other of makers) if (other !== home) this.mergeInto(home, other);
  }

  private makersOf(root: Value): Group[] {
    const group = this.#home.get(root);
    return group && !group.whole ? [group] : [];
  }

  /** Whether a member with this shape (reducing `axes`) may become part of `group`. */
  private fits(group: Group, member: Member, shape: Shape, axes: readonly number[]): boolean {
    if (group.members.length >= MOST_MEMBERS || this.loadsOf([group], [member]) > MOST_LOADS) return false;
    if (axes.length > 0) {
      const grows = group.axes.length === 0 && size(group.shape) === size(shape) &&
        group.members.every((inside) => this.readable(inside, shape));
      const same = sameShape(group.shape, shape) && sameShape(group.axes, axes);
      if (!grows && !same) return false;
    }
    const reduced = axes.length > 0 ? { shape, axes } : group;
    const level = levelOf(reduced, shape);
    if (level === null) return false;
    for (const { root, layout } of member.operands) {
      if (!isValue(root)) continue;
      const home = this.#home.get(root);
      if (home === group) {
        if (!readInPlace(reduced, root, layout)) return false;
      } else if (home && this.reaches(group, home)) {
        return false;
      }
    }
    return this.belongs(group, member, level) &&
      member.operands.every(({ layout }) => overDomain(reduced, layout) !== null);
  }

  /**
   * Whether joining saves memory traffic: a full-level member that takes only row-level values from the group must
   * read something else that the group reads too. (A softmax does; a parameter scaled by a norm of others does not.)
   */
  private belongs(group: Group, { operands }: Member, level: "full" | "row"): boolean {
    if (level === "row" || group.axes.length === 0) return true;
    const roots = operands.map(({ root }) => root).filter(isValue);
    const inside = roots.filter((root) => this.#home.get(root) === group);
    if (inside.some((root) => levelOf(group, root.shape) === "full")) return true;
    const outside = roots.filter((root) => this.#home.get(root) !== group);
    return outside.length === 0 ||
      group.members.some((other) => other.operands.some(({ root }) => isValue(root) && outside.includes(root)));
  }

  /** Distinct values that these groups and members would read from memory as one group. */
  private loadsOf(groups: readonly Group[], members: readonly Member[]): number {
    const loads = new Set<Value>();
    for (const { operands } of [...groups.flatMap((group) => group.members), ...members]) {
      for (const { root } of operands) {
        if (isValue(root) && !groups.includes(this.#home.get(root)!)) loads.add(root);
      }
    }
    return loads.size;
  }

  /** Whether the member's operands can be read over another shape of the same size. */
  private readable(member: Member, shape: Shape): boolean {
    return member.operands.every(({ layout }) => reshapeLayout(layout, shape) !== null);
  }

  /** Whether `to` must run after `from`. */
  private reaches(from: Group, to: Group): boolean {
    return to.before.has(from);
  }

  private join(group: Group, member: Member): void {
    group.members.push(member);
    for (const { root } of member.operands) this.dependOn(group, root);
  }

  private dependOn(group: Group, root: Root): void {
    if (!isValue(root)) return;
    const home = this.#home.get(root);
    if (!home || home === group) return;
    group.reads.add(home);
    this.order(home, group);
  }

  /** Makes `first` and all before it run before `then` and all after it. */
  private order(first: Group, then: Group): void {
    if (then.before.has(first)) return;
    const added = [first, ...first.before];
    for (const group of this.groups) {
      if (group === then || group.before.has(then)) { for (const earlier of added) group.before.add(earlier); }
    }
  }

  /** Makes `other` part of `group` if both iterate alike and nothing must run between them. */
  private mergeInto(group: Group, other: Group): void {
    const alike = sameShape(group.shape, other.shape) &&
      (sameShape(group.axes, other.axes) || other.axes.length === 0 || group.axes.length === 0);
    if (!alike || group.members.length + other.members.length > MOST_MEMBERS) return;
    if (this.loadsOf([group, other], []) > MOST_LOADS || !this.share(group, other)) return;
    if (group.reads.has(other) && !this.readsInPlace(group, other)) return;
    if (other.reads.has(group) && !this.readsInPlace(other, group)) return;
    for (const between of this.groups) {
      if (between === group || between === other) continue;
      if (between.before.has(other) && group.before.has(between)) return;
      if (between.before.has(group) && other.before.has(between)) return;
    }
    this.absorb(group, other);
  }

  /** Whether two groups read something in common, or one reads full-level values of the other. */
  private share(group: Group, other: Group): boolean {
    const reads = (reader: Group) =>
      reader.members.flatMap(({ operands }) => operands.map(({ root }) => root)).filter(isValue);
    const mine = reads(group), theirs = reads(other);
    const full = (roots: readonly Value[], maker: Group) =>
      roots.some((root) => this.#home.get(root) === maker && levelOf(maker, root.shape) === "full");
    return full(mine, other) || full(theirs, group) ||
      mine.some((root) => ![group, other].includes(this.#home.get(root)!) && theirs.includes(root));
  }

  /** Whether everything that `reader` takes from `maker` is read place by place. */
  private readsInPlace(reader: Group, maker: Group): boolean {
    const axes = reader.axes.length > 0 ? reader.axes : maker.axes;
    return reader.members.every(({ operands }) =>
      operands.every(({ root, layout }) =>
        !isValue(root) || this.#home.get(root) !== maker || readInPlace({ shape: reader.shape, axes }, root, layout)
      )
    );
  }

  private absorb(group: Group, other: Group): void {
    const axes = group.axes.length > 0 ? group.axes : other.axes;
    const members = [...other.members, ...group.members];
    if (axes.length > 0) {
      // a reduction in either must leave every member readable at full or row level
      const domain = { shape: group.shape, axes };
      if (!members.every(({ operands }) => operands.every(({ layout }) => overDomain(domain, layout) !== null))) return;
    }
    group.axes = axes;
    group.members.splice(0, group.members.length, ...inOrder(members));
    for (const { node } of other.members) for (const value of node.outputs) this.#home.set(value, group);
    for (const earlier of other.before) if (earlier !== group) this.order(earlier, group);
    const after = this.groups.filter((later) => later.before.delete(other)); // from all, before any passes it on
    for (const later of after) if (later !== group) this.order(group, later);
    for (const later of this.groups) if (later.reads.delete(other) && later !== group) later.reads.add(group);
    for (const read of other.reads) if (read !== group) group.reads.add(read);
    group.before.delete(group);
    group.reads.delete(group);
    this.groups.splice(this.groups.indexOf(other), 1);
  }

  /** The groups in an order in which they can run. */
  ordered(): Group[] {
    return [...this.groups].sort((a, b) => a.before.size - b.before.size || a.id - b.id);
  }
}

function constantRef(value: number, shape: Shape): Ref {
  return { root: { constant: value }, layout: { shape, strides: shape.map(() => 0), offset: 0 } };
}

/** Members with every maker before its readers. */
function inOrder(members: readonly Member[]): Member[] {
  const maker = new Map(members.map((member) => [member.node.outputs[0], member]));
  const done = new Set<Member>();
  const visit = (member: Member) => {
    if (done.has(member)) return;
    done.add(member);
    for (const { root } of member.operands) if (isValue(root) && maker.has(root)) visit(maker.get(root)!);
    result.push(member);
  };
  const result: Member[] = [];
  members.forEach(visit);
  return result;
}
