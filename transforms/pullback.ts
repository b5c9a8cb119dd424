/**
 * Walking a tape back, and functions of trees as functions of flat lists of tensors: what every transform is built on.
 *
 * Gradient rules are written in public ops, so walking back is itself differentiable and gradients of any order work.
 *
 * @module
 */
import { zerosLike } from "../ops/create.ts";
import { add } from "../ops/elementwise.ts";
import type { Backend } from "../core/backend.ts";
import { isFloat } from "../core/dtype.ts";
import { ArgumentError, DisposedError } from "../core/errors.ts";
import { traceGraph } from "../core/graph.ts";
import { type AnyOp, asArray, bind, bindAll, type Op } from "../core/op.ts";
import type { Spec } from "../core/shape.ts";
import { Tape, type TapeStep, withoutTapes, withTape } from "../core/tape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";

/** The same values under a new identity: what a transform tracks in place of its caller's tensor. */
const identityOp: Op<1, null> = {
  name: "identity",
  alias: true,
  infer: ([x]) => x,
  vjp: ({ grad }) => [grad],
};

/** An identity that `compile` never merges with its input: what is computed from it is computed again. */
export const barrierOp: Op<1, null> = {
  name: "barrier",
  alias: true,
  infer: ([x]) => x,
  vjp: ({ grad }) => [grad],
};

/** The tensor under a new identity. */
export const sameTensor = (x: Tensor): Tensor => bind(identityOp, [x], null);

/** Attributes of a derived gradient op. */
interface GradAttrs {
  readonly attrs: unknown;
  /** How many of the inputs are the op's own; its outputs follow, then the gradients that arrived. */
  readonly arity: number;
  /** Outputs that have a gradient. */
  readonly arrived: readonly number[];
  /** Inputs whose gradients are asked for. */
  readonly wanted: readonly number[];
}

const derived = new WeakMap<AnyOp, AnyOp>();

/** Applies an op's gradient rule. */
function applyRule(
  op: AnyOp,
  attrs: unknown,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  grads: readonly (Tensor | null)[],
  wanted: readonly number[],
): readonly (Tensor | null)[] {
  const full = grads.map((grad, i) => grad ?? zerosLike(outputs[i]));
  const [output, grad] = outputs.length === 1 ? [outputs[0], full[0]] : [outputs, full];
  const arrived = grads.map((grad) => grad !== null);
  return op.vjp!({ inputs, output, grad, attrs, wanted: inputs.map((_, i) => wanted.includes(i)), arrived });
}

/** The gradient of a composite as an op: its rule, or its body differentiated, so that a backend may fuse it. */
function gradientOp(op: AnyOp): AnyOp {
  let gradient = derived.get(op);
  if (!gradient) {
    const made: Op<number, GradAttrs, number> = {
      name: `${op.name}Vjp`,
      infer: (inputs: readonly Spec[], { wanted }) => wanted.map((i) => inputs[i]),
      body(inputs: readonly Tensor[], { attrs, arity, arrived, wanted }) {
        const end = inputs.length - arrived.length;
        const own = inputs.slice(0, arity), outputs = inputs.slice(arity, end), given = inputs.slice(end);
        const seeds = outputs.map((_, i) => arrived.includes(i) ? given[arrived.indexOf(i)] : null);
        const parts = op.vjp
          ? applyRule(op, attrs, own, outputs, seeds, wanted)
          : vjpFlat((xs) => asArray<Tensor>(op.body!(xs, attrs)), own)[1](seeds);
        return wanted.map((i) => parts[i] ?? zerosLike(own[i]));
      },
    };
    gradient = made as AnyOp;
    derived.set(op, gradient);
  }
  return gradient;
}

/** Gradients of a step's inputs; only those that `tape` tracks are asked for where that saves work. */
function pullBack(step: TapeStep, grads: readonly (Tensor | null)[], tape: Tape): readonly (Tensor | null)[] {
  if (typeof step.rule === "function") return step.rule(grads);
  const { inputs, outputs, rule: { op, attrs } } = step;
  const wanted = inputs.flatMap((x, i) => isFloat(x.dtype) && tape.tracks(x) ? [i] : []);
  if (!op.body) {
    if (op.vjp) return applyRule(op, attrs, inputs, outputs, grads, wanted);
    throw new ArgumentError(`Cannot differentiate ${op.name}: it has neither a gradient rule nor a body`);
  }
  const arrived = grads.flatMap((grad, i) => grad ? [i] : []);
  const given = [...inputs, ...outputs, ...grads.filter((grad) => grad !== null)];
  const parts = bindAll(gradientOp(op), given, { attrs, arity: inputs.length, arrived, wanted });
  return inputs.map((_, i) => wanted.includes(i) ? parts[wanted.indexOf(i)] : null);
}

/** Walks the tape back from `seeds` (one per output) to `inputs`. */
function walkBack(
  tape: Tape,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  seeds: readonly (Tensor | null)[],
): Tensor[] {
  if (tape.disposed) {
    throw new DisposedError("Cannot pull back: the scope around the vjp has ended, and freed what was computed in it");
  }
  const grads = new Map<Tensor, Tensor>();
  const accumulate = (tensor: Tensor, part: Tensor) => {
    const sum = grads.get(tensor);
    grads.set(tensor, sum ? add(sum, part) : part);
  };
  outputs.forEach((output, i) => {
    const seed = seeds[i];
    if (seed && tape.tracks(output)) accumulate(output, seed);
  });
  for (const step of [...tape.steps].reverse()) {
    const arrived = step.outputs.map((output) => grads.get(output) ?? null);
    if (arrived.every((grad) => grad === null)) continue;
    const parts = pullBack(step, arrived, tape);
    step.inputs.forEach((input, i) => {
      const part = parts[i];
      if (part && tape.tracks(input)) accumulate(input, part);
    });
  }
  return inputs.map((input) => grads.get(input) ?? zerosLike(input));
}

/** `f(xs)`, and a function from gradients of the outputs to gradients of `xs`, then of `captured`. */
export function vjpFlat(
  f: (xs: Tensor[]) => readonly Tensor[],
  xs: readonly Tensor[],
  captured: readonly Tensor[] = [],
): [outputs: readonly Tensor[], back: (seeds: readonly (Tensor | null)[]) => Tensor[], tape: Tape] {
  const inputs = xs.map(sameTensor);
  const tape = new Tape([...inputs, ...captured]);
  const outputs = withTape(tape, () => f(inputs));
  return [outputs, (seeds) => walkBack(tape, [...inputs, ...captured], outputs, seeds), tape];
}

/** Splits a tree into its tensors and a function that puts others in their place. */
export function tensorsOf(value: unknown): [tensors: Tensor[], rebuild: (tensors: readonly Tensor[]) => unknown] {
  const [leaves, structure] = tree.flatten(value);
  const places = leaves.flatMap((leaf, i) => leaf instanceof Tensor ? [i] : []);
  return [places.map((i) => leaves[i] as Tensor), (tensors) => {
    const next = [...leaves];
    places.forEach((place, i) => next[place] = tensors[i]);
    return tree.unflatten(structure, next);
  }];
}

/** Traces a function from flat tensors to a tree, unseen by tapes; `finish` turns its flat outputs into the tree again. */
export function traceTree(backend: Backend, specs: readonly Spec[], f: (xs: readonly Tensor[]) => unknown) {
  let finish: (tensors: readonly Tensor[]) => unknown = () => undefined;
  const { graph, captured } = withoutTapes(() =>
    traceGraph(backend, specs, (xs) => {
      const [outputs, rebuild] = tensorsOf(f(xs));
      finish = rebuild;
      return outputs;
    })
  );
  return { graph, captured, finish };
}

/** Runs a function of trees on flat tensors; `finish` turns its flat outputs into a tree again. */
export function flatFunction(f: (...args: never[]) => unknown, rebuild: (tensors: readonly Tensor[]) => unknown) {
  let finish: (tensors: readonly Tensor[]) => unknown = () => undefined;
  const run = (xs: readonly Tensor[]): readonly Tensor[] => {
    const result = f(...rebuild(xs) as never[]);
    const [tensors, rebuildResult] = tensorsOf(result);
    finish = rebuildResult;
    return tensors;
  };
  return { run, finish: (tensors: readonly Tensor[]): unknown => finish(tensors) };
}
