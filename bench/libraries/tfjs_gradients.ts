/**
 * Products and convolutions for TensorFlow.js whose gradients are fast on WASM, or exist there at all. Images are NHWC,
 * filters HWIO.
 *
 * @module
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import type { Style } from "../models.ts";

type Save = (tensors: tf.Tensor[]) => void;

/** `a·b`. */
export type MatMul = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

/** A convolution, or the transposed one, padded by as many places on each side. */
export type Conv = (x: tf.Tensor4D, w: tf.Tensor4D, sliding: Sliding) => tf.Tensor4D;

/** How a filter slides. */
export interface Sliding {
  readonly stride: number;
  readonly padding: number;
}

/** Products and convolutions of one style. */
export interface Ops {
  readonly matMul: MatMul;
  readonly conv: Conv;
  readonly convTranspose: Conv;
}

/** The last two axes exchanged. */
export function swap(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [...x.shape.keys()].map((axis) => x.rank - axis <= 2 ? 2 * x.rank - 3 - axis : axis));
}

/**
 * A product whose gradient transposes first: `dA = dy·Bᵀ`, `dB = Aᵀ·dy`. The WASM kernel takes ten times as long for
 * operands that it shall transpose itself.
 */
const swappingMatMul: MatMul = tf.customGrad((a, b, save) => {
  (save as Save)([a as tf.Tensor, b as tf.Tensor]);
  const gradFunc = (dy: tf.Tensor, [a, b]: tf.Tensor[]) => [tf.matMul(dy, swap(b)), tf.matMul(swap(a), dy)];
  return { value: tf.matMul(a as tf.Tensor, b as tf.Tensor), gradFunc };
});

const forward: Conv = (x, w, { stride, padding }) => tf.conv2d(x, w, stride, padding);

/** The convolution transposed: XNNPACK's convolutions are faster than the kernel that there is for it. */
const backward: Conv = (dy, w, { stride, padding }) => {
  const turned = tf.transpose(w, [0, 1, 3, 2]) as tf.Tensor4D; // [kh, kw, O, I]
  if (stride === 1) return tf.conv2d(dy, tf.reverse(turned, [0, 1]), 1, w.shape[0] - 1 - padding);
  if (stride !== 2 || w.shape[0] !== 4 || padding !== 1) throw new Error("only filters of 4 at every second place");
  // Even places see the taps 3 and 1 of this place and the one before, odd places 2 and 0 of this one and the next.
  const phases = [{ taps: [3, 1], sides: [1, 0] }, { taps: [2, 0], sides: [0, 1] }] as const;
  const images = phases.flatMap((row) =>
    phases.map((column) => {
      const filter = tf.gather(tf.gather(turned, [...row.taps], 0), [...column.taps], 1);
      return tf.conv2d(dy, filter, 1, [[0, 0], [...row.sides], [...column.sides], [0, 0]]);
    })
  );
  return tf.depthToSpace(tf.concat(images, 3), 2, "NHWC");
};

/** The filter's gradient as a convolution over the batch, with `dy` as its filter. */
function filterGrad(x: tf.Tensor4D, dy: tf.Tensor4D, { stride, padding }: Sliding): tf.Tensor4D {
  const sides = [padding, padding] as [number, number], none = [0, 0] as [number, number];
  const padded = padding === 0 ? x : tf.pad(x, [none, sides, sides, none]);
  const [images, filters] = [tf.transpose(padded, [3, 1, 2, 0]), tf.transpose(dy, [1, 2, 0, 3])]; // [I, H, W, B], [h, w, B, O]
  const grad = tf.conv2d(images as tf.Tensor4D, filters as tf.Tensor4D, 1, "valid", "NHWC", stride); // [I, kh, kw, O]
  return tf.transpose(grad, [1, 2, 0, 3]) as tf.Tensor4D;
}

/** `f` of an image and a filter, with its gradient towards both. */
function withGradient(
  f: Conv,
  gradient: (dy: tf.Tensor4D, x: tf.Tensor4D, w: tf.Tensor4D, sliding: Sliding) => [dx: tf.Tensor, dw: tf.Tensor],
): Conv {
  return (x, w, sliding) =>
    tf.customGrad((x, w, save) => {
      (save as Save)([x as tf.Tensor, w as tf.Tensor]);
      const gradFunc = (dy: tf.Tensor, [x, w]: tf.Tensor[]) =>
        gradient(dy as tf.Tensor4D, x as tf.Tensor4D, w as tf.Tensor4D, sliding);
      return { value: f(x as tf.Tensor4D, w as tf.Tensor4D, sliding), gradFunc };
    })(x, w) as tf.Tensor4D;
}

const tuned: Ops = {
  matMul: swappingMatMul,
  conv: withGradient(forward, (dy, x, w, sliding) => [backward(dy, w, sliding), filterGrad(x, dy, sliding)]),
  convTranspose: withGradient(backward, (dy, x, w, sliding) => [forward(dy, w, sliding), filterGrad(dy, x, sliding)]),
};

const asWritten: Ops = {
  matMul: (a, b) => tf.matMul(a, b),
  conv: forward,
  convTranspose(x, w, { stride, padding }) {
    const side = (size: number) => (size - 1) * stride + w.shape[0] - 2 * padding, [B, H, W] = x.shape;
    return tf.conv2dTranspose(x, w, [B, side(H), side(W), w.shape[2]], stride, padding);
  },
};

/** The products and convolutions of `style`. */
export function opsOf(style: Style): Ops {
  return style === "tuned" ? tuned : asWritten;
}
