/**
 * TensorFlow.js. Images lie as it wants them (NHWC, HWIO); moving them there is not timed.
 *
 * @module
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import "npm:@tensorflow/tfjs-backend-wasm@4.22.0";
import "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import type { OpName, OpWorkload, Workload } from "../workloads.ts";
import { type Job, type Library, type LibraryOptions, opInputs } from "./library.ts";
import { decodeJob } from "./tfjs_decode.ts";
import { gptJob } from "./tfjs_gpt.ts";
import { cnnJob, dcganJob, lstmJob } from "./tfjs_models.ts";

const ops: Readonly<Record<OpName, (...inputs: tf.Tensor[]) => tf.Tensor>> = {
  matmul: (a, b) => tf.matMul(a, b),
  conv: (x, w) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, "same"),
  softmax: (x) => tf.softmax(x),
  layerNorm(x, scale, shift) {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale), shift);
  },
  gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  exp: (x) => tf.exp(x),
  add: (a, b) => tf.add(a, b),
  sum: (x) => tf.sum(x, 1),
  maxPool: (x) => tf.maxPool(x as tf.Tensor4D, 2, 2, "valid"),
};

/** Makes a backend of TensorFlow.js the one in use. Its WASM backend runs one thread outside browsers. */
export async function openTfjs({ backend }: LibraryOptions): Promise<Library> {
  const choose = async () => {
    if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no ${backend} here`);
  };
  await choose();
  return {
    description: tf.version["tfjs-core"],
    async prepare(workload) {
      await choose();
      return jobOf(workload);
    },
  };
}

function jobOf(workload: Workload): Job {
  switch (workload.kind) {
    case "op":
      return opJob(workload);
    case "gpt":
      return gptJob(workload);
    case "cnn":
      return cnnJob(workload);
    case "lstm":
      return lstmJob(workload);
    case "dcgan":
      return dcganJob(workload);
    case "decode":
      return decodeJob(workload);
  }
}

function opJob(workload: OpWorkload): Job {
  const isImage = ["conv", "maxPool"].includes(workload.op), f = ops[workload.op];
  const inputs = opInputs(workload).map(({ data, shape }, i) => {
    const input = tf.tensor(data, [...shape]);
    return isImage ? tf.transpose(input, i === 0 ? [0, 2, 3, 1] : [2, 3, 1, 0]) : input;
  });
  return {
    async values() {
      const y = tf.tidy(() => isImage ? tf.transpose(f(...inputs), [0, 3, 1, 2]) : f(...inputs));
      const values = await y.data();
      y.dispose();
      return values;
    },
    async run() {
      const [y, first] = tf.tidy(() => {
        const y = f(...inputs);
        return [y, tf.slice(tf.reshape(y, [-1]), 0, 1)];
      });
      await first.data(); // one element: everything before it has run
      tf.dispose([y, first]);
    },
    dispose: () => tf.dispose(inputs),
  };
}
