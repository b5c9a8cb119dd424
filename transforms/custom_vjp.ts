/**
 * `customVjp`: functions with a gradient rule of their own.
 *
 * @module
 */
import { zerosLike } from "../ops/create.ts";
import type { Backend } from "../core/backend.ts";
import { Body } from "../core/body.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { activeTrace, traceGraph } from "../core/graph.ts";
import { asArray, bindAll, distinct, type Op } from "../core/op.ts";
import { tensorsOf, traceTree } from "./pullback.ts";
import { applyBody } from "./scan.ts";
import { scope } from "../core/scope.ts";
import { sameShape, show, type Spec } from "../core/shape.ts";
import { isTracked, recordOn, withoutTapes } from "../core/tape.ts";
import type { Tensor } from "../core/tensor.ts";

/** A gradient rule of one's own. */
export interface CustomVjp<A extends unknown[], R, S> {
  /** The value, and what the backward pass needs: a tree of any tensors. */
  forward(...args: A): readonly [output: R, residuals: S];
  /** One gradient tree per argument, each tensor of its argument's shape; `null` where there is none. */
  backward(residuals: S, cotangent: R): readonly unknown[];
}

/** A function and its gradient rule as data, for a trace. Its inputs are the function's own, then what each body captured. */
export interface CustomAttrs {
  /** How many of the inputs are the function's own. */
  readonly arity: number;
  /** `own -> outputs` */
  readonly value: Body;
  /** `own -> outputs, residuals` */
  readonly forward: Body;
  /** `residuals, cotangents -> gradients` of the own inputs that have one. */
  readonly backward: Body;
  /** Own inputs that have a gradient. */
  readonly given: readonly number[];
}

const customVjpOp: Op<number, CustomAttrs, number> = {
  name: "customVjp",
  infer: (_, { value }) => value.graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
  body: (inputs, { value }) => applyBody(value, inputs.slice(0, value.graph.inputs.length)),
  vjp({ inputs, grad, attrs: { arity, value, forward, backward, given } }) {
    const own = inputs.slice(0, arity), captured = inputs.slice(value.graph.inputs.length);
    const between = forward.graph.inputs.length - arity;
    const results = applyBody(forward, [...own, ...captured.slice(0, between)]);
    const residuals = results.slice(value.graph.outputs.length);
    const parts = applyBody(backward, [...residuals, ...asArray(grad), ...captured.slice(between)]);
    return inputs.map((_, i) => given.includes(i) ? parts[given.indexOf(i)] : null);
  },
};

/** The gradients of all tensors of `args`, from one tree per argument. */
function gradientsOf(parts: readonly unknown[], args: readonly unknown[]): (Tensor | null)[] {
  if (parts.length !== args.length) {
    throw new ArgumentError(
      `Cannot use ${parts.length} gradients from a customVjp: the function has ${args.length} arguments`,
    );
  }
  return args.flatMap((arg, i) => {
    const [tensors] = tensorsOf(arg), [given] = tensorsOf(parts[i]);
    if (parts[i] === null || parts[i] === undefined) return tensors.map(() => null);
    if (given.length !== tensors.length) {
      throw new ArgumentError(
        `Cannot use ${given.length} gradients for argument ${i} of a customVjp: it holds ${tensors.length} tensors`,
      );
    }
    given.forEach((grad, k) => {
      if (sameShape(grad.shape, tensors[k].shape)) return;
      throw new ShapeError(
        `Cannot use a gradient ${show(grad.shape)} for argument ${i} of a customVjp: it is ${show(tensors[k].shape)}`,
      );
    });
    return given;
  });
}

/**
 * `f` with a gradient rule of its own. Tensors that `f` closes over get no gradient: pass them as arguments.
 *
 * @param f The function, of any trees.
 * @param rule Its value together with residuals, and from those and a cotangent of the value's shape one gradient tree
 * per argument.
 * @returns A function like `f`, with the rule in place of its gradient.
 * @throws {ArgumentError} While differentiated, if `backward` returns another number of gradients.
 * @throws {ShapeError} While differentiated, if a gradient has not the shape of its tensor.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * // the straight-through estimator: round forward, identity backward
 * const round = tn.customVjp((x: tn.Tensor) => tn.round(x), {
 *   forward: (x) => [tn.round(x), null],
 *   backward: (_, dy) => [dy],
 * });
 * const slope = tn.grad((x: tn.Tensor) => tn.sum(round(x)))(tn.tensor([0.4, 0.6]));
 * assertEquals(await slope.array(), [1, 1]);
 * ```
 */
export function customVjp<A extends unknown[], R, S>(
  f: (...args: A) => R,
  rule: CustomVjp<A, R, S>,
): (...args: A) => R {
  return (...args) => {
    const [inputs, rebuildArgs] = tensorsOf(args);
    const trace = activeTrace();
    if (trace && inputs.length > 0) return traceCustom(trace.backend, f, rule, inputs, rebuildArgs) as R;
    if (!isTracked(inputs)) return f(...args);
    const [result, residuals] = withoutTapes(() => scope(() => rule.forward(...args)));
    const [made, rebuild] = tensorsOf(result);
    // what a tape knows already has a gradient of its own
    const outputs = distinct(made, [...inputs, ...made.filter((y) => isTracked([y]))]);
    const pullback = (grads: readonly (Tensor | null)[]): readonly (Tensor | null)[] => {
      const cotangent = rebuild(grads.map((grad, i) => grad ?? zerosLike(outputs[i])));
      // a gradient of the gradient has to see how the residuals came about
      const kept = isTracked(inputs) ? rule.forward(...args)[1] : residuals;
      return gradientsOf(rule.backward(kept, cotangent as R), args);
    };
    recordOn({ inputs, outputs, saved: tensorsOf(residuals)[0], rule: pullback });
    return rebuild(outputs) as R;
  };
}

/** The function and its rule as one node of the trace, so that whoever differentiates the traced graph finds the rule. */
function traceCustom<A extends unknown[], R, S>(
  backend: Backend,
  f: (...args: A) => R,
  { forward, backward }: CustomVjp<A, R, S>,
  inputs: readonly Tensor[],
  rebuildArgs: (tensors: readonly Tensor[]) => unknown,
): unknown {
  const argsOf = (xs: readonly Tensor[]) => rebuildArgs(xs) as A;
  const trace = (specs: readonly Spec[], run: (xs: readonly Tensor[]) => readonly Tensor[]) =>
    withoutTapes(() => traceGraph(backend, specs, run));
  const { finish: rebuild, ...value } = traceTree(backend, inputs, (xs) => f(...argsOf(xs)));
  let rebuildResiduals = rebuild;
  const ahead = trace(inputs, (xs) => {
    const [result, residuals] = forward(...argsOf(xs));
    const [kept, finish] = tensorsOf(residuals);
    rebuildResiduals = finish;
    return [...tensorsOf(result)[0], ...kept];
  });
  const { outputs } = value.graph, residuals = ahead.graph.outputs.slice(outputs.length);
  let given: readonly number[] = [];
  const back = trace([...residuals, ...outputs], (xs) => {
    const cotangent = rebuild(xs.slice(residuals.length)) as R;
    const parts = gradientsOf(backward(rebuildResiduals(xs) as S, cotangent), argsOf(inputs));
    given = parts.flatMap((part, i) => part ? [i] : []);
    return parts.filter((part) => part !== null);
  });
  const results = bindAll(customVjpOp, [...inputs, ...value.captured, ...ahead.captured, ...back.captured], {
    arity: inputs.length,
    value: new Body(value.graph),
    forward: new Body(ahead.graph),
    backward: new Body(back.graph),
    given,
  });
  return rebuild(results);
}
