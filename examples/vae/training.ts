/**
 * How a VAE learns from images of bytes, and how well it does on others.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as vae from "../../models/vae.ts";
import { batches, count, stepsPerEpoch } from "../../train/data.ts";
import type { Screen } from "../../train/progress.ts";
import type { Digits } from "../kit/mnist.ts";
import { breathe } from "../kit/run.ts";
import type { Flags } from "./flags.ts";

/** Everything that a training step replaces. */
interface Training {
  readonly params: vae.VaeParams;
  readonly state: tn.OptimizerState;
  /** For pixels and noise. */
  readonly key: tn.Key;
}

/** What to learn, and how. */
export interface Job {
  readonly config: vae.VaeConfig;
  readonly training: Digits;
  readonly test: Digits;
  readonly flags: Pick<Flags, "batch" | "binarize" | "learningRate" | "seed">;
  readonly epochs: number;
  readonly screen: Screen;
  readonly interrupt: AbortSignal;
  /** Called before the first step, after 8, 16, 32, ... steps, and after the last. */
  readonly onMilestone?: (params: vae.VaeParams) => Promise<void>;
}

/** Means over the test images, in nats. */
export interface Figures {
  /** Negative evidence lower bound: the sum of the other two. */
  readonly bound: number;
  /** What it costs to tell the pixels, given the latents: `-log p(x|z)`. */
  readonly reconstruction: number;
  /** What it costs to tell the latents: the divergence. */
  readonly divergence: number;
}

/** How a training went. */
export interface History {
  /** By step. */
  readonly losses: readonly number[];
  /** Steps done, and the negative bound on the test images after them. */
  readonly tests: readonly (readonly [step: number, bound: number])[];
}

/** Bytes as pixels of 0 and 1, f32. */
export function binarize(images: tn.Tensor, how: Flags["binarize"], key: tn.Key): tn.Tensor {
  const brightness = tn.mul(tn.cast(images, "f32"), 1 / 255);
  const white = how === "sample"
    ? tn.less(tn.uniform(key, images.shape), brightness)
    : tn.greaterEqual(brightness, 0.5);
  return tn.cast(white, "f32");
}

/** Images in a step of a test. */
const TEST_BATCH = 500;

/** A function that tests a model: pixels and noise are drawn once, the same for every model and every seed. */
export function makeTest(
  { config, test, flags }: Pick<Job, "config" | "test" | "flags">,
): (params: vae.VaeParams) => Promise<Figures> {
  const measure = tn.compile((params: vae.VaeParams, images: tn.Tensor, key: tn.Key) => {
    const [pixelKey, noiseKey] = tn.split(key);
    const noise = tn.normal(noiseKey, [images.shape[0], config.latents]);
    const pixels = binarize(images, flags.binarize, pixelKey);
    const { logLikelihood, divergence } = vae.bound(params, { images: pixels, noise }, config);
    return [tn.neg(tn.sum(logLikelihood)), tn.sum(divergence)] as const;
  });
  const images = { images: test.images };
  return async (params) => {
    using first = tn.key(0).threefry;
    const keys = tn.split({ threefry: first }, stepsPerEpoch(images, { size: TEST_BATCH }));
    const sums = [0, 0];
    let step = 0;
    for await (using batch of batches(images, { size: TEST_BATCH })) {
      using key = keys[step++].threefry;
      for (const [i, sum] of measure(params, batch.images, { threefry: key }).entries()) {
        sums[i] += await sum.item();
        sum.dispose();
      }
    }
    const [reconstruction, divergence] = sums.map((sum) => sum / count(images));
    return { bound: reconstruction + divergence, reconstruction, divergence };
  };
}

/** Adam, its rate up to the peak and down again along a cosine; pixels and noise are drawn anew in every step. */
function makeStep({ config, flags: { learningRate: peak, binarize: how } }: Job, steps: number) {
  const rise = Math.ceil(steps / 10);
  const fall = tn.schedules.cosine({ from: peak, to: peak / 1000, steps: Math.max(1, steps - rise) });
  const optimizer = tn.adam({ learningRate: tn.schedules.warmUp(fall, { steps: rise }) });
  const step = tn.compile(({ params, state, key }: Training, images: tn.Tensor) => {
    const [nextKey, pixelKey, noiseKey] = tn.split(key, 3);
    const noise = tn.normal(noiseKey, [images.shape[0], config.latents]);
    const pixels = binarize(images, how, pixelKey);
    const [loss, grads] = tn.valueAndGrad(vae.loss)(params, { images: pixels, noise }, config);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return [loss, { params: nextParams, state: nextState, key: nextKey } as Training] as const;
  }, { donate: [0] });
  return { optimizer, step };
}

/** Whether it is 8, 16, 32, ...: most is learned early. */
function isMilestone(step: number): boolean {
  return step >= 8 && Number.isInteger(Math.log2(step));
}

/** Trains a new model. */
export async function train(job: Job): Promise<{ params: vae.VaeParams; figures: Figures; history: History }> {
  const { config, training: { images }, flags, epochs, screen, interrupt, onMilestone } = job;
  const size = Math.min(flags.batch, count({ images }));
  const perEpoch = stepsPerEpoch({ images }, { size, dropLast: true }), steps = epochs * perEpoch;
  const [initKey, key] = tn.split(tn.key(flags.seed));
  const { optimizer, step } = makeStep(job, steps), test = makeTest(job);
  const params = vae.init(initKey, config);
  let training: Training = { params, state: optimizer.init(params), key };

  const losses: number[] = [], tests: (readonly [number, number])[] = [];
  const progress = screen.progress({ total: steps, interrupt });
  const measure = async (loss?: number): Promise<Figures> => {
    const figures = await test(training.params);
    tests.push([losses.length, figures.bound]);
    progress.row(losses.length, { loss: loss?.toFixed(2), test: `${figures.bound.toFixed(2)} nats` });
    return figures;
  };

  let figures = await measure();
  await onMilestone?.(training.params);
  for (let epoch = 0; epoch < epochs && !interrupt.aborted; epoch++) {
    const at = { epoch, step: 0 };
    for await (using batch of batches({ images }, { size, key: flags.seed, at, dropLast: true })) {
      const [loss, next] = step(training, batch.images);
      training = next;
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, { loss: losses.at(-1)!.toFixed(2) });
      if (isMilestone(losses.length)) await onMilestone?.(training.params);
      await breathe();
      if (interrupt.aborted) break;
    }
    const own = losses.slice(epoch * perEpoch);
    figures = await measure(own.reduce((sum, loss) => sum + loss, 0) / own.length);
  }
  await onMilestone?.(training.params);
  return { params: training.params, figures, history: { losses, tests } };
}
