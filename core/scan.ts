/**
 * `scan`: a loop as one op, so that a net of 1,000 steps is traced, compiled and differentiated as one of 10.
 *
 * The gradient is a scan backwards. It keeps the carry of every step and computes the rest of a step again.
 *
 * @module
 */
import { add } from "../ops/elementwise.ts";
import { zeros } from "../ops/create.ts";
import { concat, expandDims, reshape, slice } from "../ops/shape.ts";
import { currentBackend } from "./backend.ts";
import { identityOf, keyOf } from "./cache_key.ts";
import { isFloat } from "./dtype.ts";
import { ArgumentError, ShapeError } from "./errors.ts";
import { activeTrace, type Graph, traceGraph, type Value } from "./graph.ts";
import { tensorsOf, vjpFlat } from "./pullback.ts";
import { bindAll, type Op, type VjpCall } from "./op.ts";
import { sameShape, show, type Spec } from "./shape.ts";
import { isTracked, withoutTapes } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** The traced body; as part of a cache key it is its structure, so that the same loop traced again is known. */
export class ScanBody {
  readonly #key: string;
  /** Inputs: carry, slices of xs, constants. Outputs: carry, slices of ys. */
  constructor(readonly graph: Graph) {
    const numbers = new Map<Value, number>();
    const number = (value: Value) => numbers.get(value) ?? (numbers.set(value, numbers.size), numbers.size - 1);
    const made = (value: Value) => [number(value), value.dtype, value.shape];
    this.#key = keyOf([
      graph.inputs.map(made),
      graph.nodes.map(({ op, attrs, inputs, outputs }) => [
        identityOf(op),
        attrs,
        inputs.map(number),
        outputs.map(made),
      ]),
      graph.outputs.map(number),
    ]);
  }
  toJSON(): string {
    return this.#key;
  }
}

/** Attributes of the op: its inputs are constants, carry, xs; its outputs carry, ys. */
export interface ScanAttrs {
  readonly body: ScanBody;
  readonly constants: number;
  readonly carries: number;
  readonly length: number;
  readonly reverse: boolean;
}

/** How many steps, and from which end. */
export interface ScanOptions {
  /** Steps; needed only when `xs` holds no tensors. */
  readonly length?: number;
  /** Walk from the last slice to the first; results keep their places. */
  readonly reverse?: boolean;
}

/** Applies a traced body to tensors. */
function applyBody({ graph }: ScanBody, inputs: readonly Tensor[]): Tensor[] {
  const values = new Map<Value, Tensor>(graph.inputs.map((value, i) => [value, inputs[i]]));
  for (const { op, attrs, inputs, outputs } of graph.nodes) {
    const results = bindAll(op, inputs.map((value) => values.get(value)!), attrs);
    outputs.forEach((value, i) => values.set(value, results[i]));
  }
  return graph.outputs.map((value) => values.get(value)!);
}

/** A loop as data. */
export const scanOp: Op<number, ScanAttrs, number> = {
  name: "scan",

  infer(_inputs, { body: { graph }, carries, length }): readonly Spec[] {
    return graph.outputs.map(({ shape, dtype }, i) => ({ shape: i < carries ? shape : [length, ...shape], dtype }));
  },

  body(inputs, { body, constants, carries, length, reverse }): readonly Tensor[] {
    const fixed = inputs.slice(0, constants), xs = inputs.slice(constants + carries);
    let carry = inputs.slice(constants, constants + carries);
    const rows: Tensor[][] = [], backend = inputs[0].backend.name;
    for (let turn = 0; turn < length; turn++) {
      const t = reverse ? length - 1 - turn : turn;
      const step = xs.map((x) => reshape(slice(x, t, t + 1), x.shape.slice(1)));
      const outputs = applyBody(body, [...carry, ...step, ...fixed]);
      carry = outputs.slice(0, carries);
      rows[t] = outputs.slice(carries).map((y) => expandDims(y, 0));
    }
    const ys = body.graph.outputs.slice(carries).map(({ shape, dtype }, i) =>
      length === 0 ? zeros([0, ...shape], { dtype, backend }) : concat(rows.map((row) => row[i]))
    );
    return [...carry, ...ys];
  },

  // A step is (c', y) = f(k, c, x). Backwards: (dk, dc, dx) = dc'·∂c' + dy·∂y, with c taken from the saved carries.
  vjp(call) {
    return scanGradient(call);
  },
};

function scanGradient({ inputs, output, grad, attrs }: VjpCall<number, ScanAttrs, number>): readonly (Tensor | null)[] {
  const { body, constants, carries, length, reverse } = attrs;
  const outputs = output as readonly Tensor[], grads = grad as readonly Tensor[];
  const fixed = inputs.slice(0, constants), xs = inputs.slice(constants + carries);
  // the saved carries are the last outputs of a scan that is differentiated
  const saved = outputs.slice(outputs.length - carries);
  const float = (tensor: Spec) => isFloat(tensor.dtype);
  const start = {
    carry: grads.slice(0, carries),
    fixed: fixed.map((k) => zeros(k.shape, { dtype: float(k) ? k.dtype : "f32", backend: k.backend.name })),
  };
  type Step = { saved: readonly Tensor[]; xs: readonly Tensor[]; grads: readonly Tensor[] };
  const step = (sum: typeof start, { saved, xs, grads }: Step): readonly [typeof start, readonly Tensor[]] => {
    const own = [...saved, ...xs, ...fixed];
    const [, back] = vjpFlat((values) => applyBody(body, values), own);
    const parts = back([...sum.carry, ...grads]);
    const dCarry = parts.slice(0, carries).map((part, i) => float(saved[i]) ? part : sum.carry[i]);
    const dFixed = parts.slice(carries + xs.length).map((part, i) => float(fixed[i]) ? part : sum.fixed[i]);
    return [{
      carry: dCarry,
      fixed: dFixed.map((part, i) => float(fixed[i]) ? add(sum.fixed[i], part) : part),
    }, parts.slice(carries, carries + xs.length).filter((_, i) => float(xs[i]))];
  };
  const [end, dxs] = scan(step, start, { saved, xs, grads: grads.slice(carries) }, { length, reverse: !reverse });
  let next = 0;
  return [
    ...end.fixed.map((part, i) => float(fixed[i]) ? part : null),
    ...end.carry.map((part, i) => float(inputs[constants + i]) ? part : null),
    ...xs.map((x) => float(x) ? dxs[next++] : null),
  ];
}

function lengthOf(xs: readonly Tensor[], { length }: ScanOptions): number {
  const sizes = new Set(xs.map(({ shape }) => shape[0]));
  if (length !== undefined) sizes.add(length);
  if (xs.some(({ shape }) => shape.length === 0)) {
    throw new ShapeError("Cannot scan over a scalar: it has no first axis");
  }
  if (sizes.size !== 1) {
    const found = sizes.size === 0 ? "no tensor and no length was given" : `lengths are ${[...sizes].join(" and ")}`;
    throw new ShapeError(`Cannot scan: ${found}`);
  }
  return [...sizes][0];
}

/**
 * Runs `f` over the first axis of `xs`, handing a carry from step to step.
 *
 * @param f `(carry, x) => [carry, y]`; traced once. The carry keeps its shapes and dtypes.
 * @param init The first carry, any tree.
 * @param xs A tree of tensors with equal first axes, or `null` with `length`.
 * @returns The last carry, and the `y` of every step stacked along a new first axis.
 * @throws {ShapeError} If lengths differ, or the carry changes its shape.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const [total, partial] = tn.scan((sum: tn.Tensor, x: tn.Tensor) => {
 *   const next = tn.add(sum, x);
 *   return [next, next] as const;
 * }, tn.tensor(0), tn.tensor([1, 2, 3]));
 * console.log(await total.item(), await partial.array()); // 6 [1, 3, 6]
 * ```
 */
export function scan<C, X, Y>(
  f: (carry: C, x: X) => readonly [carry: C, y: Y],
  init: C,
  xs: X,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  const [first, rebuildCarry] = tensorsOf(init);
  const [items, rebuildItems] = tensorsOf(xs);
  const length = lengthOf(items, options);
  const backend = activeTrace()?.backend ?? [...first, ...items][0]?.backend ?? currentBackend();
  let rebuildYs: (tensors: readonly Tensor[]) => unknown = () => undefined;
  const { graph, captured } = withoutTapes(() =>
    traceGraph(backend, [...first, ...items.map(rowOf)], (inputs) => {
      const [next, y] = f(
        rebuildCarry(inputs.slice(0, first.length)) as C,
        rebuildItems(inputs.slice(first.length)) as X,
      );
      const [ys, rebuild] = tensorsOf(y);
      rebuildYs = rebuild;
      const carried = tensorsOf(next)[0];
      requireSameCarry(first, carried);
      return [...carried, ...ys];
    })
  );
  // a gradient will ask for the carry that every step started from
  const save = isTracked([...first, ...items, ...captured]);
  const saved = save ? graph.inputs.slice(0, first.length) : [];
  const outputs = bindAll(scanOp, [...captured, ...first, ...items], {
    body: new ScanBody({ ...graph, outputs: [...graph.outputs, ...saved] }),
    constants: captured.length,
    carries: first.length,
    length,
    reverse: options.reverse ?? false,
  });
  const ys = outputs.slice(first.length, save ? outputs.length - first.length : undefined);
  return [rebuildCarry(outputs.slice(0, first.length)) as C, rebuildYs(ys) as Y];
}

function rowOf({ shape, dtype }: Spec): Spec {
  return { shape: shape.slice(1), dtype };
}

function requireSameCarry(before: readonly Spec[], after: readonly Spec[]): void {
  if (before.length !== after.length) {
    throw new ArgumentError(`Cannot scan: the carry has ${before.length} tensors, a step returned ${after.length}`);
  }
  before.forEach((spec, i) => {
    if (sameShape(spec.shape, after[i].shape) && spec.dtype === after[i].dtype) return;
    throw new ShapeError(
      `Cannot scan: tensor ${i} of the carry is ${spec.dtype}${show(spec.shape)}, ` +
        `a step made it ${after[i].dtype}${show(after[i].shape)}`,
    );
  });
}
