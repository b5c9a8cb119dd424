/**
 * The two updates that take turns, each one compiled step.
 *
 * ```text
 *  latent ──> generator ──> fake ──┐
 *                                  ├──> discriminator ──> loss ──> update of the discriminator
 *                           real ──┘
 *
 *  latent ──> generator ──> fake ─────> discriminator ──> loss ──> update of the generator
 * ```
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as gan from "../../models/gan.ts";
import { frame } from "./frame.ts";
import type { Recipe } from "./recipes.ts";

/** Everything that an update of the discriminator replaces. */
export interface DiscriminatorTraining {
  readonly params: gan.DiscriminatorParams;
  readonly optimizer: tn.OptimizerState;
  /** For latents, and for the places where slopes are penalized. */
  readonly key: tn.Key;
}

/** Everything that an update of the generator replaces. */
export interface GeneratorTraining {
  readonly model: gan.Generator;
  readonly optimizer: tn.OptimizerState;
  /** For latents. */
  readonly key: tn.Key;
}

/** Digits as the networks see them. */
export interface Batch {
  /** `[B, 1, 28, 28]` in [-1, 1]. */
  readonly images: tn.Tensor;
  /** `[B]` i32. */
  readonly labels: tn.Tensor;
}

/** Both players. */
export interface Training {
  readonly discriminator: DiscriminatorTraining;
  readonly generator: GeneratorTraining;
}

/** Fresh players. */
export function begin(key: tn.Key, { config, optimizers }: Recipe): Training {
  const [initKey, discriminatorKey, generatorKey] = tn.split(key, 3);
  const { discriminator: params, generator } = gan.init(initKey, config);
  const model = { params: generator, state: gan.initState(config) };
  return {
    discriminator: { params, optimizer: optimizers.discriminator.init(params), key: discriminatorKey },
    generator: { model, optimizer: optimizers.generator.init(generator), key: generatorKey },
  };
}

/** The updates of a recipe. They take over the player that they replace. */
interface Updates {
  /** Shows the discriminator a batch of real pictures beside as many of the generator's, of the same labels. */
  discriminator(
    player: DiscriminatorTraining,
    generator: gan.GeneratorParams,
    batch: Batch,
  ): readonly [loss: tn.Tensor, next: DiscriminatorTraining];
  /** Shows the discriminator new pictures, of the batch's labels, and teaches the generator by its judgement. */
  generator(
    player: GeneratorTraining,
    discriminator: gan.DiscriminatorParams,
    batch: Batch,
  ): readonly [loss: tn.Tensor, next: GeneratorTraining];
}

/** Compiles both updates. */
function compileUpdates({ config, optimizers }: Recipe): Updates {
  const draw = (key: tn.Key, { labels }: Batch): gan.GeneratorInput => ({
    latent: tn.normal(key, [labels.shape[0], config.latent]),
    ...(config.classes && { labels }),
  });
  return {
    discriminator: tn.compile(({ params, optimizer, key }, generator, batch) => {
      const [nextKey, latentKey, mixKey] = tn.split(key, 3);
      const input = draw(latentKey, batch), fake = gan.generate(generator, input, config);
      const mix = tn.uniform(mixKey, [batch.labels.shape[0]]);
      const seen = { real: frame(batch.images, config), fake, labels: input.labels, mix };
      const [loss, grads] = tn.valueAndGrad(gan.discriminatorLoss)(params, seen, config);
      const [nextParams, nextOptimizer] = optimizers.discriminator.update(grads, optimizer, params);
      return [loss, { params: nextParams, optimizer: nextOptimizer, key: nextKey }] as const;
    }, { donate: [0] }),
    generator: tn.compile(({ model: { params, state }, optimizer, key }, discriminator, batch) => {
      const [nextKey, latentKey] = tn.split(key);
      const judged = { ...draw(latentKey, batch), discriminator, state };
      const [[loss, nextState], grads] = tn.valueAndGrad(gan.generatorLoss, { hasAux: true })(params, judged, config);
      const [nextParams, nextOptimizer] = optimizers.generator.update(grads, optimizer, params);
      return [loss, {
        model: { params: nextParams, state: nextState },
        optimizer: nextOptimizer,
        key: nextKey,
      }] as const;
    }, { donate: [0] }),
  } satisfies Updates;
}

/** What a turn cost. */
export interface Turn {
  readonly training: Training;
  /** Of the discriminator. */
  readonly loss: number;
  /** Of the generator, if it was its turn as well. */
  readonly cost?: number;
}

/**
 * A game by the rules of a recipe. Each call is a turn of the discriminator, and, after as many as the recipe says, one
 * of the generator; `turn` counts from 1.
 */
export function makeGame(recipe: Recipe): (training: Training, batch: Batch, turn: number) => Promise<Turn> {
  const updates = compileUpdates(recipe);
  return async ({ discriminator, generator }, batch, turn) => {
    const [loss, nextDiscriminator] = updates.discriminator(discriminator, generator.model.params, batch);
    const first = { training: { discriminator: nextDiscriminator, generator }, loss: await read(loss) };
    if (turn % recipe.turns !== 0) return first;
    const [cost, nextGenerator] = updates.generator(generator, nextDiscriminator.params, batch);
    return { ...first, training: { ...first.training, generator: nextGenerator }, cost: await read(cost) };
  };
}

async function read(loss: tn.Tensor): Promise<number> {
  const value = await loss.item();
  loss.dispose();
  return value;
}
