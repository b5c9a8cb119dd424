/**
 * Optimizers for jax-js, as rules for one parameter. They consume what they are given, but for the scalars.
 *
 * @module
 */
import { type Array as JaxArray, numpy as np, tree } from "npm:@jax-js/jax@0.1.25";

/** Arrays by name. */
export type Params = { [name: string]: JaxArray };

/** Parameters, and what the optimizer keeps of each. */
export type Learner = { params: Params; slots: Params[] };

/** What a rule is given; `scalars` may change from step to step. */
export interface RuleCall {
  readonly param: JaxArray;
  readonly grad: JaxArray;
  readonly slots: JaxArray[];
  readonly scalars: JaxArray[];
}

/** A step of one parameter. */
export interface Rule {
  /** Arrays kept of each parameter, zeros at first. */
  readonly slots: number;
  readonly update: (call: RuleCall) => [param: JaxArray, ...slots: JaxArray[]];
}

/** Parameters before the first step. */
export function learnerOf(params: Params, { slots }: Rule): Learner {
  const zeros = () => Object.fromEntries(Object.entries(params).map(([name, { shape }]) => [name, np.zeros(shape)]));
  return { params, slots: Array.from({ length: slots }, zeros) };
}

/** Parameters after a step. */
export function learn(rule: Rule, grads: Params, { params, slots }: Learner, scalars: JaxArray[] = []): Learner {
  const next: Learner = { params: {}, slots: slots.map(() => ({})) };
  for (const [name, param] of Object.entries(params)) {
    const call: RuleCall = { param, grad: grads[name], slots: slots.map((slot) => slot[name]), scalars };
    const [value, ...kept] = rule.update(call);
    next.params[name] = value;
    kept.forEach((slot, i) => next.slots[i][name] = slot);
  }
  tree.dispose(scalars);
  return next;
}

const average = (decay: number, a: JaxArray, b: JaxArray): JaxArray => a.mul(decay).add(b.mul(1 - decay));

/** Options of {@linkcode adam}. */
export interface AdamOptions {
  readonly learningRate: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  /** Of matrices, apart from the gradient. */
  readonly weightDecay?: number;
}

/** Adam; its scalars are the two of {@linkcode corrections}. */
export function adam({ learningRate, betas: [beta1, beta2], eps, weightDecay = 0 }: AdamOptions): Rule {
  return {
    slots: 2,
    update({ param, grad, slots, scalars: [rate, scale] }) {
      const decay = param.ndim > 1 ? 1 - learningRate * weightDecay : 1;
      const mean = average(beta1, slots[0], grad.ref), square = average(beta2, slots[1], np.square(grad));
      const change = mean.ref.mul(rate.ref).div(np.sqrt(square.ref).mul(scale.ref).add(eps));
      return [param.mul(decay).sub(change), mean, square];
    },
  };
}

/** What Adam multiplies by in update `t`, from 1: `[η/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)]`. */
export function corrections({ learningRate, betas }: AdamOptions, t: number): JaxArray {
  return np.array([learningRate / (1 - betas[0] ** t), 1 / Math.sqrt(1 - betas[1] ** t)]);
}

/** Options of {@linkcode adadelta} and {@linkcode rmsprop}. */
export interface DecayOptions {
  readonly learningRate: number;
  readonly decay: number;
  readonly eps: number;
}

/** Adadelta. */
export function adadelta({ learningRate, decay, eps }: DecayOptions): Rule {
  return {
    slots: 2,
    update({ param, grad, slots: [squares, changes] }) {
      const square = average(decay, squares, np.square(grad.ref));
      const change = np.sqrt(changes.ref.add(eps).div(square.ref.add(eps))).mul(grad);
      return [param.sub(change.ref.mul(learningRate)), square, average(decay, changes, np.square(change))];
    },
  };
}

/** RMSprop. */
export function rmsprop({ learningRate, decay, eps }: DecayOptions): Rule {
  return {
    slots: 1,
    update({ param, grad, slots: [squares] }) {
      const square = average(decay, squares, np.square(grad.ref));
      return [param.sub(grad.mul(learningRate).div(np.sqrt(square.ref).add(eps))), square];
    },
  };
}

/** Gradients, shortened to `maxNorm` where all together are longer. */
export function clip(grads: Params, maxNorm: number): Params {
  const squares = Object.values(grads).map((grad) => np.square(grad.ref).sum());
  const norm = np.sqrt(squares.reduce((total, next) => total.add(next)));
  const shrink = np.minimum(np.reciprocal(norm.add(1e-6)).mul(maxNorm), 1);
  const clipped = Object.fromEntries(Object.entries(grads).map(([name, grad]) => [name, grad.mul(shrink.ref)]));
  shrink.dispose();
  return clipped;
}
