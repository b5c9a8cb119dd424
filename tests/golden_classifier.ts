/**
 * Holds a classifier with batch norms to PyTorch's: forward in both modes, loss, gradients, running averages, and what
 * five steps of an optimizer make of it.
 *
 * @module
 */
import * as tn from "../mod.ts";
import { assertGolden, type Packed, unpack } from "./golden.ts";

/** A tree of tensors in a golden file. */
export type PackedTree = Packed | readonly PackedTree[] | { readonly [name: string]: PackedTree };

interface PackedModel {
  readonly params: PackedTree;
  readonly state: PackedTree;
}

/** What `record` of `golden/cnn.py` writes. */
export interface GoldenClassifier<C> {
  readonly config: C;
  readonly images: Packed;
  readonly labels: Packed;
  readonly before: PackedModel;
  /** Logits of the model as it was. */
  readonly inference: Packed;
  /** Logits of the first step. */
  readonly logits: Packed;
  /** Running averages after it. */
  readonly state: PackedTree;
  /** Of the first step. */
  readonly grads: PackedTree;
  /** Of all five steps. */
  readonly losses: readonly number[];
  /** The model after them, and its logits. */
  readonly after: PackedModel & { readonly inference: Packed };
}

interface Model<P, S> {
  readonly params: P;
  readonly state: S;
}

interface Batch<S> {
  readonly images: tn.Tensor;
  readonly labels: tn.Tensor;
  readonly state: S;
}

/** What `models/cnn.ts` and `models/resnet.ts` have in common. */
export interface ClassifierModule<C, P, S> {
  apply(model: Model<P, S>, images: tn.Tensor, config: C): tn.Tensor;
  applyTraining(model: Model<P, S>, images: tn.Tensor, config: C): readonly [logits: tn.Tensor, state: S];
  loss(params: P, batch: Batch<S>, config: C): readonly [loss: tn.Tensor, state: S];
}

function isPacked(tree: PackedTree): tree is Packed {
  return "dtype" in tree && "data" in tree;
}

function unpackTree(tree: PackedTree): unknown {
  if (isPacked(tree)) return unpack(tree);
  if (Array.isArray(tree)) return tree.map(unpackTree);
  return Object.fromEntries(Object.entries(tree).map(([name, child]) => [name, unpackTree(child)]));
}

/** Float64 against float32 through a whole network, a few times over. */
const TOLERANCE = { relative: 5e-5 };

async function assertTree(what: string, actual: unknown, expected: PackedTree): Promise<void> {
  if (isPacked(expected)) return await assertGolden(what, actual as tn.Tensor, expected, TOLERANCE);
  for (const [name, child] of Object.entries(expected)) {
    await assertTree(`${what}.${name}`, (actual as Record<string, unknown>)[name], child);
  }
}

/** Throws unless the model, trained by compiled steps, does what PyTorch's does. */
export async function checkClassifier<C, P, S>(
  module: ClassifierModule<C, P, S>,
  { config, ...expected }: GoldenClassifier<C>,
  optimizer: tn.Optimizer,
): Promise<void> {
  const { apply, applyTraining, loss } = module;
  const images = unpack(expected.images), labels = unpack(expected.labels);
  const infer = tn.compile((model: Model<P, S>) => apply(model, images, config));
  const lossAndGrad = tn.valueAndGrad(loss, { hasAux: true });
  const step = tn.compile(({ params, state }: Model<P, S>, slots: tn.OptimizerState) => {
    const [logits] = applyTraining({ params, state }, images, config);
    const [[loss, nextState], grads] = lossAndGrad(params, { images, labels, state }, config);
    const [nextParams, nextSlots] = optimizer.update(grads, slots, params);
    return { loss, logits, grads, model: { params: nextParams, state: nextState }, slots: nextSlots };
  });

  let model = unpackTree({ ...expected.before }) as Model<P, S>, slots = optimizer.init(model.params);
  await assertGolden("inference", infer(model), expected.inference, TOLERANCE);
  for (const [i, wanted] of expected.losses.entries()) {
    const made = step(model, slots);
    if (i === 0) {
      await assertGolden("logits", made.logits, expected.logits, TOLERANCE);
      await assertTree("gradient", made.grads, expected.grads);
      await assertTree("state", made.model.state, expected.state);
    }
    await assertGolden(`loss ${i + 1}`, made.loss, { shape: [], dtype: "f32", data: [wanted] }, TOLERANCE);
    ({ model, slots } = made);
  }
  await assertTree("params", model.params, expected.after.params);
  await assertTree("state", model.state, expected.after.state);
  await assertGolden("inference after training", infer(model), expected.after.inference, TOLERANCE);
}
