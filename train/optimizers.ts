/**
 * Optimizers. The conventions (what `eps` is added to, where decay enters) are PyTorch's, so that a recipe carries over.
 *
 * In the formulas: x parameter, g gradient, t the number of this update, from 1.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { add, div, mul, rsqrt, sign, sqrt, square, sub } from "../ops/elementwise.ts";
import {
  biasCorrection,
  type DecayMask,
  type Optimizer,
  type OptimizerOptions,
  type Rule,
  type RuleCall,
  ruleOptimizer,
} from "./optimizer.ts";

/** Moving average: `β·a + (1 − β)·b`. */
function average(beta: number, a: Tensor, b: Tensor): Tensor {
  return add(mul(a, beta), mul(b, 1 - beta));
}

/** The gradient of the loss plus `λ/2·x²`: decay as L2 regularization. */
function regularized({ parameter, grad, weightDecay }: RuleCall<unknown>): Tensor {
  return weightDecay === 0 ? grad : add(grad, mul(parameter, weightDecay));
}

/** Decay apart from the gradient: `x·(1 − η·λ)`. */
function decayed({ parameter, weightDecay, scalars: [learningRate] }: RuleCall<unknown>): Tensor {
  return weightDecay === 0 ? parameter : sub(parameter, mul(mul(parameter, weightDecay), learningRate));
}

const everything: DecayMask = () => true;

function requireRange(optimizer: string, values: Record<string, number>, below = Infinity): void {
  for (const [name, value] of Object.entries(values)) {
    if (!(value >= 0 && value < below)) {
      const range = below === Infinity ? "at least 0" : `at least 0 and less than ${below}`;
      throw new ArgumentError(`Cannot make ${optimizer} with ${name} ${value}: it must be ${range}`);
    }
  }
}

/** Options of {@linkcode sgd}. */
export interface SgdOptions extends OptimizerOptions {
  /** How much of the last step carries over; 0 keeps no state. */
  readonly momentum?: number;
  /** Look ahead: step along the gradient plus the new momentum. */
  readonly nesterov?: boolean;
}

const plainSgd = ruleOptimizer<null>({
  name: "sgd",
  slots: [],
  update: (call) => [sub(call.parameter, mul(call.scalars[0], regularized(call)))],
});

const momentumSgd = ruleOptimizer<{ readonly momentum: number; readonly nesterov: boolean }>({
  name: "momentumSgd",
  slots: ["momentum"],
  update(call) {
    const { parameter, scalars: [learningRate], slots: [last], attrs: { momentum, nesterov } } = call;
    const grad = regularized(call);
    const velocity = add(mul(last, momentum), grad); // v = µ·v + g
    const direction = nesterov ? add(grad, mul(velocity, momentum)) : velocity;
    return [sub(parameter, mul(learningRate, direction)), velocity];
  },
});

/**
 * Stochastic gradient descent, optionally with momentum: `v = µ·v + g`, `x −= η·v`.
 *
 * @throws {ArgumentError} If `nesterov` is asked for without momentum.
 * @see https://proceedings.mlr.press/v28/sutskever13.html
 * @example
 * ```ts
 * import { sgd, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = sgd({ learningRate: 0.5, momentum: 0.9 });
 * const params = [tensor([1, 2])];
 * const [next] = optimizer.update([tensor([2, 4])], optimizer.init(params), params);
 * assertEquals(await next[0].array(), [0, 0]);
 * ```
 */
export function sgd(
  { learningRate = 1e-2, momentum = 0, nesterov = false, weightDecay = 0, decayMask = everything }: SgdOptions = {},
): Optimizer {
  requireRange("sgd", { momentum, weightDecay });
  if (nesterov && momentum === 0) {
    throw new ArgumentError("Cannot make sgd with nesterov: it looks ahead along the momentum, which is 0");
  }
  const options = { learningRate, weightDecay, decayMask };
  return momentum === 0 ? plainSgd(null, options) : momentumSgd({ momentum, nesterov }, options);
}

/** Options of {@linkcode adam} and {@linkcode adamw}. */
export interface AdamOptions extends OptimizerOptions {
  /** Decay rates of the averages of the gradient and of its square. */
  readonly betas?: readonly [number, number];
  /** Keeps the divisor away from zero. */
  readonly eps?: number;
}

interface AdamAttrs {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** `decoupled`: decay apart from the gradient (AdamW) instead of inside it (Adam). */
function adamRule(name: string, decoupled: boolean): Rule<AdamAttrs> {
  return {
    name,
    slots: ["mean", "square"],
    scalars: (learningRate, step, { beta1, beta2 }) => [
      learningRate,
      div(learningRate, biasCorrection(beta1, step)), // η/(1 − β₁ᵗ)
      rsqrt(biasCorrection(beta2, step)), // 1/√(1 − β₂ᵗ)
    ],
    update(call) {
      const { scalars: [, rate, scale], slots, attrs: { beta1, beta2, eps } } = call;
      const grad = decoupled ? call.grad : regularized(call);
      const mean = average(beta1, slots[0], grad); // m = β₁·m + (1 − β₁)·g
      const second = average(beta2, slots[1], square(grad)); // v = β₂·v + (1 − β₂)·g²
      const step = div(mul(rate, mean), add(mul(sqrt(second), scale), eps));
      return [sub(decoupled ? decayed(call) : call.parameter, step), mean, second];
    },
  };
}

const adamOf = ruleOptimizer(adamRule("adam", false));
const adamwOf = ruleOptimizer(adamRule("adamw", true));

/**
 * Adam: steps along the averaged gradient, in units of its root mean square. `weightDecay` is L2 regularization.
 *
 * @see https://arxiv.org/abs/1412.6980
 * @example
 * ```ts
 * import { adam, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = adam({ learningRate: 0.1 });
 * const params = { weight: tensor(1) };
 * const [next] = optimizer.update({ weight: tensor(1000) }, optimizer.init(params), params);
 * assertAlmostEquals(await next.weight.item(), 0.9, 1e-6); // the first step is as long as the learning rate
 * ```
 */
export function adam(
  { learningRate = 1e-3, betas: [beta1, beta2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0, decayMask = everything }:
    AdamOptions = {},
): Optimizer {
  requireRange("adam", { beta1, beta2 }, 1);
  requireRange("adam", { eps, weightDecay });
  return adamOf({ beta1, beta2, eps }, { learningRate, weightDecay, decayMask });
}

/**
 * Adam with decoupled weight decay: `x −= η·λ·x` besides the step of {@linkcode adam}.
 *
 * @see https://arxiv.org/abs/1711.05101
 * @example
 * ```ts
 * import { adamw, ones, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = adamw({ learningRate: 0.5, weightDecay: 0.5, decayMask: (parameter) => parameter.rank > 1 });
 * const params = { weight: ones([1, 1]), bias: ones([1]) };
 * const grads = { weight: ones([1, 1]), bias: ones([1]) };
 * const [next] = optimizer.update(grads, optimizer.init(params), params);
 * assertAlmostEquals(await next.weight.item(), 0.25, 1e-6);
 * assertAlmostEquals(await next.bias.item(), 0.5, 1e-6);
 * ```
 */
export function adamw(
  { learningRate = 1e-3, betas: [beta1, beta2] = [0.9, 0.999], eps = 1e-8, weightDecay = 1e-2, decayMask = everything }:
    AdamOptions = {},
): Optimizer {
  requireRange("adamw", { beta1, beta2 }, 1);
  requireRange("adamw", { eps, weightDecay });
  return adamwOf({ beta1, beta2, eps }, { learningRate, weightDecay, decayMask });
}

/** Options of {@linkcode rmsprop}. */
export interface RmspropOptions extends OptimizerOptions {
  /** Decay rate of the average of the squared gradient. */
  readonly decay?: number;
  /** Keeps the divisor away from zero. */
  readonly eps?: number;
  /** How much of the last step carries over. */
  readonly momentum?: number;
  /** Divide by the standard deviation instead of the root mean square. */
  readonly centered?: boolean;
}

interface RmspropAttrs {
  readonly decay: number;
  readonly eps: number;
  readonly momentum: number;
}

/** Only the variants that need them keep a mean and a momentum. */
function rmspropRule(centered: boolean, withMomentum: boolean): Rule<RmspropAttrs> {
  return {
    name: `${centered ? "centered" : ""}Rmsprop${withMomentum ? "Momentum" : ""}`,
    slots: ["square", ...(centered ? ["mean"] : []), ...(withMomentum ? ["momentum"] : [])],
    update(call) {
      const { parameter, scalars: [learningRate], slots, attrs: { decay, eps, momentum } } = call;
      const grad = regularized(call);
      const second = average(decay, slots[0], square(grad)); // v = α·v + (1 − α)·g²
      const mean = centered ? [average(decay, slots[1], grad)] : [];
      const spread = centered ? sub(second, square(mean[0])) : second;
      const direction = div(grad, add(sqrt(spread), eps));
      const velocity = withMomentum ? [add(mul(slots[slots.length - 1], momentum), direction)] : [];
      return [sub(parameter, mul(learningRate, velocity[0] ?? direction)), second, ...mean, ...velocity];
    },
  };
}

const rmspropOf = [false, true].map((centered) =>
  [false, true].map((withMomentum) => ruleOptimizer(rmspropRule(centered, withMomentum)))
);

/**
 * RMSprop: steps along the gradient in units of its root mean square, optionally with momentum.
 *
 * @see https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
 * @example
 * ```ts
 * import { rmsprop, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = rmsprop({ learningRate: 0.1, decay: 0.75 });
 * const params = [tensor(1)];
 * const [next] = optimizer.update([tensor(8)], optimizer.init(params), params);
 * assertAlmostEquals(await next[0].item(), 0.8, 1e-6); // 8 / √(0.25·64) = 2
 * ```
 */
export function rmsprop(
  {
    learningRate = 1e-2,
    decay = 0.99,
    eps = 1e-8,
    momentum = 0,
    centered = false,
    weightDecay = 0,
    decayMask = everything,
  }: RmspropOptions = {},
): Optimizer {
  requireRange("rmsprop", { decay }, 1);
  requireRange("rmsprop", { eps, momentum, weightDecay });
  const make = rmspropOf[Number(centered)][Number(momentum > 0)];
  return make({ decay, eps, momentum }, { learningRate, weightDecay, decayMask });
}

/** Options of {@linkcode adadelta}. */
export interface AdadeltaOptions extends OptimizerOptions {
  /** Decay rate of both averages. */
  readonly decay?: number;
  /** Keeps the divisor away from zero, and the first steps from being zero. */
  readonly eps?: number;
}

const adadeltaOf = ruleOptimizer<{ readonly decay: number; readonly eps: number }>({
  name: "adadelta",
  slots: ["square", "delta"],
  update(call) {
    const { parameter, scalars: [learningRate], slots: [lastSquare, lastDelta], attrs: { decay, eps } } = call;
    const grad = regularized(call);
    const second = average(decay, lastSquare, square(grad)); // v = ρ·v + (1 − ρ)·g²
    const delta = mul(div(sqrt(add(lastDelta, eps)), sqrt(add(second, eps))), grad); // δ = √(u + ε)/√(v + ε)·g
    return [sub(parameter, mul(learningRate, delta)), second, average(decay, lastDelta, square(delta))];
  },
});

/**
 * Adadelta: step lengths from the running size of earlier steps, so that no learning rate needs choosing.
 *
 * @see https://arxiv.org/abs/1212.5701
 * @example
 * ```ts
 * import { adadelta, tensor, use } from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = adadelta({ decay: 0.75, eps: 1 });
 * const params = [tensor(1)];
 * const [next] = optimizer.update([tensor(2 * Math.sqrt(3))], optimizer.init(params), params);
 * assertAlmostEquals(await next[0].item(), 1 - Math.sqrt(3), 1e-6); // √1/√(0.25·12 + 1)·2√3 = √3
 * ```
 */
export function adadelta(
  { learningRate = 1, decay = 0.9, eps = 1e-6, weightDecay = 0, decayMask = everything }: AdadeltaOptions = {},
): Optimizer {
  requireRange("adadelta", { decay }, 1);
  requireRange("adadelta", { eps, weightDecay });
  return adadeltaOf({ decay, eps }, { learningRate, weightDecay, decayMask });
}

/** Options of {@linkcode lion}. */
export interface LionOptions extends OptimizerOptions {
  /** Weight of the momentum in the direction taken, and decay rate of the momentum. */
  readonly betas?: readonly [number, number];
}

const lionOf = ruleOptimizer<{ readonly beta1: number; readonly beta2: number }>({
  name: "lion",
  slots: ["momentum"],
  update(call) {
    const { grad, scalars: [learningRate], slots: [momentum], attrs: { beta1, beta2 } } = call;
    const direction = sign(average(beta1, momentum, grad)); // sign(β₁·m + (1 − β₁)·g)
    return [sub(decayed(call), mul(learningRate, direction)), average(beta2, momentum, grad)];
  },
});

/**
 * Lion: every coordinate moves by the learning rate, along the sign of an averaged gradient; one state per parameter.
 *
 * Takes a learning rate 3 to 10 times smaller, and a weight decay as much larger, than {@linkcode adamw}.
 *
 * @see https://arxiv.org/abs/2302.06675
 * @example
 * ```ts
 * import { lion, tensor, use } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const optimizer = lion({ learningRate: 0.5 });
 * const params = [tensor([1, 1, 1])];
 * const [next] = optimizer.update([tensor([3, -0.1, 0])], optimizer.init(params), params);
 * assertEquals(await next[0].array(), [0.5, 1.5, 1]);
 * ```
 */
export function lion(
  { learningRate = 1e-4, betas: [beta1, beta2] = [0.9, 0.99], weightDecay = 0, decayMask = everything }: LionOptions =
    {},
): Optimizer {
  requireRange("lion", { beta1, beta2 }, 1);
  requireRange("lion", { weightDecay });
  return lionOf({ beta1, beta2 }, { learningRate, weightDecay, decayMask });
}
