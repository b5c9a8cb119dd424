/**
 * Training in f16 with weights in f32 (Micikevicius et al. 2017, "Mixed Precision Training", arXiv:1710.03740).
 *
 * ```text
 *  weights f32 ──cast──> f16 ──> loss ──·scale──> backward pass in f16 ──> scaled gradients, f32
 *      ▲                                                                          │
 *      └── optimizer <── finite? : skip, and halve the scale <────── ÷ scale ─────┘
 * ```
 *
 * Small gradients would vanish in f16, whose smallest number is 6e-8. The loss is multiplied by a scale that lifts them,
 * as high as goes without overflow: it is halved when a gradient is not finite, and doubled when none was for long.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { leaves, map } from "../core/tree.ts";
import { scalar } from "../ops/create.ts";
import { add, and, cast, div, equal, mul, not, where } from "../ops/elementwise.ts";
import { max, min } from "../ops/extremum.ts";
import { valueAndGrad } from "../transforms/grad.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { allFinite } from "./precision.ts";

/** How a scale begins, moves and ends. Powers of two keep what they scale exact. */
export interface LossScaleOptions {
  /** The first scale; 65,536 by default. */
  readonly initial?: number;
  /** How much it rises or falls at once; 2 by default. */
  readonly factor?: number;
  /** How many updates in a row raise it; 2,000 by default. */
  readonly interval?: number;
  /** It does not fall further; 1 by default. */
  readonly min?: number;
  /** It does not rise further; 2²⁴ by default. */
  readonly max?: number;
}

/** The state of {@linkcode lossScaled}. */
export type LossScaleState = {
  /** What the loss is multiplied by: `[]` f32. */
  readonly scale: Tensor;
  /** Updates since the scale last changed: `[]` i32. */
  readonly streak: Tensor;
  /** Updates that were left out: `[]` i32. */
  readonly skipped: Tensor;
  /** The state of the optimizer within. */
  readonly optimizer: OptimizerState;
};

function validate({ initial, factor, interval, min, max }: Required<LossScaleOptions>): void {
  const refuse = (problem: string) => {
    throw new ArgumentError(`Cannot scale a loss ${problem}`);
  };
  if (!(min > 0 && min <= initial && initial <= max && max < Infinity)) {
    refuse(`by ${initial}, from ${min} to ${max}: it takes 0 < min <= initial <= max`);
  }
  if (!(factor > 1)) refuse(`with factor ${factor}: it must be more than 1`);
  if (!Number.isInteger(interval) || interval < 1) {
    refuse(`with interval ${interval}: it must be a whole number of at least 1`);
  }
}

/** The state as what it is; throws if another optimizer made it. */
function stateOf(action: string, state: OptimizerState): LossScaleState {
  const given = state as Partial<LossScaleState> | null;
  if (!(given?.scale instanceof Tensor)) {
    throw new ArgumentError(`Cannot ${action}: the state was not made by lossScaled`);
  }
  return given as LossScaleState;
}

/**
 * An optimizer whose gradients were scaled, as {@linkcode scaledValueAndGrad} gives them. It scales them back in f32.
 * Where one is not finite, parameters and the inner optimizer's state stay as they are (a schedule waits) and the scale
 * falls; after enough good updates it rises. It goes around everything else: around clipping, too.
 *
 * @param optimizer What updates the parameters; these should be f32.
 * @returns An optimizer with a {@linkcode LossScaleState}.
 * @throws {ArgumentError} If the options make no sense.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assert, assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * type Params = { w: tn.Tensor };
 * const inner = tn.chain(tn.clipByGlobalNorm(1), tn.adamw({ learningRate: 0.1 }));
 * const optimizer = tn.lossScaled(inner, { initial: 2 ** 10 });
 * // the weights are f32; what the loss sees of them is f16
 * const loss = (params: Params, x: tn.Tensor) => {
 *   const y = tn.mul(tn.castFloats(params, "f16").w, x); // f16
 *   return tn.mean(tn.square(tn.cast(y, "f32")));
 * };
 * const step = tn.compile((params: Params, state: tn.OptimizerState, x: tn.Tensor) => {
 *   const [value, grads] = tn.scaledValueAndGrad(loss, state)(params, x);
 *   return [value, ...optimizer.update(grads, state, params)] as const;
 * });
 *
 * const start = { w: tn.ones([3]) };
 * const x = tn.tensor([1, 2, 3], { dtype: "f16" });
 * const [value, params, state] = step(start, optimizer.init(start), x);
 * assertEquals(params.w.dtype, "f32");
 * assert(await loss(params, x).item() < await value.item());
 * assertEquals(await (state as tn.LossScaleState).skipped.item(), 0);
 * ```
 */
export function lossScaled(optimizer: Optimizer, options: LossScaleOptions = {}): Optimizer {
  const { initial = 2 ** 16, factor = 2, interval = 2000, min: least = 1, max: most = 2 ** 24 } = options;
  validate({ initial, factor, interval, min: least, max: most });
  return {
    init(params) {
      const backend = (leaves(params) as Tensor[])[0]?.backend;
      const count = () => scalar(0, "i32", backend);
      return {
        scale: scalar(initial, "f32", backend),
        streak: count(),
        skipped: count(),
        optimizer: optimizer.init(params),
      };
    },
    update<P>(grads: P, state: OptimizerState, params: P): [P, OptimizerState] {
      const { scale, streak, skipped, optimizer: inner } = stateOf("update parameters", state);
      return scope(() => {
        const finite = allFinite(grads);
        const [nextParams, nextInner] = optimizer.update(unscale(grads, scale), inner, params);
        const choose = <T>(next: T, last: T): T => map((a: Tensor, b: Tensor) => where(finite, a, b), next, last);

        const run = add(streak, 1);
        const rises = and(finite, equal(run, interval));
        const raised = where(rises, min(mul(scale, factor), most), scale);
        const next: LossScaleState = {
          scale: where(finite, raised, max(div(scale, factor), least)),
          streak: where(and(finite, not(rises)), run, 0),
          skipped: add(skipped, cast(not(finite), "i32")),
          optimizer: choose(nextInner, inner),
        };
        return [choose(nextParams, params), next];
      });
    },
  };
}

/** Gradients as they would be without the scale, in f32. */
function unscale<P>(grads: P, scale: Tensor): P {
  const factor = div(1, scale);
  return map((grad: Tensor) => mul(cast(grad, "f32"), factor), grads);
}

/** Options of {@linkcode scaledValueAndGrad}. */
export interface ScaledGradOptions<A extends unknown[]> {
  /** What differentiates; `valueAndGrad` by default. `(f) => accumulate(f, { steps: 4 })` takes a batch in parts. */
  readonly differentiate?: (f: (...args: A) => Tensor) => (...args: A) => [value: Tensor, grads: A[0]];
}

/**
 * `valueAndGrad(f)` by its first argument, for an optimizer made by {@linkcode lossScaled}: the value as it is, in f32,
 * and the gradients of the value times the scale. Let `f` end in f32 (cast logits before the loss is taken): an f16
 * loss overflows beyond 65,504, its gradient with it.
 *
 * @param f Returns a scalar.
 * @param state The optimizer's.
 * @throws {ArgumentError} If the state is another optimizer's.
 * @example
 * ```ts
 * import { lossScaled, scaledValueAndGrad, sgd, square, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const x = tensor(3), state = lossScaled(sgd(), { initial: 8 }).init(x);
 * const [value, grad] = scaledValueAndGrad(square, state)(x);
 * assertEquals([await value.item(), await grad.item()], [9, 8 * 6]);
 * ```
 */
export function scaledValueAndGrad<A extends unknown[]>(
  f: (...args: A) => Tensor,
  state: OptimizerState,
  { differentiate = (g) => valueAndGrad(g) }: ScaledGradOptions<A> = {},
): (...args: A) => [value: Tensor, grads: A[0]] {
  const { scale } = stateOf("scale a loss", state);
  const scaled = (...args: A) => scope(() => mul(cast(f(...args), "f32"), scale));
  return (...args) =>
    scope(() => {
      const [value, grads] = differentiate(scaled)(...args);
      return [div(value, scale), grads];
    });
}
