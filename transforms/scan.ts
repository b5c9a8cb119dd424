/**
 * `scan`: a loop as one op, so that a net of 1,000 steps is traced, compiled and differentiated as one of 10.
 *
 * The gradient is a scan backwards. It keeps the carry and the matrix products of every step, and computes the rest of a
 * step, which is cheap, again.
 *
 * @module
 */
import { add } from "../ops/elementwise.ts";
import { zeros } from "../ops/create.ts";
import { concat, expandDims, reshape, slice } from "../ops/shape.ts";
import { type Backend, currentBackend } from "../core/backend.ts";
import { isFloat } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { activeTrace, type Graph, traceGraph, type Value } from "../core/graph.ts";
import { tensorsOf, vjpFlat } from "./pullback.ts";
import { type AnyOp, asArray, bind, bindAll, type Op, type VjpCall } from "../core/op.ts";
import { Body, type ScanAttrs } from "../core/body.ts";
import { sameShape, show, size, type Spec } from "../core/shape.ts";
import { isTracked, withoutTapes } from "../core/tape.ts";
import { Tensor } from "../core/tensor.ts";
import { describe, flatten } from "../core/tree.ts";

/** How many steps, and from which end. */
export interface ScanOptions {
  /** Steps; needed only when `xs` holds no tensors. */
  readonly length?: number;
  /** Walk from the last slice to the first; results keep their places. */
  readonly reverse?: boolean;
}

/** `(computed, known) -> known`, two tensors with the same values: gradients go the way it was computed. */
const knownOp: Op<2, null> = {
  name: "known",
  infer: ([, known]) => known,
  body: ([, known]) => known,
  vjp: ({ grad }) => [grad, null],
};

/** Applies a traced function to tensors; what is `known` already is not needed, except to differentiate. */
export function applyBody({ graph, kept }: Body, inputs: readonly Tensor[], known: readonly Tensor[] = []): Tensor[] {
  const values = new Map<Value, Tensor>(graph.inputs.map((value, i) => [value, inputs[i]]));
  const knownAs = new Map<Value, Tensor>(known.map((tensor, i) => [kept[i], tensor]));
  for (const { op, attrs, inputs, outputs } of graph.nodes) {
    const results = bindAgain(op, inputs.map((value) => values.get(value)!), attrs);
    outputs.forEach((value, i) => {
      const same = knownAs.get(value);
      values.set(value, same ? bind(knownOp, [results[i], same], null) : results[i]);
    });
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
    const rows: Tensor[][] = [], backend = inputs[0]?.backend.name;
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

/** The loop with what its gradient will ask for as its last outputs: the carry that every step started from, and more. */
function saving({ body: { graph }, ...attrs }: ScanAttrs): ScanAttrs {
  const kept = worthKeeping(graph, graph.inputs.length - attrs.constants);
  const outputs = [...graph.outputs, ...graph.inputs.slice(0, attrs.carries), ...kept];
  return { ...attrs, body: new Body({ ...graph, outputs }, kept), saves: true };
}

/** Runs a loop. */
function bindScan(inputs: readonly Tensor[], attrs: ScanAttrs): Tensor[] {
  const saves = !attrs.saves && isTracked(inputs);
  return bindAll(scanOp, inputs, saves ? saving(attrs) : attrs).slice(0, attrs.body.graph.outputs.length);
}

/** Applies a node of a traced function: a gradient may now be listening that was not when it was traced. */
export function bindAgain(op: AnyOp, inputs: readonly Tensor[], attrs: unknown, home?: Backend): Tensor[] {
  return op === scanOp ? bindScan(inputs, attrs as ScanAttrs) : bindAll(op, inputs, attrs, home);
}

/**
 * What a gradient of the loop would rather keep than compute again: results of products and other ops that stay whole,
 * together with what is added to them, where they are not much larger than what the loop keeps anyway.
 */
function worthKeeping({ inputs, nodes, outputs }: Graph, own: number): Value[] {
  const limit = 8 * inputs.slice(0, own).reduce((sum, { shape }) => sum + size(shape), 0);
  const followed = (value: Value): Value => {
    const readers = nodes.filter((node) => node.inputs.includes(value));
    if (readers.length !== 1 || outputs.includes(value) || readers[0].op.name !== "add") return value;
    const [next] = readers[0].outputs;
    return sameShape(next.shape, value.shape) && next.dtype === value.dtype ? followed(next) : value;
  };
  const whole = nodes.filter(({ op }) => op.name === "linear" || !(op.fusion || op.alias || op.body));
  const kept = whole.flatMap(({ outputs }) => outputs.map(followed));
  return [...new Set(kept)].filter(({ shape, dtype }) => isFloat(dtype) && size(shape) <= limit);
}

function scanGradient(call: VjpCall<number, ScanAttrs, number>): readonly (Tensor | null)[] {
  const { inputs, wanted } = call, attrs = call.attrs.saves ? call.attrs : saving(call.attrs);
  const { body, constants, carries, length, reverse } = attrs;
  // traced before anyone knew of a gradient, the loop did not save: it runs again
  const outputs = call.attrs.saves ? asArray(call.output) : bindAll(scanOp, inputs, attrs);
  const grads = asArray(call.grad), arrived = outputs.map((_, i) => asArray(call.arrived)[i] ?? false);
  const fixed = inputs.slice(0, constants), xs = inputs.slice(constants + carries);
  // the last outputs of a scan that is differentiated: what it keeps for its gradient
  const known = outputs.slice(outputs.length - body.kept.length);
  const saved = outputs.slice(outputs.length - known.length - carries, outputs.length - known.length);
  // results of the steps that a gradient comes from, and constants that one is asked of
  const heard = arrived.slice(carries);
  const learned = fixed.flatMap((k, i) => wanted[i] && isFloat(k.dtype) ? [i] : []);
  const start = {
    carry: grads.slice(0, carries),
    fixed: learned.map((i) => zeros(fixed[i].shape, { dtype: fixed[i].dtype, backend: fixed[i].backend.name })),
  };
  type Step = { saved: readonly Tensor[]; known: readonly Tensor[]; xs: readonly Tensor[]; grads: readonly Tensor[] };
  const step = (sum: typeof start, { saved, known, xs, grads }: Step): readonly [typeof start, readonly Tensor[]] => {
    const rest = fixed.filter((_, i) => !learned.includes(i));
    const own = [...saved, ...xs, ...learned.map((i) => fixed[i])];
    const [, back] = vjpFlat((values) => {
      const others = [...rest], given = values.slice(carries + xs.length);
      const all = fixed.map((_, i) => learned.includes(i) ? given[learned.indexOf(i)] : others.shift()!);
      return applyBody(body, [...values.slice(0, carries + xs.length), ...all], known);
    }, own);
    const given = [...grads];
    const parts = back([...sum.carry, ...heard.map((is) => is ? given.shift()! : null)]);
    const dFixed = parts.slice(carries + xs.length);
    return [{
      carry: sum.carry.map((before, i) => isFloat(saved[i].dtype) ? parts[i] : before),
      fixed: dFixed.map((part, i) => add(sum.fixed[i], part)),
    }, parts.slice(carries, carries + xs.length).filter((_, i) => isFloat(xs[i].dtype))];
  };
  const items = { saved, known, xs, grads: grads.slice(carries).filter((_, i) => heard[i]) };
  const [end, dxs] = scan(step, start, items, { length, reverse: !reverse });
  let next = 0;
  return [
    ...fixed.map((_, i) => learned.includes(i) ? end.fixed[learned.indexOf(i)] : null),
    ...end.carry.map((part, i) => isFloat(inputs[constants + i].dtype) ? part : null),
    ...xs.map((x) => isFloat(x.dtype) ? dxs[next++] : null),
  ];
}

function lengthOf(xs: readonly Tensor[], { length }: ScanOptions): number {
  if (length !== undefined && !(Number.isInteger(length) && length >= 0)) {
    throw new ArgumentError(`Cannot scan ${length} steps: it must be a whole number of at least 0`);
  }
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
 * @throws {ShapeError} If lengths differ, or the carry changes a shape.
 * @throws {DTypeError} If the carry changes a dtype.
 * @throws {ArgumentError} If a step does not return `[carry, y]`, or the carry changes its nesting.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const [total, partial] = tn.scan((sum: tn.Tensor, x: tn.Tensor) => {
 *   const next = tn.add(sum, x);
 *   return [next, next] as const;
 * }, tn.tensor(0), tn.tensor([1, 2, 3]));
 * assertEquals(await total.item(), 6);
 * assertEquals(await partial.array(), [1, 3, 6]);
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
      const result = f(
        rebuildCarry(inputs.slice(0, first.length)) as C,
        rebuildItems(inputs.slice(first.length)) as X,
      );
      requirePair(result);
      const [next, y] = result;
      const [ys, rebuild] = tensorsOf(y);
      rebuildYs = rebuild;
      requireSameCarry(init, next);
      return [...tensorsOf(next)[0], ...ys];
    })
  );
  const outputs = bindScan([...captured, ...first, ...items], {
    body: new Body(graph),
    constants: captured.length,
    carries: first.length,
    length,
    reverse: options.reverse ?? false,
    saves: false,
  });
  return [rebuildCarry(outputs.slice(0, first.length)) as C, rebuildYs(outputs.slice(first.length)) as Y];
}

function rowOf({ shape, dtype }: Spec): Spec {
  return { shape: shape.slice(1), dtype };
}

function requirePair(result: unknown): void {
  if (Array.isArray(result) && result.length === 2) return;
  const kinds = [[Array, `${(result as unknown[])?.length} values`], [Promise, "a promise"], [
    Tensor,
    "a tensor",
  ]] as const;
  const found = kinds.find(([Kind]) => result instanceof Kind)?.[1] ?? typeof result;
  throw new ArgumentError(`Cannot scan: a step must return [carry, y], it returned ${found}`);
}

/** Throws unless a step returned a carry like the one it was given: the same nesting, shapes, dtypes, and other values. */
function requireSameCarry(init: unknown, next: unknown): void {
  const [before, structure] = flatten(init), [after, nextStructure] = flatten(next);
  const [given, returned] = [structure, nextStructure].map(describe);
  if (given !== returned) throw new ArgumentError(`Cannot scan: the carry is ${given}, a step returned ${returned}`);
  before.forEach((leaf, i) => {
    const made = after[i];
    if (!(leaf instanceof Tensor && made instanceof Tensor)) {
      if (Object.is(leaf, made)) return;
      throw new ArgumentError(
        `Cannot scan: leaf ${i} of the carry is ${leafName(leaf)}, a step returned ${leafName(made)}; ` +
          "what changes must be a tensor",
      );
    }
    if (sameShape(leaf.shape, made.shape) && leaf.dtype === made.dtype) return;
    const Kind = leaf.dtype === made.dtype ? ShapeError : DTypeError;
    throw new Kind(`Cannot scan: leaf ${i} of the carry is ${leafName(leaf)}, a step made it ${leafName(made)}`);
  });
}

function leafName(leaf: unknown): string {
  return leaf instanceof Tensor ? `${leaf.dtype}${show(leaf.shape)}` : String(leaf);
}
