/**
 * `checkpoint`: computing again instead of keeping.
 *
 * @module
 */
import { Body } from "../core/body.ts";
import { activeTrace } from "../core/graph.ts";
import { asArray, bind, bindAll, distinct, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { isListening, isTracked, recordOn, withCaptures, withoutTapes } from "../core/tape.ts";
import type { Tensor } from "../core/tensor.ts";
import { barrierOp, flatFunction, sameTensor, tensorsOf, traceTree, vjpFlat } from "./pullback.ts";
import { applyBody } from "./scan.ts";

/** A function as data, for a trace; its gradient runs it again. The inputs are the function's own and what it captured. */
const checkpointOp: Op<number, { readonly body: Body }, number> = {
  name: "checkpoint",
  infer: (_, { body }) => body.graph.outputs.map(({ shape, dtype }) => ({ shape, dtype })),
  body: (inputs, { body }) => applyBody(body, inputs),
  vjp({ inputs, grad, attrs: { body } }) {
    const again = inputs.map((x) => bind(barrierOp, [x], null));
    return vjpFlat((xs) => applyBody(body, xs), again)[1](asArray(grad));
  },
};

/**
 * `f` without memory of what it computed: the backward pass runs it again (Chen et al. 2016, arXiv:1604.06174). It keeps
 * the arguments, and the tensors that `f` closes over.
 *
 * @param f A function of any trees, the same every time it runs.
 * @returns A function of the same values and gradients.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const block = tn.checkpoint((x: tn.Tensor) => tn.tanh(tn.exp(x)));
 * const slope = tn.grad((x: tn.Tensor) => tn.sum(block(x)))(tn.tensor([0.5]));
 * assertAlmostEquals((await slope.array() as number[])[0], Math.exp(0.5) / Math.cosh(Math.exp(0.5)) ** 2, 1e-6);
 * ```
 */
export function checkpoint<A extends unknown[], R>(f: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    const [inputs, rebuildArgs] = tensorsOf(args);
    const trace = activeTrace();
    if (trace && inputs.length > 0) { // as one node, for gradients of what is traced
      const { graph, captured, finish } = traceTree(trace.backend, inputs, (xs) => f(...rebuildArgs(xs) as A));
      return finish(bindAll(checkpointOp, [...inputs, ...captured], { body: new Body(graph) })) as R;
    }
    if (!isListening()) return f(...args);
    // under identities of their own, so that what `f` closes over is told from its arguments
    const fresh = withoutTapes(() => inputs.map(sameTensor));
    const { result, captured } = withCaptures(fresh, () => scope(() => f(...rebuildArgs(fresh) as A)));
    const [made, rebuild] = tensorsOf(result);
    for (const x of fresh) if (!made.includes(x)) x.dispose();
    // a closed-over tensor that is returned as it is, is an input too
    const handed = made.filter((y) => !fresh.includes(y) && isTracked([y]));
    const others = [...new Set([...captured, ...handed])], outputs = distinct(made, handed);
    const { run } = flatFunction(f as (...args: never[]) => unknown, rebuildArgs);
    const pullback = (grads: readonly (Tensor | null)[]) => {
      const again = inputs.map((x) => bind(barrierOp, [x], null));
      return vjpFlat(run, again, others)[1](grads);
    };
    if (isTracked([...inputs, ...others])) recordOn({ inputs: [...inputs, ...others], outputs, rule: pullback });
    return rebuild(outputs) as R;
  };
}
