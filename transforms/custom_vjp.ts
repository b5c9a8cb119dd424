/**
 * Functions with a backward pass of their own: `customVjp`, and `checkpoint`, which computes again instead of keeping.
 *
 * @module
 */
import { zerosLike } from "../ops/create.ts";
import { ArgumentError } from "../core/errors.ts";
import { bind } from "../core/op.ts";
import { barrierOp, flatFunction, tensorsOf, vjpFlat } from "./pullback.ts";
import { scope } from "../core/scope.ts";
import { isTracked, recordOn, withCaptures, withoutTapes } from "../core/tape.ts";
import type { Tensor } from "../core/tensor.ts";

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
