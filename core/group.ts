/**
 * Groups of fused ops, and the domains they iterate over.
 *
 * A *domain* is a shape, and the axes that are reduced. A value is *full-level* if it has one element per place of the
 * domain, *row-level* if it has one per place of the axes that are not reduced.
 *
 * @module
 */
import type { Node, Value } from "./graph.ts";
import { broadcastLayout, contiguous, type Layout, reshapeLayout } from "./layout.ts";
import type { AnyOp } from "./op.ts";
import { type Shape, size } from "./shape.ts";

/** What an operand reads: a value that some group stores, a number, or the sequence 0, 1, 2, ... */
export type Root = Value | { readonly constant: number } | "sequence";

/** A root seen through a layout. */
export interface Ref {
  readonly root: Root;
  readonly layout: Layout;
}

/** A member of a group: a scalar op or reduction with resolved operands. */
export interface Member {
  readonly node: Node;
  /** Broadcast to the node's shape (for a reduction: the shape of its input). */
  readonly operands: readonly Ref[];
}

let groupCount = 0;

/** Members that run as one kernel, or one whole op. */
export class Group {
  readonly id: number = groupCount++;
  readonly members: Member[] = [];
  /** The whole op, if this is one. */
  whole: Member | null = null;
  /** Pieces that lie side by side in the output (concat, pad). */
  assembles = false;
  /** Shape that the group iterates over. */
  shape: Shape = [];
  /** Axes of `shape` that its reductions combine; none yet for a map. */
  axes: readonly number[] = [];
  /** Groups that must run before. */
  readonly before = new Set<Group>();
  /** Groups whose stored values members read. */
  readonly reads = new Set<Group>();
}

/** Whether a root is a value in memory. */
export function isValue(root: Root): root is Value {
  return root !== "sequence" && !("constant" in root);
}

/** Reads its operand as it is: how a view becomes memory. */
export const copyOp: AnyOp = {
  name: "copy",
  infer: ([x]: readonly Value[]) => x,
  fusion: { kind: "scalar", op: "cast" },
};

/** What a group iterates over. */
export interface Domain {
  readonly shape: Shape;
  readonly axes: readonly number[];
}

/** Whether a shape has one value per place ("full"), one per row ("row"), or neither (null). */
export function levelOf({ shape, axes }: Domain, of: Shape): "full" | "row" | null {
  if (size(of) === size(shape)) return "full";
  if (axes.length === 0) return null;
  const rows = shape.reduce((product, n, axis) => axes.includes(axis) ? product : product * n, 1);
  return size(of) === rows ? "row" : null;
}

/** Strides over the domain's axes that read what `layout` reads, or null. */
export function overDomain(domain: Domain, layout: Layout): Layout | null {
  const level = levelOf(domain, layout.shape);
  if (level === "full") return reshapeLayout(layout, domain.shape);
  if (level === null) return null;
  const kept = domain.shape.map((n, axis) => domain.axes.includes(axis) ? 1 : n);
  const row = reshapeLayout(layout, kept);
  return row && broadcastLayout(row, domain.shape);
}

/** Whether `layout` reads `root`, made inside the domain, at the very place where it is made. */
export function readInPlace(domain: Domain, root: Value, layout: Layout): boolean {
  const made = overDomain(domain, contiguous(root.shape));
  const read = overDomain(domain, layout);
  return made !== null && read !== null && made.offset === read.offset &&
    levelOf(domain, root.shape) !== null &&
    domain.shape.every((n, axis) => n === 1 || made.strides[axis] === read.strides[axis]);
}
