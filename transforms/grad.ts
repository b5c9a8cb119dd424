/**
 * Differentiation: gradients, products with Jacobians in both directions.
 *
 * @module
 */
import { onesLike, zeros, zerosLike } from "../ops/create.ts";
import { isFloat } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { flatFunction, tensorsOf, vjpFlat } from "./pullback.ts";
import { bind, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { sameShape, show } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";

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
    return rebuild(
      grads.map((grad, i) => floats[i] ? grad : zeros(xs[i].shape, { dtype: "f32", backend: xs[i].backend.name })),
    ) as A;
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
 * @param f A function of trees of float tensors.
 * @param primals Its arguments.
 * @param tangents A direction for each of their tensors, of the same shape.
 * @returns `f(...primals)` and its directional derivative along `tangents`.
 * @throws {ArgumentError} If there is not one tangent for each tensor.
 * @throws {ShapeError} If a tangent has not its tensor's shape.
 * @throws {DTypeError} If a tensor is not f32 or f16.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const [y, dy] = tn.jvp(tn.square, [tn.tensor([3])], [tn.tensor([1])]);
 * assertEquals([await y.array(), await dy.array()], [[9], [6]]);
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

/** The same values; an op of its own, so that a traced function stays constant here when it is differentiated later. */
const stopGradientOp: Op<1, null> = { name: "stopGradient", alias: true, constant: true, infer: ([x]) => x };

/**
 * The same values, constant to every gradient.
 *
 * @param value Any tree.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const f = (x: tn.Tensor) => tn.mul(x, tn.stopGradient(x));
 * assertEquals(await tn.grad(f)(tn.tensor(3)).item(), 3); // not 6
 * ```
 */
export function stopGradient<T>(value: T): T {
  return tree.map((leaf) => leaf instanceof Tensor ? bind(stopGradientOp, [leaf], null) : leaf, value);
}
