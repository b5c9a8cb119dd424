/**
 * How a network learns to read digits, and how well it does.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import { batches, type Random, randomShift, stepsPerEpoch, toFloat } from "../../train/data.ts";
import { type Course, newCourse, walk } from "../kit/course.ts";
import type { Digits } from "../kit/mnist.ts";
import type { Batch, Model, Network } from "./networks.ts";

/** How to train. */
export interface Recipe {
  readonly epochs: number;
  /** Images in a step. */
  readonly batch: number;
  /** The highest one, in the middle of the one cycle. */
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Images are moved by up to this many pixels in each direction. */
  readonly shift: number;
  /** The same seed gives the same model. */
  readonly seed: number;
}

/** What is good for a network of this size. */
export const RECIPE: Omit<Recipe, "seed"> = {
  epochs: 8,
  batch: 128,
  learningRate: 4e-3,
  weightDecay: 0.05,
  shift: 2,
};

/** Where training begins, and who listens to it. */
export interface TrainOptions {
  /** That of a fresh model, kept nowhere, by default. */
  readonly course?: Course<Training, unknown>;
  /** After each step, with its loss. */
  step?(loss: number): void;
  /** After each epoch, and where training ends; the model is the listener's until the next step. */
  epoch?(model: Model): Promise<void>;
  /** Training ends after the step in which it is aborted. */
  readonly interrupt?: AbortSignal;
}

/** Steps of a whole training. */
export function countSteps(digits: Digits, { epochs, batch }: Recipe): number {
  return epochs * stepsPerEpoch(digits, { size: batch, dropLast: true });
}

/** Everything that a step replaces. */
export interface Training {
  readonly model: Model;
  readonly optimizer: tn.OptimizerState;
  /** For dropout. */
  readonly key: tn.Key;
}

/** A fresh model of `network` and what it takes to train it. */
export function begin(network: Network, digits: Digits, recipe: Recipe): Training {
  const [initKey, key] = tn.split(tn.key(recipe.seed)), model = network.init(initKey);
  return { model, optimizer: makeOptimizer(recipe, countSteps(digits, recipe)).init(model.params), key };
}

/** Trains a model of `network` with AdamW and one cycle of the learning rate. */
export async function train(
  network: Network,
  digits: Digits,
  recipe: Recipe,
  { course = newCourse(begin(network, digits, recipe), null), step: onStep, epoch: onEpoch, interrupt }: TrainOptions,
): Promise<Model> {
  const { epochs, batch: size, shift, seed: key } = recipe;
  const step = compileStep(network, makeOptimizer(recipe, countSteps(digits, recipe)));
  const augment = ({ images, labels }: Digits, random: Random) => ({
    images: toUnit(randomShift(images, { random, pixels: shift })),
    labels,
  });
  const { training } = await walk(course, {
    epochs,
    batches: (at) => batches(digits, { size, key, at, dropLast: true, map: augment }),
    async step(training, batch) {
      const [loss, next] = step(training, batch);
      onStep?.(await loss.item());
      loss.dispose();
      return next;
    },
    look: async ({ model }) => await onEpoch?.(model),
    interrupt,
  });
  return training.model;
}

/** Bytes as numbers from 0 to 1. */
function toUnit(images: Digits["images"]) {
  return toFloat(images, { scale: 1 / 255 });
}

/** AdamW; the rate goes up and down once, and only matrices and filters decay. */
function makeOptimizer({ learningRate: peak, weightDecay }: Recipe, steps: number): tn.Optimizer {
  return tn.adamw({
    learningRate: tn.schedules.oneCycle({ peak, steps }),
    betas: [0.9, 0.99],
    weightDecay,
    decayMask: (parameter) => parameter.rank > 1,
  });
}

function compileStep(network: Network, optimizer: tn.Optimizer) {
  const lossAndGrad = tn.valueAndGrad(network.loss, { hasAux: true });
  return tn.compile(({ model, optimizer: slots, key }: Training, batch: Batch) => {
    const [nextKey, dropoutKey] = tn.split(key);
    const [[loss, state], grads] = lossAndGrad(model.params, { ...batch, state: model.state, key: dropoutKey });
    const [params, nextSlots] = optimizer.update(grads, slots, model.params);
    return [loss, { model: { params, state }, optimizer: nextSlots, key: nextKey } as Training] as const;
  }, { donate: [0] });
}

/** Images in a step of an evaluation. */
const EVALUATION_BATCH = 500;

/** A function that reads all `digits`: the label that a model gives to each. */
export function makeReader(network: Network, digits: Digits): (model: Model) => Promise<Int32Array> {
  const read = tn.compile((model: Model, images: tn.Tensor) => tn.argmax(network.apply(model, images), { axis: -1 }));
  return async (model) => {
    const labels: number[] = [];
    const inOrder = batches(digits, {
      size: EVALUATION_BATCH,
      map: ({ images, labels }) => ({ images: toUnit(images), labels }),
    });
    for await (using batch of inOrder) {
      using part = read(model, batch.images);
      labels.push(...await part.data());
    }
    return Int32Array.from(labels);
  };
}
