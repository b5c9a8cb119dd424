/**
 * How good made digits are, by a classifier that never saw the GAN: does it read what was asked for, and do its features
 * of made digits spread as those of real ones do?
 *
 * The second is the Fréchet distance of Heusel et al. 2017 (arXiv:1706.08500), in the features of a classifier of digits
 * instead of those of Inception: its numbers compare with each other and with the floor, which is the distance between
 * real digits and other real digits, not with numbers from elsewhere.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as gan from "../../models/gan.ts";
import { frechetDistance, type Gaussian, gaussianOf } from "../../train/metrics.ts";
import { batches, count as countOf, type HostArray, slice, toFloat } from "../../train/data.ts";
import type { Digits } from "../kit/mnist.ts";
import { type Classifier, features, labels as read } from "../mnist/classifier.ts";
import { unframe } from "./frame.ts";

/** What is thought of a generator. */
export interface Verdict {
  /** Distance of the made digits to the real test digits. */
  readonly distance: number;
  /** How many of the ten digits are read among them. */
  readonly digits: number;
  /** Part of them, of as many of each digit, that is read as it was asked for; there if anything can be asked for. */
  readonly agreement?: number;
}

/** Judges generators. */
export interface Judge {
  /** The distance of real training digits, as many as are made, to the real test digits. */
  readonly floor: number;
  /** The same latents every time. */
  judge(generator: gan.Generator): Promise<Verdict>;
}

/** What is judged by. */
export interface JudgeOptions {
  readonly classifier: Classifier;
  readonly config: gan.GanConfig;
  readonly mnist: { readonly training: Digits; readonly test: Digits };
  /** Chooses the latents. */
  readonly key: tn.Key;
  /** How many digits are made for the distance. */
  readonly count: number;
}

/** How many digits are read. */
const ASKED = 1000;
/** Digits that go through the classifier at once. */
const CHUNK = 500;

/** Looks at the real digits, which takes a few seconds. */
export async function makeJudge({ classifier, config, mnist, key, count }: JudgeOptions): Promise<Judge> {
  const test = await gaussianOfReal(classifier, mnist.test);
  const training = await gaussianOfReal(classifier, slice(mnist.training, { end: count }));
  const size = Math.min(CHUNK, count), keys = tn.split(key, Math.ceil(count / size));
  const asked = Int32Array.from({ length: size }, (_, i) => i % 10), labels = tn.tensor(asked);
  const look = tn.compile((classifier: Classifier, generator: gan.Generator, key: tn.Key, labels: tn.Tensor) => {
    const latent = tn.normal(key, [size, config.latent]);
    const made = gan.sample(generator, { latent, ...(config.classes && { labels }) }, config);
    const images = tn.mul(tn.add(unframe(made, config), 1), 0.5); // [-1, 1] -> [0, 1]
    return [features(classifier, images), read(classifier, images)] as const;
  });
  return {
    floor: frechetDistance(training, test),
    async judge(generator) {
      const seen: Numbers[] = [], digits: number[] = [];
      for (const chunkKey of keys) {
        const [feature, digit] = look(classifier, generator, chunkKey, labels);
        seen.push(await feature.data());
        digits.push(...await digit.data());
        for (const tensor of [feature, digit]) tensor.dispose();
      }
      const some = digits.slice(0, ASKED), right = some.filter((digit, i) => digit === asked[i % size]).length;
      return {
        distance: frechetDistance(gaussian(seen, size), test),
        digits: new Set(some).size,
        ...(config.classes && { agreement: right / some.length }),
      };
    },
  };
}

type Numbers = ArrayLike<number>;

async function gaussianOfReal(classifier: Classifier, { images }: Digits): Promise<Gaussian> {
  const look = tn.compile((classifier: Classifier, images: tn.Tensor) => features(classifier, images));
  const size = Math.min(CHUNK, countOf({ images })), seen: Numbers[] = [];
  const map = ({ images }: { images: HostArray }) => ({ images: toFloat(images, { scale: 1 / 255 }) });
  for await (using batch of batches({ images }, { size, dropLast: true, map })) {
    using feature = look(classifier, batch.images); // [size, D]
    seen.push(await feature.data());
  }
  return gaussian(seen, size);
}

/** Of features in parts, each `[size, D]`. */
function gaussian(parts: readonly Numbers[], size: number): Gaussian {
  const length = parts[0].length, all = new Float32Array(parts.length * length);
  parts.forEach((part, i) => all.set(part, i * length));
  return gaussianOf(all, { dimensions: length / size });
}
