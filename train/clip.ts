/**
 * Bounding gradients before an optimizer sees them.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { leaves, map } from "../core/tree.ts";
import { add, cast, div, mul, sqrt, square } from "../ops/elementwise.ts";
import { min } from "../ops/extremum.ts";
import { sum } from "../ops/reduce.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";

/**
 * Length of all tensors of a tree taken as one vector: `√(Σ x²)`, an f32 scalar.
 *
 * @example
 * ```ts
 * import { globalNorm, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * assertEquals(await globalNorm({ a: tensor([2, 3]), b: [tensor(6)] }).item(), 7);
 * ```
 */
export function globalNorm(tree: unknown): Tensor {
  const tensors = leaves(tree) as Tensor[];
  if (tensors.length === 0) throw new ArgumentError("Cannot take the norm of a tree without tensors");
  return scope(() => {
    const squares = tensors.map((leaf) => sum(square(cast(leaf, "f32"))));
    return sqrt(squares.reduce((total, next) => add(total, next)));
  });
}

/**
 * A link that shortens gradients to `maxNorm` where all of them together, taken as one vector, are longer.
 *
 * @see https://arxiv.org/abs/1211.5063
 * @example
 * ```ts
 * import { chain, clipByGlobalNorm, sgd, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = chain(clipByGlobalNorm(1), sgd({ learningRate: 1 }));
 * const params = { a: tensor(0), b: tensor(0) };
 * const [next] = optimizer.update({ a: tensor(30), b: tensor(40) }, optimizer.init(params), params);
 * assertAlmostEquals(await next.a.item(), -0.6, 1e-6);
 * assertAlmostEquals(await next.b.item(), -0.8, 1e-6);
 * ```
 */
export function clipByGlobalNorm(maxNorm: number): Optimizer {
  if (!(maxNorm > 0)) throw new ArgumentError(`Cannot clip to a norm of ${maxNorm}: it must be more than 0`);
  return {
    init: () => null,
    update<P>(grads: P, state: OptimizerState): [P, OptimizerState] {
      return scope(() => {
        const scale = min(div(maxNorm, add(globalNorm(grads), 1e-6)), 1); // [] f32
        // in f32: the scale of long f16 gradients may be too small for f16
        return [map((grad: Tensor) => cast(mul(cast(grad, "f32"), scale), grad.dtype), grads), state];
      });
    },
  };
}
