/**
 * A function as data: the nodes that a trace records, and the recorder itself.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import type { AnyOp } from "./op.ts";
import type { Spec } from "./shape.ts";
import { Tensor } from "./tensor.ts";

let count = 0;

/** A tensor-to-be: one output of one node, or an input of the graph. */
export class Value implements Spec {
  readonly id: number = count++;
  readonly shape: readonly number[];
  readonly dtype: Spec["dtype"];
  constructor(spec: Spec, /** For error messages: what makes it. */ readonly origin: string) {
    this.shape = spec.shape;
    this.dtype = spec.dtype;
  }
}

/** An op applied to values. */
export interface Node {
  readonly op: AnyOp;
  readonly attrs: unknown;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** A traced function. Captured tensors are inputs after the arguments. */
export interface Graph {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly Node[];
}

/** The same graph with values of its own: a function that occurs twice in a program computes two things. */
export function copyGraph({ inputs, outputs, nodes }: Graph): Graph {
  const copies = new Map<Value, Value>();
  const copy = (value: Value): Value => {
    const made = new Value(value, value.origin);
    copies.set(value, made);
    return made;
  };
  const of = (value: Value) => copies.get(value)!;
  return {
    inputs: inputs.map(copy),
    nodes: nodes.map((node) => ({ ...node, inputs: node.inputs.map(of), outputs: node.outputs.map(copy) })),
    outputs: outputs.map(of),
  };
}

/** The nodes that some output needs, in order. */
export function prune(nodes: readonly Node[], outputs: readonly Value[]): Node[] {
  const needed = new Set(outputs);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    for (const input of node.inputs) needed.add(input);
    kept.push(node);
  }
  return kept.reverse();
}

/** Records the ops of one function while it is traced. */
export class Trace {
  readonly nodes: Node[] = [];
  /** Tensors from outside that the function closed over, with the values that stand for them. */
  readonly captured = new Map<Tensor, Value>();
  readonly #own = new Set<Value>();

  constructor(readonly backend: Backend) {}

  /** A tensor that stands for a value of this trace. */
  own(value: Value): Tensor {
    this.#own.add(value);
    return new Tensor(value, this.backend, value);
  }

  /** The value behind a tensor; one from outside is captured. */
  valueOf(tensor: Tensor): Value {
    if (tensor.source instanceof Value && this.#own.has(tensor.source)) return tensor.source;
    let value = this.captured.get(tensor);
    if (!value) {
      value = new Value(tensor, "captured tensor");
      this.captured.set(tensor, value);
    }
    return value;
  }

  /** Appends a node and returns tensors that stand for its outputs. */
  record(op: AnyOp, inputs: readonly Tensor[], attrs: unknown, specs: readonly Spec[]): Tensor[] {
    const outputs = specs.map((spec) => new Value(spec, `made by ${op.name}`));
    this.nodes.push({ op, attrs, inputs: inputs.map((input) => this.valueOf(input)), outputs });
    return outputs.map((value) => this.own(value));
  }
}

let active: Trace | null = null;

/** The trace that ops are recorded on, if any. */
export function activeTrace(): Trace | null {
  return active;
}

/** Runs `f` with its ops recorded on `trace` (or, with `null`, executed). */
export function withTrace<T>(trace: Trace | null, f: () => T): T {
  const outer = active;
  active = trace;
  try {
    return f();
  } finally {
    active = outer;
  }
}

/** Traces `f` on inputs of the given specs; it returns the outputs. */
export function traceGraph(
  backend: Backend,
  specs: readonly Spec[],
  f: (inputs: Tensor[]) => readonly Tensor[],
): { graph: Graph; captured: Tensor[] } {
  const trace = new Trace(backend);
  const inputs = specs.map((spec, i) => trace.own(new Value(spec, `argument ${i}`)));
  const outputs = withTrace(trace, () => f(inputs).map((tensor) => trace.valueOf(tensor)));
  const captured = [...trace.captured];
  return {
    graph: {
      inputs: [...inputs.map((input) => trace.valueOf(input)), ...captured.map(([, value]) => value)],
      outputs,
      nodes: trace.nodes,
    },
    captured: captured.map(([tensor]) => tensor),
  };
}
