/**
 * Decoding with TensorFlow.js: keys and values grow by a row with each token.
 *
 * @module
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import type { DecodeWorkload } from "../models.ts";
import { sample } from "../values.ts";
import { cacheInputs, type Job, modelParameters, stepJob, tokenAt } from "./library.ts";

type Params = Readonly<Record<string, tf.Tensor>>;

/** Keys and values of a block, `[2·H, S, D]`. */
type Block = tf.Tensor3D;

/** The job of decoding. */
export function decodeJob(workload: DecodeWorkload): Job {
  const params = modelParameters<tf.Tensor>(workload, ({ data, shape }) => tf.tensor(data, [...shape]));
  params.unembedding = tf.transpose(params.token); // as the WASM kernel is slow to transpose
  let cache: Block[] = [];
  const step = async (number: number) => {
    const { token, position } = tokenAt(workload, number), last = cache;
    if (position === workload.filled) cache = firstCache(workload);
    const [logits, ...longer] = tf.tidy(() => decode(workload, params, cache, token, position));
    tf.dispose([last, cache]);
    cache = longer as Block[];
    const values = await logits.data();
    logits.dispose();
    return sample(values);
  };
  return stepJob(step, () => tf.dispose([params, cache] as unknown as tf.TensorContainer));
}

function firstCache(workload: DecodeWorkload): Block[] {
  return cacheInputs(workload).map(({ data, shape: [two, heads, filled, width] }) =>
    tf.tensor3d(data, [two * heads, filled, width])
  );
}

function decode(
  { heads: H, channels: C }: DecodeWorkload,
  params: Params,
  cache: readonly Block[],
  token: number,
  position: number,
): [logits: tf.Tensor, ...cache: Block[]] {
  const norm = (x: tf.Tensor, name: string) => {
    const { mean, variance } = tf.moments(x, -1, true);
    const scaled = tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), params[`${name}.scale`]);
    return tf.add(scaled, params[`${name}.shift`]);
  };
  const linear = (x: tf.Tensor, name: string) => tf.add(tf.matMul(x, params[`${name}.weight`]), params[`${name}.bias`]);
  let x = tf.add(tf.slice(params.token, [token, 0], [1, C]), tf.slice(params.position, [position, 0], [1, C])); // [1, C]
  const longer = cache.map((block, i) => {
    const own = (name: string) => `blocks.${i}.${name}`;
    const [q, news] = tf.split(tf.reshape(linear(norm(x, own("norm1")), own("qkv")), [3 * H, 1, C / H]), [H, 2 * H]);
    const grown = tf.concat([block, news as Block], 1); // [2·H, S, C / H]
    const [keys, values] = tf.split(grown, 2); // [H, S, C / H]
    const scores = tf.mul(tf.matMul(q, keys, false, true), 1 / Math.sqrt(C / H)); // [H, 1, S]
    const attended = tf.reshape(tf.matMul(tf.softmax(scores), values), [1, C]);
    x = tf.add(x, linear(attended, own("out")));
    x = tf.add(x, linear(gelu(linear(norm(x, own("norm2")), own("up"))), own("down")));
    return grown;
  });
  return [tf.matMul(norm(x, "norm"), params.unembedding), ...longer];
}

function gelu(x: tf.Tensor): tf.Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}
