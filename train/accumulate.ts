/**
 * The gradients of a batch that is too big for memory, part by part.
 *
 * ```text
 *  batch [B, ...] ──cut──> [steps, B/steps, ...] ──scan──> Σ loss / steps, Σ gradients / steps
 * ```
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { bind } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { show } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { leaves, map, names } from "../core/tree.ts";
import { scalar, zeros } from "../ops/create.ts";
import { add, cast, div } from "../ops/elementwise.ts";
import { reshape } from "../ops/shape.ts";
import { splitKeyOp } from "../ops/threefry.ts";
import { valueAndGrad } from "../transforms/grad.ts";
import { tensorsOf } from "../transforms/pullback.ts";
import { scan } from "../transforms/scan.ts";

/** How {@linkcode accumulate} cuts a batch. */
export interface AccumulateOptions {
  /** How many parts there are; the batch must divide evenly. */
  readonly steps: number;
}

/**
 * `valueAndGrad(f)` over equal parts of the batch, one after the other: the means of their losses and gradients, taken
 * in f32. Where `f` is a mean over examples, these are the loss and the gradients of the whole batch, for the memory of
 * one part.
 *
 * Every tensor in the batch, the second argument, is cut along its first axis; a key in it is split, so that each part
 * draws numbers of its own. All other arguments are as they are in each part.
 *
 * @param f `(params, batch, ...)`, which returns a scalar.
 * @returns A function of the same arguments, which returns `[loss, gradients]`; inside `compile` or outside.
 * @throws {ArgumentError} If `steps` is no whole number of at least 1, or there is no batch to cut.
 * @throws {ShapeError} If the batch does not divide evenly.
 * @example
 * ```ts
 * import { accumulate, matmul, mean, square, sub, tensor, use, type Tensor } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const loss = (w: Tensor, { x, y }: { x: Tensor; y: Tensor }) => mean(square(sub(matmul(x, w), y)));
 * const batch = { x: tensor([[1, 2], [3, 4], [5, 6], [7, 8]]), y: tensor([1, 2, 3, 4]) };
 * const [value, grads] = accumulate(loss, { steps: 2 })(tensor([1, 0]), batch);
 * assertEquals([await value.item(), await grads.array()], [3.5, [17, 20]]);
 * ```
 */
export function accumulate<A extends [params: unknown, batch: unknown, ...rest: unknown[]]>(
  f: (...args: A) => Tensor,
  { steps }: AccumulateOptions,
): (...args: A) => [loss: Tensor, grads: A[0]] {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new ArgumentError(`Cannot accumulate gradients over ${steps} steps: it takes a whole number of at least 1`);
  }
  const differentiate = valueAndGrad(f as (...args: unknown[]) => Tensor);
  if (steps === 1) return (...args) => differentiate(...args) as [Tensor, A[0]];
  return (...args) =>
    scope(() => {
      const [params, batch, ...rest] = args, [first] = leaves(params) as Tensor[];
      const [, rebuild] = tensorsOf(batch);
      const none = {
        loss: scalar(0, "f32", first.backend),
        grads: map(({ shape, backend }: Tensor) => zeros(shape, { backend: backend.name }), params),
      };
      const [total] = scan(
        (sum: typeof none, part: Tensor[]) => {
          const [loss, grads] = differentiate(params, rebuild(part), ...rest);
          // shares, not sums to be divided: a plain sum of products would leave the loop, and every part would be kept
          const plus = (sum: Tensor, next: Tensor) => add(sum, div(cast(next, "f32"), steps));
          return [{ loss: plus(sum.loss, loss), grads: map(plus, sum.grads, grads) }, null];
        },
        none,
        cut(batch, steps),
      );
      return [total.loss, map((sum: Tensor, { dtype }: Tensor) => cast(sum, dtype), total.grads, params)];
    });
}

/** The tensors of a batch with their first axis in two: `[steps, B/steps, ...]`; of a key, the words of new ones. */
function cut(batch: unknown, steps: number): Tensor[] {
  const paths = names(batch);
  const parts = leaves(batch).flatMap((leaf, i) => {
    if (!(leaf instanceof Tensor)) return [];
    if (isKey(paths[i], leaf)) return [bind(splitKeyOp, [leaf], { count: steps })]; // [steps, 2]
    const [examples, ...rest] = leaf.shape;
    if (leaf.rank === 0 || examples % steps !== 0) {
      throw new ShapeError(`Cannot cut "${paths[i]}" of shape ${show(leaf.shape)} into ${steps} equal parts`);
    }
    return [reshape(leaf, [steps, examples / steps, ...rest])];
  });
  if (parts.length === 0) throw new ArgumentError("Cannot accumulate gradients: the batch holds no tensors");
  return parts;
}

/** Whether a tensor is the words of a `Key`. */
function isKey(path: string, { dtype, shape }: Tensor): boolean {
  return /(^|\.)threefry$/.test(path) && dtype === "u32" && shape.length === 1 && shape[0] === 2;
}
