/**
 * Trees of parameters in another precision.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { scope } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { leaves, map } from "../core/tree.ts";
import { and, cast, isFinite } from "../ops/elementwise.ts";
import { all } from "../ops/reduce.ts";

/**
 * The tree with every float tensor as `dtype`; all other leaves stay as they are. Differentiable: what a function of the
 * copy costs is pulled back to the tree in the tree's own precision, so f32 weights can be trained through f16 ones.
 *
 * @example
 * ```ts
 * import { castFloats, grad, square, sum, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const params = { weight: tensor([1.5, 2]), rows: tensor([3], { dtype: "i32" }) };
 * const half = castFloats(params, "f16");
 * assertEquals([half.weight.dtype, half.rows.dtype], ["f16", "i32"]);
 *
 * const loss = (weight: typeof params.weight) => sum(square(castFloats({ weight }, "f16").weight));
 * assertEquals(grad(loss)(params.weight).dtype, "f32");
 * ```
 */
export function castFloats<T>(tree: T, dtype: "f32" | "f16"): T {
  return map((leaf: unknown) => leaf instanceof Tensor && isFloat(leaf.dtype) ? cast(leaf, dtype) : leaf, tree);
}

/**
 * Whether no float of the tree is infinite or NaN: a bool scalar.
 *
 * @throws {ArgumentError} If there are no floats in the tree.
 * @example
 * ```ts
 * import { allFinite, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * assertEquals(await allFinite([tensor([1, 2]), { bias: tensor(Infinity) }]).item(), 0);
 * ```
 */
export function allFinite(tree: unknown): Tensor {
  const floats = leaves(tree).filter((leaf): leaf is Tensor => leaf instanceof Tensor && isFloat(leaf.dtype));
  if (floats.length === 0) throw new ArgumentError("Cannot tell whether a tree without floats is finite");
  return scope(() => floats.map((leaf) => all(isFinite(leaf))).reduce((a, b) => and(a, b)));
}
