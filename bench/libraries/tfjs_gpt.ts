/**
 * The GPT's training step in TensorFlow.js: as one would write it, and tuned.
 *
 * @module
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import type { GptWorkload } from "../workloads.ts";
import { type Job, modelParameters, stepJob, textBatches } from "./library.ts";
import { type MatMul, opsOf, swap } from "./tfjs_gradients.ts";

type Params = Readonly<Record<string, tf.Variable>>;

/** A batch, with the tokens as one-hot rows: the gradient of `gather` has no kernel on WASM. */
interface Batch {
  readonly tokens: tf.Tensor2D; // [B·T, V]
  readonly targets: tf.Tensor2D; // [B·T, V]
}

/** Training steps with `tf.train.adam`; clipping and decay, which it lacks, around it. */
export function gptJob(workload: GptWorkload): Job {
  const { vocabSize, learningRate, betas, eps, weightDecay, clip } = workload;
  const params: Params = modelParameters(
    workload,
    ({ data, shape }, name) => tf.variable(tf.tensor(data, [...shape]), true, name),
  );
  const oneHot = (ids: Int32Array) =>
    tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(ids, "int32"), vocabSize), "float32") as tf.Tensor2D);
  const batches = textBatches(workload).map(({ tokens, targets }): Batch => ({
    tokens: oneHot(tokens.data),
    targets: oneHot(targets.data),
  }));
  const optimizer = tf.train.adam(learningRate, ...betas, eps);
  const step = async (number: number) => {
    const batch = batches[number % batches.length];
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => gptLoss(workload, params, batch));
      const norm = tf.sqrt(tf.addN(Object.values(grads).map((grad) => tf.sum(tf.square(grad)))));
      const shrink = tf.minimum(tf.div(clip, tf.add(norm, 1e-6)), 1);
      for (const [name, param] of Object.entries(params)) {
        grads[name] = tf.mul(grads[name], shrink);
        if (param.rank > 1) param.assign(tf.mul(param, 1 - learningRate * weightDecay));
      }
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      return value;
    });
    const [value] = await loss.data();
    loss.dispose();
    return [value];
  };
  return stepJob(step, () => {
    optimizer.dispose();
    tf.dispose([params, batches] as unknown as tf.TensorContainer);
  });
}

function layerNorm(x: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale);
}

function gelu(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}

function gptLoss(workload: GptWorkload, params: Params, { tokens, targets }: Batch): tf.Scalar {
  const { matMul } = opsOf(workload.style);
  const matMulSwapped: MatMul = workload.style === "tuned"
    ? (a, b) => matMul(a, swap(b))
    : (a, b) => tf.matMul(a, b, false, true);
  const { batch: B, context: T, channels: C, heads: H, layers } = workload;
  const future = tf.linalg.bandPart(tf.fill([T, T], -1e9), 0, -1); // [T, T]
  const mask = tf.sub(future, tf.linalg.bandPart(future, 0, 0)) as tf.Tensor2D; // 0 where one may look
  const embedded = tf.reshape(matMul(tokens, params.token), [B, T, C]);
  let x = tf.reshape(tf.add(embedded, params.position), [B * T, C]);
  for (let i = 0; i < layers; i++) {
    const own = (name: string) => params[`blocks.${i}.${name}`];
    const qkv = matMul(layerNorm(x, own("norm1")), own("qkv")); // [B·T, 3·C]
    const [q, k, v] = tf.split(qkv, 3, 1).map((part) => tf.transpose(tf.reshape(part, [B, T, H, C / H]), [0, 2, 1, 3]));
    const scores = tf.add(tf.mul(matMulSwapped(q, k), 1 / Math.sqrt(C / H)), mask); // [B, H, T, T]
    const attended = tf.transpose(matMul(tf.softmax(scores), v), [0, 2, 1, 3]); // [B, T, H, C / H]
    x = tf.add(x, matMul(tf.reshape(attended, [B * T, C]), own("out")));
    x = tf.add(x, matMul(gelu(matMul(layerNorm(x, own("norm2")), own("up"))), own("down")));
  }
  const logits = matMulSwapped(layerNorm(x, params.norm), params.token); // [B·T, V]
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), targets), -1))) as tf.Scalar;
}
