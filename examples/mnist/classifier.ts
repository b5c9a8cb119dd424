/**
 * A classifier of digits for other examples to measure with: the one that `examples/mnist.ts` saved, or a quickly trained
 * one.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import { accuracy } from "../../train/metrics.ts";
import * as cnn from "../../models/cnn.ts";
import type { Digits } from "../kit/mnist.ts";
import { CNN, loadNetwork, NETWORKS } from "./networks.ts";
import { countSteps, makeReader, RECIPE, train } from "./training.ts";

/** A trained classifier, as plain data. */
export interface Classifier {
  readonly params: cnn.CnnParams;
  readonly state: cnn.CnnState;
  /** Part of the 10,000 test images that it labels right. */
  readonly accuracy: number;
}

/** Where `examples/mnist.ts` leaves its weights. */
export const MODEL_PATH = "runs/mnist/model.safetensors";

/** Reads the classifier saved at `path`; null where there is no such file, or it holds a residual network. */
export async function loadClassifier(path: string = MODEL_PATH): Promise<Classifier | null> {
  try {
    const { network, model, accuracy } = await loadNetwork(path);
    return network === "cnn" ? { ...model as cnn.Cnn, accuracy } : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Where a classifier comes from. */
export interface ObtainOptions {
  readonly mnist: { readonly training: Digits; readonly test: Digits };
  /** A saved one; `MODEL_PATH` by default. */
  readonly path?: string;
  /** Of a training, where there is no saved one. */
  readonly seed?: number;
  /** Called as it trains, with the part that is done, from 0 to 1. */
  readonly onProgress?: (part: number) => void;
}

/** Loads the classifier, or trains one for a single epoch (which is not saved). */
export async function obtainClassifier({ mnist, path, seed = 0, onProgress }: ObtainOptions): Promise<Classifier> {
  const saved = await loadClassifier(path);
  if (saved) return saved;
  const network = NETWORKS.cnn, recipe = { ...RECIPE, epochs: 1, seed };
  const steps = countSteps(mnist.training, recipe);
  let done = 0;
  onProgress?.(0);
  const model = await train(network, mnist.training, recipe, { step: () => onProgress?.(++done / steps) });
  const read = await makeReader(network, mnist.test)(model);
  return { ...model as cnn.Cnn, accuracy: accuracy(read, mnist.test.labels.data) };
}

/** What the last layer looks at: images `[N, 1, 28, 28]`, from 0 (background) to 1 -> `[N, 128]`. */
export function features({ params, state }: Classifier, images: tn.Tensor): tn.Tensor {
  return cnn.features({ params, state }, images, CNN);
}

/** The digits that it sees: images `[N, 1, 28, 28]`, from 0 (background) to 1 -> `[N]` i32. */
export function labels({ params, state }: Classifier, images: tn.Tensor): tn.Tensor {
  return tn.scope(() => tn.argmax(cnn.apply({ params, state }, images, CNN), { axis: -1 }));
}
