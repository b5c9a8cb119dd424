/**
 * `vmap`: a function of one example as a function of many.
 *
 * @module
 */
import { type Batched, moveAxis, replay } from "./batching.ts";
import { currentBackend } from "../core/backend.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { activeTrace } from "../core/graph.ts";
import { tensorsOf, traceTree } from "./pullback.ts";
import { scope } from "../core/scope.ts";
import { normalizeAxis } from "../core/shape.ts";

/** Which axes count examples. */
export interface VmapOptions {
  /** Of every tensor in an argument, or `null` where it is the same for all; one for all arguments, or a list. 0 by default. */
  readonly inAxes?: number | null | readonly (number | null)[];
  /** Of every tensor in the result; 0 by default. */
  readonly outAxes?: number;
}

/**
 * `f` applied to many examples at once: a vectorizing map, without a loop.
 *
 * `f` is traced on one example, then every op runs once for all of them. It composes with the other transforms:
 * `vmap(grad(f))` gives gradients example by example.
 *
 * @param f A function of trees that sees one example; it cannot read values.
 * @param options Which axes count examples, in the arguments and in the result.
 * @returns A function of the same trees, whose tensors have one more axis.
 * @throws {ShapeError} If a tensor has no such axis, or the axes differ in size.
 * @throws {ArgumentError} If nothing is mapped.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const loss = (w: tn.Tensor, x: tn.Tensor) => tn.square(tn.sum(tn.mul(w, x)));
 * const perExample = tn.vmap(tn.grad(loss), { inAxes: [null, 0] });
 * const grads = perExample(tn.tensor([1, 1]), tn.tensor([[1, 0], [0, 2]]));
 * assertEquals(await grads.array(), [[2, 0], [0, 8]]); // one gradient a row
 * ```
 */
export function vmap<A extends unknown[], R>(
  f: (...args: A) => R,
  { inAxes = 0, outAxes = 0 }: VmapOptions = {},
): (...args: A) => R {
  return (...args) =>
    scope(() => {
      const axes = Array.isArray(inAxes) ? inAxes : args.map(() => inAxes);
      if (axes.length !== args.length) {
        throw new ArgumentError(`Cannot vmap ${args.length} arguments along ${axes.length} axes: give one for each`);
      }
      const [tensors, rebuild] = tensorsOf(args);
      const places = args.flatMap((arg, i) => tensorsOf(arg)[0].map(() => axes[i]));
      const inputs = tensors.map((tensor, i): Batched => {
        const axis = places[i];
        if (axis === null) return { tensor, batched: false };
        return { tensor: moveAxis(tensor, normalizeAxis("vmap", axis, tensor.rank), 0), batched: true };
      });
      const n = examplesOf(inputs);
      const backend = activeTrace()?.backend ?? tensors[0]?.backend ?? currentBackend();
      const specs = inputs.map(({ tensor: { shape, dtype }, batched }) => ({
        shape: batched ? shape.slice(1) : shape,
        dtype,
      }));
      const { graph, captured, finish } = traceTree(backend, specs, (xs) => f(...rebuild(xs) as A));
      const all = [...inputs, ...captured.map((tensor) => ({ tensor, batched: false }))];
      const outputs = replay(graph, all, n, backend);
      return finish(outputs.map((y) => moveAxis(y, 0, normalizeAxis("vmap", outAxes, y.rank)))) as R;
    });
}

function examplesOf(inputs: readonly Batched[]): number {
  const sizes = [...new Set(inputs.filter(({ batched }) => batched).map(({ tensor }) => tensor.shape[0]))];
  if (sizes.length === 0) throw new ArgumentError("Cannot vmap: no tensor has an axis that counts examples");
  if (sizes.length > 1) throw new ShapeError(`Cannot vmap: the axes have sizes ${sizes.join(" and ")}`);
  return sizes[0];
}
