/**
 * First passes of lowering: composites a backend does not claim become their bodies, f16 ops get casts around them,
 * nodes are rewritten (`rewrite.ts`), and what nothing needs is removed.
 *
 * ```text
 *  softmax(x)              ──>       reduceMax sub exp sum div mul
 *  softmaxVjp(x, y, dy)    ──>       mul sum sub mul
 * ```
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { copyGraph, type Graph, type Node, prune, Trace, Value, withTrace } from "./graph.ts";
import { MissingKernelError } from "./errors.ts";
import { hoistSums } from "./hoist.ts";
import type { DType } from "./dtype.ts";
import { type AnyOp, asArray, type Op } from "./op.ts";
import { rewrite } from "./rewrite.ts";
import { Body, type ScanAttrs } from "./body.ts";
import type { Spec } from "./shape.ts";
import { withoutTapes } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** A graph of primitives that the backend can lower, and the tensors that bodies closed over. */
export interface Simplified {
  readonly graph: Graph;
  readonly captured: readonly Tensor[];
}

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
    if (node.op.name === "scan" && lowers(this.backend, node.op)) {
      this.loop({ ...node, inputs });
    } else if (lowers(this.backend, node.op)) {
      this.nodes.push({ ...node, inputs });
    } else if (node.op.body) {
      this.inline(node, inputs);
    } else {
      throw new MissingKernelError(
        `Cannot run "${node.op.name}" on backend "${this.backend.name}": it has no such kernel`,
      );
    }
  }

  /** A loop, its body simplified; what the body closed over joins its constants. */
  private loop(node: Node): void {
    const { constants, ...attrs } = node.attrs as ScanAttrs;
    const { graph, captured } = simplify(copyGraph(attrs.body.graph), this.backend);
    const inputs = node.inputs.toSpliced(constants, 0, ...captured.map((tensor) => this.capture(tensor)));
    const scan: ScanAttrs = { ...attrs, body: new Body(graph), constants: constants + captured.length };
    this.nodes.push(...hoistSums({ ...node, inputs, attrs: scan }));
  }

  /** The value of a tensor that a body closed over. */
  private capture(tensor: Tensor, value: Value = new Value(tensor, "captured tensor")): Value {
    const known = this.captured.get(tensor);
    if (!known) this.captured.set(tensor, value);
    return known ?? value;
  }

  private inline(node: Node, inputs: readonly Value[]): void {
    const trace = new Trace(this.backend);
    const tensors = inputs.map((value) => trace.own(value));
    const outputs = withTrace(
      trace,
      () => withoutTapes(() => asArray<Tensor>(node.op.body!(tensors, node.attrs)).map((y) => trace.valueOf(y))),
    );
    for (const [tensor, value] of trace.captured) {
      const known = this.capture(tensor, value);
      if (known !== value) this.#instead.set(value, known);
    }
    for (const inner of trace.nodes) this.visit(inner);
    node.outputs.forEach((output, i) => this.#instead.set(output, this.resolve(outputs[i])));
  }
}

/** Ops that compute f16 in f32 by themselves: everything that becomes part of a region, and what is made of such ops. */
function takesF16(op: AnyOp): boolean {
  return op.fusion !== undefined || op.alias === true || op.name === "scan";
}

/** The cast that lowering inserts; the public one is in `ops/elementwise.ts`. */
const castOp: Op<1, { readonly dtype: DType }> = {
  name: "cast",
  infer: ([x], { dtype }) => ({ shape: x.shape, dtype }),
  fusion: { kind: "scalar", op: "cast" },
};

/** Casts f16 operands of whole ops to f32, but for those that take them as they are, and their outputs back. */
function widenF16(nodes: readonly Node[], backend: Backend): Node[] {
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
      if (value.dtype !== "f16" || backend.takesF16?.has(node.op.name)) return value;
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

/** Runs the passes of this file. */
export function simplify(graph: Graph, backend: Backend): Simplified {
  const expansion = new Expansion(backend);
  for (const node of graph.nodes) expansion.visit(node);
  const outputs = graph.outputs.map((value) => expansion.resolve(value));
  const widened = widenF16(prune(expansion.nodes, outputs), backend);
  const rewritten = rewrite(widened, outputs);
  const captured = [...expansion.captured];
  return {
    graph: {
      inputs: [...graph.inputs, ...captured.map(([, value]) => value)],
      outputs: rewritten.outputs,
      nodes: prune(rewritten.nodes, rewritten.outputs),
    },
    captured: captured.map(([tensor]) => tensor),
  };
}
