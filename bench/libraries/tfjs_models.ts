/**
 * Training steps of the CNN, the LSTM and the DCGAN in TensorFlow.js: as one would write them, and tuned. Images lie as it
 * wants them.
 *
 * @module
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import type { CnnWorkload, DcganWorkload, LstmWorkload } from "../models.ts";
import type { ModelWorkload } from "../workloads.ts";
import {
  COMPARED,
  ganBatches,
  imageBatches,
  type Input,
  type Job,
  modelParameters,
  stepJob,
  textBatches,
} from "./library.ts";
import { opsOf } from "./tfjs_gradients.ts";

type Params = Readonly<Record<string, tf.Variable>>;

const tensorOf = ({ data, shape }: Input<Float32Array | Int32Array>): tf.Tensor => tf.tensor(data, [...shape]);

const imagesOf = (input: Input): tf.Tensor4D =>
  tf.tidy(() => tf.transpose(tensorOf(input) as tf.Tensor4D, [0, 2, 3, 1]));

/** Rows `[T·B, V]` with a one at each token. */
const oneHotOf = ({ data }: Input<Int32Array>, depth: number): tf.Tensor2D =>
  tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(data, "int32"), depth), "float32") as tf.Tensor2D);

/** Parameters as variables; `arrange` says how each lies. */
function variables(workload: ModelWorkload, arrange: (value: tf.Tensor, name: string) => tf.Tensor): Params {
  return modelParameters(workload, (input, name) => {
    const value = tf.tidy(() => arrange(tensorOf(input), name));
    return tf.variable(value, true, name);
  });
}

/** Features of an image, `[..., C·H·W, ...]` in the order of NCHW, in the order of NHWC. */
function reorder(x: tf.Tensor, axis: 0 | 1, channels: number): tf.Tensor {
  const sizes = x.shape as [number, number], other = sizes[1 - axis];
  const side = Math.sqrt(sizes[axis] / channels);
  return axis === 0
    ? tf.reshape(tf.transpose(tf.reshape(x, [channels, side, side, other]), [1, 2, 0, 3]), x.shape)
    : tf.reshape(tf.transpose(tf.reshape(x, [other, channels, side, side]), [0, 2, 3, 1]), x.shape);
}

const filterOf = (w: tf.Tensor): tf.Tensor => tf.transpose(w, [2, 3, 1, 0]); // OIHW -> HWIO

function apply(optimizer: tf.Optimizer, grads: tf.NamedTensorMap): void {
  optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
}

async function read(losses: readonly tf.Tensor[]): Promise<number[]> {
  const values = await Promise.all(losses.map((loss) => loss.data()));
  tf.dispose([...losses]);
  return values.map(([value]) => value);
}

const disposal = (...held: unknown[]) => () => tf.dispose(held as tf.TensorContainer);

/** The job of the CNN. */
export function cnnJob(workload: CnnWorkload): Job {
  const { style, learningRate, decay, eps, dropout, classes } = workload, { matMul, conv } = opsOf(style);
  const params = variables(workload, (value, name) => {
    if (value.rank === 4) return filterOf(value);
    return name === "dense1.weight" ? reorder(value, 0, 64) : value;
  });
  const batches = imageBatches(workload).map(({ images, labels }) => ({
    images: imagesOf(images),
    labels: oneHotOf(labels, classes),
  }));
  const update = adadelta(params, { learningRate, decay, eps });
  const layer = (f: typeof matMul, x: tf.Tensor, name: string) =>
    tf.add(f(x, params[`${name}.weight`]), params[`${name}.bias`]);
  const convolve: typeof matMul = (x, w) => conv(x as tf.Tensor4D, w as tf.Tensor4D, { stride: 1, padding: 0 });
  const step = (number: number) => {
    const { images, labels } = batches[number % batches.length];
    const drop = (x: tf.Tensor, rate: number) => number < COMPARED ? x : tf.dropout(x, rate);
    return read([tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => {
        let x = tf.relu(layer(convolve, images, "conv1"));
        x = tf.maxPool(tf.relu(layer(convolve, x, "conv2")) as tf.Tensor4D, 2, 2, "valid");
        x = tf.reshape(drop(x, dropout[0]), [workload.batch, -1]);
        x = drop(tf.relu(layer(matMul, x, "dense1")), dropout[1]);
        return crossEntropy(layer(matMul, x, "dense2"), labels);
      });
      update(grads);
      return value;
    })]);
  };
  return stepJob(step, disposal(params, batches));
}

/** Adadelta as published: `tf.train.adadelta` divides by the average of the squared gradient before this step. */
function adadelta(params: Params, { learningRate, decay, eps }: Pick<CnnWorkload, "learningRate" | "decay" | "eps">) {
  const zeros = () => Object.entries(params).map(([name, x]) => [name, tf.variable(tf.zerosLike(x), false)]);
  const [squares, changes]: Params[] = [zeros(), zeros()].map((entries) => Object.fromEntries(entries));
  const average = (variable: tf.Variable, value: tf.Tensor) =>
    variable.assign(tf.add(tf.mul(variable, decay), tf.mul(tf.square(value), 1 - decay)));
  return (grads: tf.NamedTensorMap) => {
    for (const [name, param] of Object.entries(params)) {
      average(squares[name], grads[name]);
      const ratio = tf.sqrt(tf.div(tf.add(changes[name], eps), tf.add(squares[name], eps)));
      const change = tf.mul(grads[name], ratio);
      average(changes[name], change);
      param.assign(tf.sub(param, tf.mul(change, learningRate)));
    }
  };
}

function crossEntropy(logits: tf.Tensor, targets: tf.Tensor): tf.Scalar {
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), targets), -1))) as tf.Scalar;
}

/** The job of the LSTM, unrolled: there is no loop that gradients go through. */
export function lstmJob(workload: LstmWorkload): Job {
  const { style, learningRate, decay, eps, clip, batch: B, sequence: T, units: H, layers, vocabSize } = workload;
  const { matMul } = opsOf(style);
  const params = variables(
    workload,
    (value, name) => name.startsWith("layers") && value.rank === 2 ? tf.transpose(value) : value,
  );
  const batches = textBatches(workload).map(({ tokens, targets }) => ({
    tokens: oneHotOf(tokens, vocabSize), // [T·B, V]
    targets: oneHotOf(targets, vocabSize),
  }));
  const optimizer = tf.train.rmsprop(learningRate, decay, 0, eps ** 2); // which it adds under the root
  let state = Array.from({ length: 2 * layers }, () => tf.zeros([B, H])); // hidden and cell of each layer

  const walk = (xs: tf.Tensor, i: number): [outputs: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor] => {
    const own = (name: string) => params[`layers.${i}.${name}`];
    const gates = tf.split(tf.add(matMul(xs, own("input")), tf.add(own("bias"), own("hiddenBias"))), T); // T x [B, 4·H]
    let [hidden, cell] = state.slice(2 * i);
    const outputs = gates.map((fromInput) => {
      const [i, f, g, o] = tf.split(tf.add(fromInput, matMul(hidden, own("hidden"))), 4, 1);
      cell = tf.add(tf.mul(tf.sigmoid(f), cell), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      return hidden = tf.mul(tf.sigmoid(o), tf.tanh(cell));
    });
    return [tf.concat(outputs), hidden, cell]; // [T·B, H]
  };

  const step = (number: number) => {
    const { tokens, targets } = batches[number % batches.length], last = state;
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => {
        let x: tf.Tensor = tokens;
        const next: tf.Tensor[] = [];
        for (let i = 0; i < layers; i++) {
          const [outputs, ...carried] = walk(x, i);
          x = outputs;
          next.push(...carried.map((part) => tf.keep(tf.clone(part))));
        }
        state = next;
        return crossEntropy(tf.add(matMul(x, params["out.weight"]), params["out.bias"]), targets);
      });
      const norm = tf.sqrt(tf.addN(Object.values(grads).map((grad) => tf.sum(tf.square(grad)))));
      const shrink = tf.minimum(tf.div(clip, tf.add(norm, 1e-6)), 1);
      apply(optimizer, Object.fromEntries(Object.entries(grads).map(([name, grad]) => [name, tf.mul(grad, shrink)])));
      return value;
    });
    tf.dispose(last);
    return read([loss]);
  };
  return stepJob(step, () => disposal(params, batches, state)());
}

/** The job of the DCGAN. */
export function dcganJob(workload: DcganWorkload): Job {
  const { learningRate, betas, eps, batch: B, size, channels, slope } = workload;
  const { conv, convTranspose } = opsOf(workload.style), halves = { stride: 2, padding: 1 };
  const side = size / 2 ** channels.length;
  const params = variables(workload, (value, name) => {
    if (value.rank === 4) return filterOf(value);
    return value.rank === 2 ? reorder(value, name === "generator.project" ? 1 : 0, channels[0]) : value;
  });
  const batches = ganBatches(workload).map(({ real, latent }) => ({
    real: imagesOf(real),
    latent: tensorOf(latent) as tf.Tensor2D,
  }));
  const norm = (x: tf.Tensor, name: string) => {
    const { mean, variance } = tf.moments(x, [0, 1, 2]);
    const scale = tf.mul(params[`${name}.scale`], tf.rsqrt(tf.add(variance, 1e-5)));
    return tf.add(tf.mul(tf.sub(x, mean), scale), params[`${name}.shift`]);
  };
  const generate = (latent: tf.Tensor2D) => {
    let x = tf.reshape(tf.matMul(latent, params["generator.project"] as tf.Tensor), [B, side, side, -1]);
    for (const i of channels.keys()) {
      const active = tf.relu(norm(x, `generator.${i}`)) as tf.Tensor4D;
      x = convTranspose(active, params[`generator.${i}.up`] as tf.Tensor as tf.Tensor4D, halves);
    }
    return tf.tanh(tf.add(x, params["generator.bias"])) as tf.Tensor4D;
  };
  const discriminate = (images: tf.Tensor4D) => {
    let x = images;
    for (const i of channels.keys()) {
      const name = `discriminator.${i}`, y = conv(x, params[`${name}.down`] as tf.Tensor as tf.Tensor4D, halves);
      x = tf.leakyRelu(i === 0 ? tf.add(y, params[`${name}.bias`]) : norm(y, name), slope) as tf.Tensor4D;
    }
    return tf.add(tf.matMul(tf.reshape(x, [B, -1]), params["discriminator.score"]), params["discriminator.scoreBias"]);
  };
  const realCost = (logits: tf.Tensor) => tf.mean(tf.softplus(tf.neg(logits))) as tf.Scalar;
  const fakeCost = (logits: tf.Tensor) => tf.mean(tf.softplus(logits)) as tf.Scalar;
  const of = (owner: string) => Object.values(params).filter(({ name }) => name.startsWith(owner));
  const [generator, discriminator] = [0, 1].map(() => tf.train.adam(learningRate, ...betas, eps));

  const step = (number: number) => {
    const { real, latent } = batches[number % batches.length];
    return read(tf.tidy(() => {
      const fake = generate(latent);
      const first = tf.variableGrads(
        () => tf.add(realCost(discriminate(real)), fakeCost(discriminate(fake))) as tf.Scalar,
        of("discriminator"),
      );
      apply(discriminator, first.grads);
      const second = tf.variableGrads(() => realCost(discriminate(generate(latent))), of("generator"));
      apply(generator, second.grads);
      return [first.value, second.value];
    }));
  };
  return stepJob(step, disposal(params, batches));
}
