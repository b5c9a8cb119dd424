/**
 * How a traced function is applied to many examples at once: every op's rule for one more axis in front.
 *
 * ```text
 *  values of the graph        tensors
 *  [3, 4]   batched      ──>  [n, 3, 4]
 *  [4]      the same for all  [4]
 *  add: [3, 4]           ──>  add([n, 3, 4], [4]) = [n, 3, 4]
 * ```
 *
 * Most rules count the axes of their attributes one further. A composite without a rule is taken apart into its body; any
 * other op without one is applied to one example after another.
 *
 * @module
 */
import { iota } from "../ops/create.ts";
import { add, and, greaterEqual, less, mul, where } from "../ops/elementwise.ts";
import { concat } from "../ops/join.ts";
import { broadcastTo, expandDims, reshape, slice, transpose } from "../ops/shape.ts";
import type { Backend } from "../core/backend.ts";
import { type Graph, traceGraph, type Value } from "../core/graph.ts";
import { type AnyOp, asArray, bind, bindAll } from "../core/op.ts";
import { type CustomAttrs, customVjp } from "./custom_vjp.ts";
import { bindAgain, scan } from "./scan.ts";
import type { Body, ScanAttrs } from "../core/body.ts";
import { withoutTapes } from "../core/tape.ts";
import type { Tensor } from "../core/tensor.ts";

/** A tensor, and whether its first axis counts examples. */
export interface Batched {
  readonly tensor: Tensor;
  readonly batched: boolean;
}

/** An op to apply to `n` examples; at least one of the inputs is batched. */
interface Call {
  readonly op: AnyOp;
  readonly inputs: readonly Batched[];
  // deno-lint-ignore no-explicit-any -- each op has attributes of its own type
  readonly attrs: any;
  readonly n: number;
}

/** Outputs with the examples first, or null where the rule does not apply. */
type Rule = (call: Call) => readonly Tensor[] | null;

/** The same tensor for every example. */
function spread({ tensor, batched }: Batched, n: number): Tensor {
  return batched ? tensor : broadcastTo(tensor, [n, ...tensor.shape]);
}

/** Axes of size 1 behind the examples' axis, so that inputs of different rank still broadcast. */
function aligned(inputs: readonly Batched[]): Tensor[] {
  const ranks = inputs.map(({ tensor, batched }) => tensor.rank - (batched ? 1 : 0)), rank = Math.max(...ranks);
  return inputs.map(({ tensor, batched }, i) => {
    const [n, ...shape] = tensor.shape;
    return batched && ranks[i] < rank ? reshape(tensor, [n, ...new Array(rank - ranks[i]).fill(1), ...shape]) : tensor;
  });
}

/** Moves an axis elsewhere. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  if (from === to) return x;
  const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== from);
  return transpose(x, axes.toSpliced(to, 0, from));
}

/** `[n, a, ...] -> [n·a, ...]`. */
function merge(x: Tensor): Tensor {
  const [n, a, ...rest] = x.shape;
  return reshape(x, [n * a, ...rest]);
}

/** `[n·a, ...] -> [n, a, ...]`. */
function unmerge(x: Tensor, n: number): Tensor {
  const [all, ...rest] = x.shape;
  return reshape(x, [n, all / n, ...rest]);
}

const broadcasting: Rule = ({ op, inputs, attrs }) => bindAll(op, aligned(inputs), attrs);

/** Applies the op to all inputs with examples, with other attributes. */
const shifted = (shift: (attrs: Call["attrs"], n: number) => unknown): Rule => ({ op, inputs, attrs, n }) =>
  bindAll(op, inputs.map((input) => spread(input, n)), shift(attrs, n));

const axisRule = shifted((attrs) => ({ ...attrs, axis: attrs.axis + 1 }));
const unchanged = shifted((attrs) => attrs);

/** Images of all examples in one batch. */
const mergedBatch: Rule = ({ op, inputs, attrs, n }) => {
  const [first, ...rest] = inputs.map(({ tensor }) => tensor);
  return bindAll(op, [merge(first), ...rest], attrs).map((y) => unmerge(y, n));
};

/** `[n, B, C, ...] -> [B, n·C, ...]`, and back. */
const asChannels = (x: Tensor): Tensor => {
  const [n, B, C, ...rest] = x.shape;
  return reshape(moveAxis(x, 0, 1), [B, n * C, ...rest]);
};
const fromChannels = (y: Tensor, n: number): Tensor => {
  const [B, C, ...rest] = y.shape;
  return moveAxis(reshape(y, [B, n, C / n, ...rest]), 1, 0);
};

/** Examples with filters of their own are groups. */
const convRule: Rule = (call) => {
  const { op, inputs: [x, w], attrs, n } = call;
  if (x.batched && !w.batched) return mergedBatch(call);
  const y = bind(op, [asChannels(spread(x, n)), merge(spread(w, n))], { ...attrs, groups: n * attrs.groups });
  return [fromChannels(y, n)];
};

const convFilterGradRule: Rule = ({ op, inputs, attrs, n }) => {
  const [x, dy] = inputs.map((input) => asChannels(spread(input, n)));
  return [unmerge(bind(op, [x, dy], { ...attrs, groups: n * attrs.groups }), n)];
};

/** Indices `[n, ...]` into axes of `size` elements as indices into all n of them in a row; out of range stays so. */
function acrossExamples(indices: Tensor, size: number): Tensor {
  const { shape: [n, ...rest], dtype, backend } = indices;
  const first = iota([n, ...rest.map(() => 1)], 0, dtype, backend);
  const negative = less(indices, 0);
  const fromFront = where(negative, add(indices, size), indices);
  const inside = and(greaterEqual(fromFront, 0), less(fromFront, size));
  return where(inside, add(fromFront, mul(first, size)), n * size);
}

/** `[n, ..., a, ...] -> [n·a, ...]`. */
function axisFirst(x: Tensor, axis: number): Tensor {
  return merge(moveAxis(x, axis + 1, 1));
}

const gatherRule: Rule = ({ op, inputs: [x, indices], attrs: { axis } }) => {
  if (!indices.batched) return [bind(op, [x.tensor, indices.tensor], { axis: axis + 1 })];
  if (!x.batched) return [moveAxis(bind(op, [x.tensor, indices.tensor], { axis }), axis, 0)];
  const places = acrossExamples(indices.tensor, x.tensor.shape[axis + 1]);
  let y = bind(op, [axisFirst(x.tensor, axis), places], { axis: 0 }); // [n, ...indices, ...rest]
  // the indices' axes go where the axis was
  const count = places.rank - 1;
  for (let i = 0; i < axis; i++) y = moveAxis(y, 1 + count + i, 1 + i);
  return [y];
};

const indexAddRule: Rule = ({ op, inputs, attrs: { axis }, n }) => {
  const [x, indices, updates] = inputs, into = spread(x, n), added = spread(updates, n);
  if (!indices.batched) return [bind(op, [into, indices.tensor, added], { axis: axis + 1 })];
  const places = merge(acrossExamples(indices.tensor, into.shape[axis + 1]));
  const y = bind(op, [axisFirst(into, axis), places, axisFirst(added, axis)], { axis: 0 });
  return [moveAxis(unmerge(y, n), 1, axis + 1)];
};

const updateSliceRule: Rule = (call) =>
  call.inputs[2].batched ? null : [
    bind(call.op, [...call.inputs.slice(0, 2).map((input) => spread(input, call.n)), call.inputs[2].tensor], {
      axis: call.attrs.axis + 1,
    }),
  ];

/** Queries, keys and values do not broadcast; a mask does. */
const attentionRule: Rule = ({ op, inputs, attrs, n }) => {
  const all = inputs.map((input) => ({ tensor: spread(input, n), batched: true }));
  const [q] = all, mask = attrs.masked === "none" ? [] : [aligned([q, all[3]])[1]];
  const tensors = all.map(({ tensor }) => tensor);
  return bindAll(op, [...tensors.slice(0, 3), ...mask, ...tensors.slice(3 + mask.length)], attrs);
};

/** A loop over batched carries. */
const scanRule: Rule = ({ inputs, attrs, n }) => {
  const { body: { graph }, constants, carries, length, reverse } = attrs as ScanAttrs;
  const fixed = inputs.slice(0, constants), items = inputs.slice(constants + carries);
  const init = inputs.slice(constants, constants + carries).map((input) => spread(input, n));
  const xs = items.map(({ tensor, batched }) => batched ? moveAxis(tensor, 0, 1) : tensor); // [length, n, ...]
  const step = (carry: readonly Tensor[], xs: readonly Tensor[]): [Tensor[], Tensor[]] => {
    const outputs = replay(graph, [
      ...carry.map((tensor) => ({ tensor, batched: true })),
      ...xs.map((tensor, i) => ({ tensor, batched: items[i].batched })),
      ...fixed,
    ], n);
    return [outputs.slice(0, carries), outputs.slice(carries)];
  };
  const [end, ys] = scan(step, init, xs, { length, reverse });
  return [...end, ...ys.map((y) => moveAxis(y, 1, 0))];
};

/** A gradient rule for one example is one for many. */
const customVjpRule: Rule = ({ inputs, attrs, n }) => {
  const { arity, value, forward, backward, given } = attrs as CustomAttrs;
  const own = inputs.slice(0, arity).map((input) => spread(input, n)), captured = inputs.slice(arity);
  const run = (begin: number, { graph }: Body, tensors: readonly Tensor[]) => {
    const count = graph.inputs.length - tensors.length;
    const all = tensors.map((tensor) => ({ tensor, batched: true }));
    return replay(graph, [...all, ...captured.slice(begin, begin + count)], n);
  };
  const ofForward = value.graph.inputs.length - arity;
  const ofBackward = ofForward + forward.graph.inputs.length - arity;
  const outputs = value.graph.outputs.length;
  return customVjp((...xs: Tensor[]) => run(0, value, xs), {
    forward(...xs) {
      const results = run(ofForward, forward, xs);
      return [results.slice(0, outputs), results.slice(outputs)];
    },
    backward(residuals, cotangents) {
      const parts = run(ofBackward, backward, [...residuals, ...cotangents]);
      return own.map((_, i) => given.includes(i) ? parts[given.indexOf(i)] : null);
    },
  })(...own);
};

const RULES: Readonly<Record<string, Rule>> = {
  identity: unchanged,
  stopGradient: unchanged,
  barrier: unchanged,
  reshape: shifted(({ shape }, n) => ({ shape: [n, ...shape] })),
  transpose: shifted(({ axes }) => ({ axes: [0, ...axes.map((axis: number) => axis + 1)] })),
  broadcastTo: ({ op, inputs: [{ tensor }], attrs: { shape }, n }) => {
    const own = tensor.shape.slice(1), missing = new Array(shape.length - own.length).fill(1);
    return [bind(op, [reshape(tensor, [n, ...missing, ...own])], { shape: [n, ...shape] })];
  },
  slice: shifted(({ starts, steps, sizes }, n) => ({
    starts: [0, ...starts],
    steps: [1, ...steps],
    sizes: [n, ...sizes],
  })),
  pad: shifted(({ widths, value }) => ({ widths: [[0, 0], ...widths], value })),
  concat: axisRule,
  argmax: axisRule,
  argmin: axisRule,
  argsort: axisRule,
  cumulativeSum: axisRule,
  softmax: axisRule,
  logSoftmax: axisRule,
  gatherElements: axisRule,
  scatterAdd: axisRule,
  gather: gatherRule,
  indexAdd: indexAddRule,
  updateSlice: updateSliceRule,
  matmul: broadcasting,
  attention: attentionRule,
  attentionGrad: attentionRule,
  conv: convRule,
  convInputGrad: convRule,
  convFilterGrad: convFilterGradRule,
  maxPool: mergedBatch,
  maxPoolIndices: mergedBatch,
  sumPool: mergedBatch,
  sumPoolGrad: mergedBatch,
  scan: scanRule,
  customVjp: customVjpRule,
};

function ruleOf({ name, fusion }: AnyOp): Rule | undefined {
  if (fusion?.kind === "scalar") return broadcasting;
  if (fusion?.kind === "reduce") return shifted(({ axes }) => ({ axes: axes.map((axis: number) => axis + 1) }));
  return RULES[name];
}

/** The op's body, traced for one example and applied to all. */
const bodyRule: Rule = ({ op, inputs, attrs, n }) => {
  const specs = inputs.map(({ tensor: { shape, dtype }, batched }) => ({ shape: shape.slice(batched ? 1 : 0), dtype }));
  const { backend } = inputs[0].tensor;
  const { graph, captured } = withoutTapes(() =>
    traceGraph(backend, specs, (xs) => asArray<Tensor>(op.body!(xs, attrs)))
  );
  return replay(graph, [...inputs, ...captured.map((tensor) => ({ tensor, batched: false }))], n);
};

const oneByOne: Rule = ({ op, inputs, attrs, n }) => {
  const rows = Array.from({ length: n }, (_, i) =>
    bindAll(
      op,
      inputs.map(({ tensor, batched }) => batched ? reshape(slice(tensor, i, i + 1), tensor.shape.slice(1)) : tensor),
      attrs,
    ));
  return rows[0].map((_, k) => concat(rows.map((outputs) => expandDims(outputs[k], 0))));
};

function apply(call: Call): readonly Tensor[] {
  const result = ruleOf(call.op)?.(call);
  return result ?? (call.op.body ? bodyRule(call) : oneByOne(call))!;
}

/** Applies a traced function to `n` examples; its inputs are those of the graph. Every output is batched. */
export function replay(graph: Graph, inputs: readonly Batched[], n: number, home?: Backend): Tensor[] {
  const values = new Map<Value, Batched>(graph.inputs.map((value, i) => [value, inputs[i]]));
  for (const { op, attrs, inputs, outputs } of graph.nodes) {
    const given = inputs.map((value) => values.get(value)!);
    const batched = given.some((input) => input.batched);
    const made = batched
      ? apply({ op, inputs: given, attrs, n })
      : bindAgain(op, given.map(({ tensor }) => tensor), attrs, home);
    outputs.forEach((value, i) => values.set(value, { tensor: made[i], batched }));
  }
  return graph.outputs.map((value) => spread(values.get(value)!, n));
}
