/**
 * Differentiation: `vjp` walks a tape back; everything else is built on it.
 *
 * Gradient rules are written in public ops, so walking back is itself differentiable and gradients of any order work.
 *
 * @module
 */
import { add } from "../ops/elementwise.ts";
import { onesLike, zeros, zerosLike } from "../ops/create.ts";
import { isFloat } from "./dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "./errors.ts";
import { type AnyOp, bind, bindAll, type Op } from "./op.ts";
import { scope } from "./scope.ts";
import { sameShape, show, type Spec } from "./shape.ts";
import { isTracked, recordOn, Tape, type TapeStep, withCaptures, withoutTapes, withTape } from "./tape.ts";
import { Tensor } from "./tensor.ts";
import * as tree from "./tree.ts";

/** The same values under a new identity: what a transform tracks in place of its caller's tensor. */
const identityOp: Op<1, null> = {
  name: "identity",
  alias: true,
  infer: ([x]) => x,
  vjp: ({ grad }) => [grad],
};

/** An identity that `compile` never merges with its input: what is computed from it is computed again. */
const barrierOp: Op<1, null> = {
  name: "barrier",
  alias: true,
  infer: ([x]) => x,
  vjp: ({ grad }) => [grad],
};

const sameTensor = (x: Tensor): Tensor => bind(identityOp, [x], null);

function asArray<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}

/** Attributes of a derived gradient op. */
interface GradAttrs {
  readonly attrs: unknown;
  /** How many of the inputs are the op's own; its outputs and their gradients follow, half of the rest each. */
  readonly arity: number;
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
  grads: readonly Tensor[],
  wanted: readonly number[],
): readonly (Tensor | null)[] {
  const [output, grad] = outputs.length === 1 ? [outputs[0], grads[0]] : [outputs, grads];
  return op.vjp!({ inputs, output, grad, attrs, wanted: inputs.map((_, i) => wanted.includes(i)) });
}

/** The gradient of a composite as an op: its rule, or its body differentiated, so that a backend may fuse it. */
function gradientOp(op: AnyOp): AnyOp {
  let gradient = derived.get(op);
  if (!gradient) {
    const made: Op<number, GradAttrs, number> = {
      name: `${op.name}Vjp`,
      infer: (inputs: readonly Spec[], { wanted }) => wanted.map((i) => inputs[i]),
      body(inputs: readonly Tensor[], { attrs, arity, wanted }) {
        const half = (arity + inputs.length) / 2;
        const own = inputs.slice(0, arity), outputs = inputs.slice(arity, half), seeds = inputs.slice(half);
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
  const full = grads.map((grad, i) => grad ?? zerosLike(outputs[i]));
  const wanted = inputs.flatMap((x, i) => isFloat(x.dtype) && tape.tracks(x) ? [i] : []);
  if (!op.body) {
    if (op.vjp) return applyRule(op, attrs, inputs, outputs, full, wanted);
    throw new TypeError(`Cannot differentiate ${op.name}: it has neither a gradient rule nor a body`);
  }
  const parts = bindAll(gradientOp(op), [...inputs, ...outputs, ...full], { attrs, arity: inputs.length, wanted });
  return inputs.map((_, i) => wanted.includes(i) ? parts[wanted.indexOf(i)] : null);
}

/** Walks the tape back from `seeds` (one per output) to `inputs`. */
function walkBack(
  tape: Tape,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  seeds: readonly (Tensor | null)[],
): Tensor[] {
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
function vjpFlat(
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
function tensorsOf(value: unknown): [tensors: Tensor[], rebuild: (tensors: readonly Tensor[]) => unknown] {
  const [leaves, structure] = tree.flatten(value);
  const places = leaves.flatMap((leaf, i) => leaf instanceof Tensor ? [i] : []);
  return [places.map((i) => leaves[i] as Tensor), (tensors) => {
    const next = [...leaves];
    places.forEach((place, i) => next[place] = tensors[i]);
    return tree.unflatten(structure, next);
  }];
}

/** Runs a function of trees on flat tensors; `finish` turns its flat outputs into a tree again. */
function flatFunction(f: (...args: never[]) => unknown, rebuild: (tensors: readonly Tensor[]) => unknown) {
  let finish: (tensors: readonly Tensor[]) => unknown = () => undefined;
  const run = (xs: readonly Tensor[]): readonly Tensor[] => {
    const result = f(...rebuild(xs) as never[]);
    const [tensors, rebuildResult] = tensorsOf(result);
    finish = rebuildResult;
    return tensors;
  };
  return { run, finish: (tensors: readonly Tensor[]): unknown => finish(tensors) };
}

function requireFloat(action: string, tensors: readonly Tensor[]): void {
  for (const { dtype, shape } of tensors) {
    if (!isFloat(dtype)) {
      throw new DTypeError(`Cannot ${action} with respect to ${dtype}${show(shape)}: only f32 and f16 have gradients`);
    }
  }
}

/**
 * Vector-Jacobian product (reverse mode).
 *
 * @param f A function of trees.
 * @param primals Its arguments; every tensor in them is differentiated.
 * @returns `f(...primals)`, and a function from a gradient of the output (same tree) to one of each argument.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const [y, back] = tn.vjp(tn.sin, [tn.tensor([0, 1])]);
 * console.log(await y.array(), await back(tn.ones([2]))[0].array()); // sin x, cos x
 * ```
 */
export function vjp<A extends unknown[], R>(
  f: (...args: A) => R,
  primals: readonly [...A],
): [output: R, back: (cotangent: R) => A] {
  const [xs, rebuild] = tensorsOf(primals);
  const floats = xs.map((x) => isFloat(x.dtype));
  const { run, finish } = flatFunction(f as (...args: never[]) => unknown, rebuild);
  const [outputs, back] = vjpFlat(run, xs);
  return [finish(outputs) as R, (cotangent) => {
    const [seeds] = tensorsOf(cotangent);
    if (seeds.length !== outputs.length) {
      throw new ArgumentError(`Cannot pull back ${seeds.length} tensors: the function returned ${outputs.length}`);
    }
    seeds.forEach((seed, i) => requireShape("pull back", seed, outputs[i]));
    const grads = scope(() => back(seeds));
    return rebuild(grads.map((grad, i) => floats[i] ? grad : zeros(xs[i].shape, { dtype: "f32", backend: xs[i].backend.name }))) as A;
  }];
}

function requireShape(action: string, given: Tensor, wanted: Tensor): void {
  if (!sameShape(given.shape, wanted.shape)) {
    throw new ShapeError(`Cannot ${action} ${show(given.shape)}: the value has shape ${show(wanted.shape)}`);
  }
}

/**
 * Jacobian-vector product (forward mode), by transposing the reverse mode twice.
 *
 * @returns `f(...primals)` and its directional derivative along `tangents`.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const [y, dy] = tn.jvp(tn.square, [tn.tensor([3])], [tn.tensor([1])]);
 * console.log(await y.array(), await dy.array()); // [9] [6]
 * ```
 */
export function jvp<A extends unknown[], R>(
  f: (...args: A) => R,
  primals: readonly [...A],
  tangents: readonly [...A],
): [output: R, tangent: R] {
  const [xs, rebuild] = tensorsOf(primals);
  const [directions] = tensorsOf(tangents);
  if (directions.length !== xs.length) {
    throw new ArgumentError(
      `Cannot take a jvp of ${xs.length} tensors along ${directions.length}: one is needed for each`,
    );
  }
  requireFloat("take a jvp", xs);
  directions.forEach((direction, i) => requireShape("take a jvp along", direction, xs[i]));
  return scope(() => {
    const { run, finish } = flatFunction(f as (...args: never[]) => unknown, rebuild);
    const [outputs, back] = vjpFlat(run, xs);
    // back(u) = Jᵀu is linear in u, so its own pullback at the tangents is J·tangents
    const zero = outputs.map((y) => zerosLike(y));
    const [, forward] = vjpFlat((u) => back(u), zero);
    return [finish(outputs) as R, finish(forward(directions)) as R];
  });
}

/** Which arguments to differentiate, and whether the function returns more than the loss. */
export interface GradOptions<N extends number | readonly number[] = 0, X extends boolean = false> {
  /** Index of the argument, or several; 0 by default. */
  readonly argnums?: N;
  /** The function returns `[loss, aux]`; `aux` is passed through. */
  readonly hasAux?: X;
}

/** The gradients' type: that of the chosen argument, or a tuple of them. */
export type Grads<A extends unknown[], N extends number | readonly number[]> = N extends number ? A[N]
  : { [K in keyof N]: N[K] extends number ? A[N[K]] : never };

/** What a differentiable function returns. */
export type Loss<X extends boolean, U> = X extends true ? readonly [loss: Tensor, aux: U] : Tensor;

function requireScalar(loss: unknown): asserts loss is Tensor {
  if (!(loss instanceof Tensor)) {
    throw new ArgumentError(`Cannot differentiate a function that returns ${typeof loss}: it must return a tensor`);
  }
  if (loss.size !== 1) {
    throw new ShapeError(`Cannot differentiate an output of shape ${show(loss.shape)}: it must be a scalar`);
  }
}

/**
 * A function that returns the value of `f` and its gradients. Everything computed on the way is freed.
 *
 * @param f Returns a scalar, or `[scalar, aux]` with `hasAux`.
 * @throws {ShapeError} If the output is no scalar.
 * @throws {DTypeError} If a differentiated tensor is not f32 or f16.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const loss = (p: { w: tn.Tensor }, x: tn.Tensor) => tn.sum(tn.square(tn.mul(p.w, x)));
 * const [value, grads] = tn.valueAndGrad(loss)({ w: tn.tensor([1, 2]) }, tn.tensor([3, 4]));
 * console.log(await value.item(), await grads.w.array()); // 73 [18, 64]
 * ```
 */
export function valueAndGrad<
  A extends unknown[],
  U = never,
  const N extends number | readonly number[] = 0,
  X extends boolean = false,
>(
  f: (...args: A) => Loss<X, U>,
  options: GradOptions<N, X> = {},
): (...args: A) => [value: Loss<X, U>, grads: Grads<A, N>] {
  const argnums: number | readonly number[] = options.argnums ?? 0;
  const indices = typeof argnums === "number" ? [argnums] : argnums;
  return (...args) =>
    scope(() => {
      for (const i of indices) {
        if (i < 0 || i >= args.length) {
          throw new ArgumentError(`Cannot differentiate argument ${i}: the function got ${args.length}`);
        }
      }
      const [xs, rebuild] = tensorsOf(indices.map((i) => args[i]));
      requireFloat("differentiate", xs);
      let result: unknown;
      const [outputs, back, tape] = vjpFlat((inputs) => {
        const all = [...args] as A;
        (rebuild(inputs) as unknown[]).forEach((arg, k) => all[indices[k]] = arg);
        result = f(...all);
        const loss = options.hasAux ? (result as readonly unknown[])[0] : result;
        requireScalar(loss);
        return [loss];
      }, xs);
      const [loss] = outputs;
      const grads = rebuild(back([onesLike(loss)])) as unknown[];
      tape[Symbol.dispose]();
      return [result as Loss<X, U>, (typeof argnums === "number" ? grads[0] : grads) as Grads<A, N>];
    });
}

/**
 * A function that returns the gradients of `f`, in the shape of the chosen arguments; with `hasAux`, `[grads, aux]`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const cube = (x: tn.Tensor) => tn.mul(x, tn.mul(x, x));
 * const third = tn.grad(tn.grad(tn.grad(cube)));
 * console.log(await third(tn.tensor(2)).item()); // 6
 * ```
 */
export function grad<
  A extends unknown[],
  U = never,
  const N extends number | readonly number[] = 0,
  X extends boolean = false,
>(
  f: (...args: A) => Loss<X, U>,
  options: GradOptions<N, X> = {},
): (...args: A) => X extends true ? [grads: Grads<A, N>, aux: U] : Grads<A, N> {
  const both = valueAndGrad<A, U, N, X>(f, options);
  return (...args) =>
    scope(() => {
      const [value, grads] = both(...args);
      return (options.hasAux ? [grads, (value as readonly [Tensor, U])[1]] : grads) as X extends true
        ? [grads: Grads<A, N>, aux: U]
        : Grads<A, N>;
    });
}

/** The same values, constant to every gradient. */
export function stopGradient<T>(value: T): T {
  return tree.map((leaf) => leaf instanceof Tensor ? withoutTapes(() => sameTensor(leaf)) : leaf, value);
}

/** A gradient rule of one's own. */
export interface CustomVjp<A extends unknown[], R, S> {
  /** The value, and what the backward pass needs. */
  forward(...args: A): readonly [output: R, residuals: S];
  /** One gradient tree per argument; `null` where there is none. */
  backward(residuals: S, cotangent: R): readonly unknown[];
}

/**
 * `f` with a gradient rule of its own. Tensors that `f` closes over get no gradient: pass them as arguments.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * // the straight-through estimator: round forward, identity backward
 * const round = tn.customVjp((x: tn.Tensor) => tn.round(x), {
 *   forward: (x) => [tn.round(x), null],
 *   backward: (_, dy) => [dy],
 * });
 * console.log(await tn.grad((x: tn.Tensor) => tn.sum(round(x)))(tn.tensor([0.4, 0.6])).array()); // [1, 1]
 * ```
 */
export function customVjp<A extends unknown[], R, S>(
  f: (...args: A) => R,
  { forward, backward }: CustomVjp<A, R, S>,
): (...args: A) => R {
  return (...args) => {
    const [inputs] = tensorsOf(args);
    if (!isTracked(inputs)) return f(...args);
    const [result, residuals] = withoutTapes(() => scope(() => forward(...args)));
    const [outputs, rebuild] = tensorsOf(result);
    const pullback = (grads: readonly (Tensor | null)[]): readonly (Tensor | null)[] => {
      const cotangent = rebuild(grads.map((grad, i) => grad ?? zerosLike(outputs[i])));
      const parts = backward(residuals, cotangent as R);
      if (parts.length !== args.length) {
        throw new ArgumentError(
          `Cannot use ${parts.length} gradients from a customVjp: the function has ${args.length} arguments`,
        );
      }
      return args.flatMap((arg, i) => {
        const count = tensorsOf(arg)[0].length;
        const given = tensorsOf(parts[i])[0];
        return given.length === count ? given : new Array<null>(count).fill(null);
      });
    };
    recordOn({ inputs, outputs, saved: tensorsOf(residuals)[0], rule: pullback });
    return result;
  };
}

/**
 * `f` without memory of what it computed: the backward pass runs it again (Chen et al. 2016, arXiv:1604.06174).
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const block = tn.checkpoint((x: tn.Tensor) => tn.tanh(tn.exp(x)));
 * console.log(await tn.grad((x: tn.Tensor) => tn.sum(block(x)))(tn.tensor([0.5])).array());
 * ```
 */
export function checkpoint<A extends unknown[], R>(f: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    const [inputs, rebuildArgs] = tensorsOf(args);
    const { result, captured } = withCaptures(inputs, () => scope(() => f(...args)));
    const [outputs] = tensorsOf(result);
    const { run } = flatFunction(f as (...args: never[]) => unknown, rebuildArgs);
    const pullback = (grads: readonly (Tensor | null)[]) => {
      const again = inputs.map((x) => bind(barrierOp, [x], null));
      return vjpFlat(run, again, captured)[1](grads);
    };
    if (isTracked([...inputs, ...captured])) recordOn({ inputs: [...inputs, ...captured], outputs, rule: pullback });
    return result;
  };
}

/** For transforms that lower functions themselves (compile, scan). @internal */
export { tensorsOf, vjpFlat };
