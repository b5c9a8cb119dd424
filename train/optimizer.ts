/**
 * What an optimizer is, how links are chained, and how one is made from the rule for a single parameter.
 *
 * ```text
 *  grads ──> clipByGlobalNorm ──> ... ──> adamw ──> new params
 *               (link)                 (optimizer)
 * ```
 *
 * Everything is a pure function over pytrees, and what changes from step to step (the count, the moments) lives in the
 * state as tensors, so that a whole update can be traced by `compile`.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { bindAll, type Op } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { describe, flatten, leaves, map, names, type Structure, unflatten } from "../core/tree.ts";
import { scalar, zeros } from "../ops/create.ts";
import { add, cast, expm1, mul, neg } from "../ops/elementwise.ts";
import type { Schedule } from "./schedules.ts";

/** A pytree of tensors: the memory of a link. What is in it is the link's own business. */
export type OptimizerState = null | readonly OptimizerState[] | { readonly [name: string]: unknown };

/**
 * A step on the way from gradients to new parameters. A link rewrites the gradients; an optimizer, the last link,
 * turns them into new parameters. Neither changes what it is given.
 */
export interface Optimizer {
  /** The state before the first update. */
  init(params: unknown): OptimizerState;
  /** What replaces `grads` (new gradients from a link, new parameters from an optimizer), and the next state. */
  update<P>(grads: P, state: OptimizerState, params: P): [next: P, state: OptimizerState];
}

/**
 * Links in a row: each gets the gradients that the one before it made; the last one is the optimizer.
 *
 * @example
 * ```ts
 * import { adamw, chain, clipByGlobalNorm, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = chain(clipByGlobalNorm(1), adamw({ learningRate: 0.25, weightDecay: 0 }));
 * let params = { weight: tensor(1) }, state = optimizer.init(params);
 * for (let i = 0; i < 2; i++) [params, state] = optimizer.update({ weight: tensor(3) }, state, params);
 * assertAlmostEquals(await params.weight.item(), 0.5, 1e-6);
 * ```
 */
export function chain(...links: readonly Optimizer[]): Optimizer {
  return {
    init: (params) => links.map((link) => link.init(params)),
    update<P>(grads: P, state: OptimizerState, params: P): [P, OptimizerState] {
      const states = state as readonly OptimizerState[];
      if (!Array.isArray(state) || states.length !== links.length) {
        throw new ArgumentError(
          `Cannot update a chain of ${links.length} links: the state was made by another optimizer`,
        );
      }
      return scope(() => {
        let next = grads;
        const nextStates = links.map((link, i) => {
          const [rewritten, linkState] = link.update(next, states[i], params);
          next = rewritten;
          return linkState;
        });
        return [next, nextStates];
      });
    },
  };
}

/** Which parameters weight decay applies to: by the parameter itself or by its dotted name (`blocks.0.mlp.up.weight`). */
export type DecayMask = (parameter: Tensor, name: string) => boolean;

/** What the rule for one parameter is given; everything is f32. */
export interface RuleCall<A> {
  /** What is to be updated. */
  readonly parameter: Tensor;
  /** Of the parameter's shape. */
  readonly grad: Tensor;
  /** The state that belongs to this parameter, in the order of `slots`. */
  readonly slots: readonly Tensor[];
  /** What `scalars` made; the learning rate alone where there is no such function. */
  readonly scalars: readonly Tensor[];
  /** 0 where the decay mask spares the parameter. */
  readonly weightDecay: number;
  /** The optimizer's own settings. */
  readonly attrs: A;
}

/** An optimizer as the update of a single parameter. */
export interface Rule<A> {
  /** Of the op that the rule becomes. */
  readonly name: string;
  /** Names of the tensors that are remembered for each parameter; they begin as zeros. */
  readonly slots: readonly string[];
  /** What all parameters share, computed once an update; `step` counts updates from 1. All are f32 scalars. */
  scalars?(learningRate: Tensor, step: Tensor, attrs: A): readonly Tensor[];
  /** The new parameter, then the new slots. */
  update(call: RuleCall<A>): readonly Tensor[];
}

/** What every optimizer takes. */
export interface OptimizerOptions {
  /** Size of a step, or a schedule of sizes. */
  readonly learningRate?: number | Schedule;
  /** How strongly parameters are pulled to zero. */
  readonly weightDecay?: number;
  /** Which parameters decay; all by default. `(parameter) => parameter.rank > 1` spares biases and norms. */
  readonly decayMask?: DecayMask;
}

interface RuleAttrs<A> {
  readonly weightDecay: number;
  readonly attrs: A;
}

/**
 * The rule as an op: inputs `[parameter, grad, ...slots, ...scalars]`, outputs `[parameter, ...slots]`.
 * On a backend that fuses, the update of a parameter is therefore one kernel, in eager mode too.
 */
function ruleOp<A>(rule: Rule<A>): Op<number, RuleAttrs<A>, number> {
  return {
    name: rule.name,
    infer: ([parameter, , ...rest]) => [parameter, ...rest.slice(0, rule.slots.length)],
    body([parameter, grad, ...rest], attrs) {
      const [next, ...slots] = rule.update({
        parameter: cast(parameter, "f32"),
        grad: cast(grad, "f32"),
        slots: rest.slice(0, rule.slots.length),
        scalars: rest.slice(rule.slots.length),
        ...attrs,
      });
      return [cast(next, parameter.dtype), ...slots];
    },
  };
}

/** The leaves of `tree`, which must be shaped like the parameters. */
function leavesLike(structure: Structure, tree: unknown, what: string): Tensor[] {
  const [found, own] = flatten(tree);
  if (describe(own) !== describe(structure)) {
    throw new ArgumentError(
      `Cannot update parameters ${describe(structure)} with ${what} ${describe(own)}: the trees differ`,
    );
  }
  return found as Tensor[];
}

/** An optimizer from its rule. State: `{ step, [slot]: tree like the parameters }`; slots are f32 for every dtype. */
export function ruleOptimizer<A>(rule: Rule<A>): (attrs: A, options: Required<OptimizerOptions>) => Optimizer {
  const op = ruleOp(rule);
  return (attrs, { learningRate, weightDecay, decayMask }) => ({
    init(params) {
      const slot = () => map(({ shape, backend }: Tensor) => zeros(shape, { backend: backend.name }), params);
      const [first] = leaves(params) as Tensor[];
      const step = zeros([], { dtype: "i32", backend: first?.backend.name });
      return { step, ...Object.fromEntries(rule.slots.map((name) => [name, slot()])) };
    },
    update<P>(grads: P, state: OptimizerState, params: P): [P, OptimizerState] {
      const [parameters, structure] = flatten(params) as [Tensor[], Structure];
      const { step, ...trees } = state as { step: Tensor } & Record<string, unknown>;
      const gradients = leavesLike(structure, grads, "gradients");
      const slots = rule.slots.map((name) => leavesLike(structure, trees[name], `the state "${name}"`));

      return scope(() => {
        const rate = typeof learningRate === "number" ? scalar(learningRate, "f32", step.backend) : learningRate(step);
        const nextStep = add(step, 1);
        const scalars = rule.scalars?.(rate, cast(nextStep, "f32"), attrs) ?? [rate];
        const paths = names(params);
        const results = parameters.map((parameter, i) => {
          const own = { attrs, weightDecay: decayMask(parameter, paths[i]) ? weightDecay : 0 };
          return bindAll(op, [parameter, gradients[i], ...slots.map((slot) => slot[i]), ...scalars], own);
        });

        const collect = (k: number) => unflatten(structure, results.map((outputs) => outputs[k]));
        const nextSlots = rule.slots.map((name, k) => [name, collect(k + 1)]);
        return [collect(0) as P, { step: nextStep, ...Object.fromEntries(nextSlots) }];
      });
    },
  });
}

/** How much of its limit a moving average that began at zero has reached: `1 − βᵗ`, as `−expm1(t·ln β)`. */
export function biasCorrection(beta: number, step: Tensor): Tensor {
  return neg(expm1(mul(step, Math.log(beta))));
}
