/**
 * Rewriting nodes one by one, in order: constants fold, neutral nodes vanish, equal nodes merge, sums of pads become one
 * assembly.
 *
 * @module
 */
import { identityOf, keyOf } from "./cache_key.ts";
import type { Node, Value } from "./graph.ts";
import type { Op } from "./op.ts";
import type { ScalarOp } from "./scalar.ts";
import { sameShape, size } from "./shape.ts";

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
  assemble(node: Node): Node {
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

/** Folds constants, drops neutral nodes, makes assemblies of sums of pads, and merges equal nodes. */
export function rewrite(nodes: readonly Node[], outputs: readonly Value[]): { nodes: Node[]; outputs: Value[] } {
  const instead = new Map<Value, Value>();
  const seen = new Map<string, Node>();
  const constants = new Map<Value, number>();
  const pads = new PadSums();
  const resolve = (value: Value) => instead.get(value) ?? value;
  const kept: Node[] = [];
  for (const original of nodes) {
    const node = pads.assemble(fold({ ...original, inputs: original.inputs.map(resolve) }, constants));
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
    case "stopGradient":
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
