/**
 * First passes of lowering: composites a backend does not claim become their bodies, f16 ops get casts around them,
 * equal nodes are merged, neutral ones dropped, constants folded, and what nothing needs is removed.
 *
 * ```text
 *  softmax(x)                        reduceMax(x) sub exp sum div
 *  softmaxGrad(x, dy)      ──>       (the same forward nodes once) mul sum sub mul
 * ```
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { type Graph, type Node, Trace, Value, withTrace } from "./graph.ts";
import { MissingKernelError } from "./errors.ts";
import { identityOf, keyOf } from "./cache_key.ts";
import type { DType } from "./dtype.ts";
import type { AnyOp, Op } from "./op.ts";
import type { ScalarOp } from "./scalar.ts";
import { sameShape, size, type Spec } from "./shape.ts";
import { withoutTapes } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** A graph of primitives that the backend can lower, and the tensors that bodies closed over. */
export interface Simplified {
  readonly graph: Graph;
  readonly captured: readonly Tensor[];
}

const asArray = <T>(value: T | readonly T[]): readonly T[] => Array.isArray(value) ? value : [value as T];

function lowers(backend: Backend, op: AnyOp): boolean {
  return op.fusion !== undefined || op.alias === true || backend.lowers?.has(op.name) === true;
}

/** Replaces composites by their bodies until only what the backend lowers is left. */
class Expansion {
  readonly nodes: Node[] = [];
  readonly captured = new Map<Tensor, Value>();
  readonly #instead = new Map<Value, Value>();

  constructor(readonly backend: Backend) {}

  resolve(value: Value): Value {
    return this.#instead.get(value) ?? value;
  }

  visit(node: Node): void {
    const inputs = node.inputs.map((value) => this.resolve(value));
    if (lowers(this.backend, node.op)) {
      this.nodes.push({ ...node, inputs });
    } else if (node.op.body) {
      this.inline(node, inputs);
    } else {
      throw new MissingKernelError(
        `Cannot run "${node.op.name}" on backend "${this.backend.name}": it has no such kernel`,
      );
    }
  }

  private inline(node: Node, inputs: readonly Value[]): void {
    const trace = new Trace(this.backend);
    const tensors = inputs.map((value) => trace.own(value));
    const outputs = withTrace(
      trace,
      () => withoutTapes(() => asArray<Tensor>(node.op.body!(tensors, node.attrs)).map((y) => trace.valueOf(y))),
    );
    for (const [tensor, value] of trace.captured) {
      const known = this.captured.get(tensor);
      if (known) this.#instead.set(value, known);
      else this.captured.set(tensor, value);
    }
    for (const inner of trace.nodes) this.visit(inner);
    node.outputs.forEach((output, i) => this.#instead.set(output, this.resolve(outputs[i])));
  }
}

/** Ops that compute f16 in f32 by themselves: everything that becomes part of a region. */
function takesF16(op: AnyOp): boolean {
  return op.fusion !== undefined || op.alias === true;
}

/** The cast that lowering inserts; the public one is in `ops/elementwise.ts`. */
const castOp: Op<1, { readonly dtype: DType }> = {
  name: "cast",
  infer: ([x], { dtype }) => ({ shape: x.shape, dtype }),
  fusion: { kind: "scalar", op: "cast" },
};

/** Casts f16 operands of whole ops to f32, and their outputs back. */
function widenF16(nodes: readonly Node[]): Node[] {
  const wide = (spec: Spec) => ({ shape: spec.shape, dtype: spec.dtype === "f16" ? "f32" as const : spec.dtype });
  const cast = (input: Value, output: Value): Node => ({
    op: castOp,
    attrs: { dtype: output.dtype },
    inputs: [input],
    outputs: [output],
  });
  return nodes.flatMap((node) => {
    const narrow = [...node.inputs, ...node.outputs].some((value) => value.dtype === "f16");
    if (!narrow || takesF16(node.op)) return [node];
    const before: Node[] = [], after: Node[] = [];
    const inputs = node.inputs.map((value) => {
      if (value.dtype !== "f16") return value;
      const widened = new Value(wide(value), value.origin);
      before.push(cast(value, widened));
      return widened;
    });
    const outputs = node.outputs.map((value) => {
      if (value.dtype !== "f16") return value;
      const widened = new Value(wide(value), value.origin);
      after.push(cast(widened, value));
      return widened;
    });
    return [...before, { ...node, inputs, outputs }, ...after];
  });
}

/** One number everywhere: what arithmetic on constants becomes. */
const constantOp: Op<0, { readonly value: number }> = {
  name: "constant",
  infer: () => ({ shape: [], dtype: "f32" }),
  fusion: { kind: "const", value: ({ value }) => value },
};

/** Arithmetic that lowering does itself; exact in f32 when rounded once. */
const FOLDS: Readonly<Partial<Record<ScalarOp, (a: number, b: number) => number>>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  square: (a) => a * a,
  sqrt: Math.sqrt,
  reciprocal: (a) => 1 / a,
};

/** A node whose operands are all known f32 numbers, as a constant. */
function fold(node: Node, constants: ReadonlyMap<Value, number>): Node {
  const { op: { fusion }, inputs, outputs: [output] } = node;
  if (fusion?.kind !== "scalar" || output.dtype !== "f32") return node;
  const f = FOLDS[fusion.op];
  const values = inputs.map((input) => input.dtype === "f32" ? constants.get(input) : undefined);
  if (!f || values.some((value) => value === undefined)) return node;
  const [a, b] = values as number[];
  return { op: constantOp, attrs: { value: Math.fround(f(a, b)), shape: output.shape }, inputs: [], outputs: [output] };
}

/** Pieces that lie side by side in zeros: what a sum of such pads becomes. */
interface Pieces {
  readonly values: readonly Value[];
  readonly starts: readonly (readonly number[])[];
}

interface PlaceAttrs {
  readonly shape: readonly number[];
  readonly starts: Pieces["starts"];
  /** Between the pieces; null where they leave nothing. */
  readonly fill: number | null;
}

const placeOp: Op<number, PlaceAttrs> = {
  name: "place",
  infer: ([piece], { shape }) => ({ shape, dtype: piece.dtype }),
  fusion: {
    kind: "assemble",
    fill: ({ fill }) => fill,
    starts: (_, { starts }) => starts,
  },
};

/** Whether two boxes share no place. */
function apart(a: Value, aStart: readonly number[], b: Value, bStart: readonly number[]): boolean {
  return aStart.some((start, axis) => start + a.shape[axis] <= bStart[axis] || bStart[axis] + b.shape[axis] <= start);
}

/** Adds up pads of zeros that do not overlap: the gradient of several slices of one tensor. */
class PadSums {
  readonly #pieces = new Map<Value, Pieces>();

  note({ op, attrs, inputs, outputs }: Node): void {
    if (op.name !== "pad" || op.fusion?.kind !== "assemble" || op.fusion.fill(attrs) !== 0) return;
    this.#pieces.set(outputs[0], { values: inputs, starts: op.fusion.starts(inputs, attrs) });
  }

  /** The node as one assembly, if it adds pieces that are apart. */
  rewrite(node: Node): Node {
    const [a, b] = node.inputs.map((value) => this.#pieces.get(value));
    const [output] = node.outputs;
    if (node.op.name !== "add" || !a || !b || !sameShape(node.inputs[0].shape, node.inputs[1].shape)) return node;
    const free = a.values.every((value, i) =>
      b.values.every((other, k) => apart(value, a.starts[i], other, b.starts[k]))
    );
    if (!free) return node;
    const pieces = { values: [...a.values, ...b.values], starts: [...a.starts, ...b.starts] };
    this.#pieces.set(output, pieces);
    const covered = pieces.values.reduce((sum, value) => sum + size(value.shape), 0) === size(output.shape);
    const attrs = { shape: output.shape, starts: pieces.starts, fill: covered ? null : 0 };
    return { op: placeOp, attrs, inputs: pieces.values, outputs: [output] };
  }
}

/** Merges nodes with equal op, attributes and inputs, and drops neutral ones. */
function merge(nodes: readonly Node[], outputs: readonly Value[]): { nodes: Node[]; outputs: Value[] } {
  const instead = new Map<Value, Value>();
  const seen = new Map<string, Node>();
  const constants = new Map<Value, number>();
  const pads = new PadSums();
  const resolve = (value: Value) => instead.get(value) ?? value;
  const kept: Node[] = [];
  for (const original of nodes) {
    const node = pads.rewrite(fold({ ...original, inputs: original.inputs.map(resolve) }, constants));
    const same = neutral(node, constants);
    if (same) {
      instead.set(node.outputs[0], same);
      continue;
    }
    const key = node.op.name === "barrier"
      ? `barrier ${node.outputs[0].id}`
      : `${identityOf(node.op)} ${keyOf(node.attrs)} ${node.inputs.map((value) => value.id)}`;
    const earlier = seen.get(key);
    if (earlier) {
      node.outputs.forEach((value, i) => instead.set(value, earlier.outputs[i]));
      continue;
    }
    seen.set(key, node);
    kept.push(node);
    noteConstant(node, constants);
    pads.note(node);
  }
  return { nodes: kept, outputs: outputs.map(resolve) };
}

/** Remembers values that hold one known number everywhere. */
function noteConstant({ op, attrs, inputs, outputs }: Node, constants: Map<Value, number>): void {
  if (op.fusion?.kind === "const") {
    const value = op.fusion.value(attrs);
    constants.set(outputs[0], outputs[0].dtype === "f32" ? Math.fround(value) : value);
  }
  if (op.fusion?.kind === "view" && constants.has(inputs[0])) constants.set(outputs[0], constants.get(inputs[0])!);
}

/** The input that a node returns unchanged, if it does. */
function neutral({ op, inputs, outputs }: Node, constants: ReadonlyMap<Value, number>): Value | null {
  const [a, b] = inputs, [y] = outputs;
  const same = (value: Value) => sameShape(value.shape, y.shape) && value.dtype === y.dtype ? value : null;
  switch (op.name) {
    case "identity":
    case "reshape":
    case "broadcastTo":
    case "cast":
      return same(a);
    case "add":
      return constants.get(b) === 0 ? same(a) : constants.get(a) === 0 ? same(b) : null;
    case "sub":
      return constants.get(b) === 0 ? same(a) : null;
    case "mul":
      return constants.get(b) === 1 ? same(a) : constants.get(a) === 1 ? same(b) : null;
    case "div":
      return constants.get(b) === 1 ? same(a) : null;
    default:
      return null;
  }
}

/** Keeps the nodes that some output needs. */
function prune(nodes: readonly Node[], outputs: readonly Value[]): Node[] {
  const needed = new Set(outputs);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    for (const input of node.inputs) needed.add(input);
    kept.push(node);
  }
  return kept.reverse();
}

/** Runs the passes of this file. */
export function simplify(graph: Graph, backend: Backend): Simplified {
  const expansion = new Expansion(backend);
  for (const node of graph.nodes) expansion.visit(node);
  const outputs = graph.outputs.map((value) => expansion.resolve(value));
  const widened = widenF16(prune(expansion.nodes, outputs));
  const merged = merge(widened, outputs);
  const captured = [...expansion.captured];
  return {
    graph: {
      inputs: [...graph.inputs, ...captured.map(([, value]) => value)],
      outputs: merged.outputs,
      nodes: prune(merged.nodes, merged.outputs),
    },
    captured: captured.map(([tensor]) => tensor),
  };
}
