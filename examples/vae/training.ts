/**
 * How a VAE learns from images of bytes, and how well it does on others.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as vae from "../../models/vae.ts";
import { batches, count, stepsPerEpoch } from "../../train/data.ts";
import type { Digits } from "../kit/mnist.ts";
import { openCourse, walk } from "../kit/course.ts";
import type { Flags, VaeRun } from "./flags.ts";

/** Everything that a training step replaces. */
interface Training {
  readonly params: vae.VaeParams;
  readonly state: tn.OptimizerState;
  /** For pixels and noise. */
  readonly key: tn.Key;
}

/** What to learn, and how. */
export interface Job {
  readonly run: VaeRun;
  readonly folder: string;
  /** Which of the run's trainings it is, if it is not the main one. */
  readonly part?: string;
  readonly config: vae.VaeConfig;
  readonly training: Digits;
  readonly test: Digits;
  readonly epochs: number;
  /** Draws with a model: before the first step, after 8, 16, 32, ... steps, and after the last. */
  readonly draw?: (params: vae.VaeParams) => Promise<number[]>;
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
  readonly losses: number[];
  /** Steps done, and the figures after them. */
  readonly tests: [step: number, figures: Figures][];
  /** What was drawn on the way. */
  readonly drawn: number[][];
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
  { config, test, run: { flags } }: Pick<Job, "config" | "test" | "run">,
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
function makeStep({ config, run: { flags: { learningRate: peak, binarize: how } } }: Job, steps: number) {
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

/** Trains a model. */
export async function train(job: Job): Promise<{ params: vae.VaeParams; history: History }> {
  const { run, folder, part, config, training: { images }, epochs, draw } = job, { flags, screen, interrupt } = run;
  const size = Math.min(flags.batch, count({ images }));
  const perEpoch = stepsPerEpoch({ images }, { size, dropLast: true }), total = epochs * perEpoch;
  const [initKey, key] = tn.split(tn.key(flags.seed));
  const { optimizer, step } = makeStep(job, total), test = makeTest(job), initial = vae.init(initKey, config);
  const fresh: Training = { params: initial, state: optimizer.init(initial), key };
  const empty: History = { losses: [], tests: [], drawn: [] };
  const course = await openCourse(run, { folder, part, training: fresh, history: empty });
  const { history, history: { losses, tests, drawn } } = course;
  const progress = screen.progress({ total, start: losses.length, interrupt });
  const record = async (params: vae.VaeParams) => {
    if (draw) drawn.push(await draw(params));
  };
  const look = async ({ params }: Training) => {
    const own = losses.slice(tests.at(-1)?.[0] ?? 0), loss = own.reduce((sum, loss) => sum + loss, 0) / own.length;
    const figures = await test(params);
    tests.push([losses.length, figures]);
    const shown = { loss: own.length > 0 ? loss.toFixed(2) : undefined, test: `${figures.bound.toFixed(2)} nats` };
    progress.row(losses.length, shown);
  };

  if (tests.length === 0) {
    await look(course.training);
    await record(course.training.params);
  }
  const { training: { params } } = await walk(course, {
    epochs,
    batches: (at) => batches({ images }, { size, key: flags.seed, at, dropLast: true }),
    async step(training, batch) {
      const [loss, next] = step(training, batch.images);
      losses.push(await loss.item());
      loss.dispose();
      progress.update(losses.length, { loss: losses.at(-1)!.toFixed(2) });
      if (isMilestone(losses.length)) await record(next.params);
      return next;
    },
    look,
    interrupt,
  });
  await record(params);
  return { params, history };
}
