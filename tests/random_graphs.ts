/** Graphs of random ops, from seeds. @module */
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { random } from "./cases/case.ts";

/** What a step of a random graph is given. */
interface Choices {
  /** A whole number below n. */
  below(n: number): number;
  /** A tensor made before that broadcasts with `x` into something small. */
  partner(x: Tensor): Tensor;
}

/** Elements that a tensor of a random graph may hold. */
const LIMIT = 1000;

type Step = (x: Tensor, choices: Choices) => Tensor;

/** Every third element, so that all backends choose alike whatever rounding did. */
function mask(shape: readonly number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return tn.equal(tn.mod(tn.reshape(tn.arange(count, { dtype: "i32" }), shape), 3), 0);
}

/** Numbers between -1 and 1, a thousand in a row without a repeat. */
export function wave(shape: readonly number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const place = tn.mod(tn.mul(tn.arange(count, { dtype: "i32" }), 7919), 1009);
  return tn.reshape(tn.sub(tn.div(tn.cast(place, "f32"), 504.5), 1), shape);
}

/** Numbers apart, whatever they were: nothing ties. */
function spread(x: Tensor): Tensor {
  return tn.add(tn.mul(tn.tanh(x), 0.01), wave(x.shape));
}

const axisOf = (x: Tensor, { below }: Choices): number => below(x.rank);

/** Smooth, or with kinks that values do not meet by chance; none lets values grow without bound. */
const elementwise: Record<string, Step> = {
  neg: tn.neg,
  tanh: tn.tanh,
  sigmoid: tn.sigmoid,
  sin: tn.sin,
  cos: tn.cos,
  erf: tn.erf,
  gelu: (x) => tn.gelu(x),
  silu: tn.silu,
  softplus: tn.softplus,
  relu: (x) => tn.relu(tn.add(x, 0.1234)),
  exp: (x) => tn.exp(tn.tanh(x)),
  log: (x) => tn.log(tn.add(tn.square(tn.tanh(x)), 1)),
  sqrt: (x) => tn.sqrt(tn.add(tn.square(x), 1)),
  reciprocal: (x) => tn.reciprocal(tn.add(tn.square(x), 1)),
  pow: (x) => tn.pow(tn.sigmoid(x), 1.5),
  abs: (x) => tn.abs(tn.sub(x, 0.321)),
  clamp: (x) => tn.clamp(x, { min: -0.777, max: 1.333 }),
  floor: (x) => tn.floor(tn.mul(tn.stopGradient(tn.tanh(x)), 0)),
  cast: (x) => tn.mul(tn.cast(mask(x.shape), "f32"), x),
  add: (x, { partner }) => tn.add(x, partner(x)),
  sub: (x, { partner }) => tn.sub(partner(x), x),
  mul: (x, { partner }) => tn.mul(x, tn.tanh(partner(x))),
  div: (x, { partner }) => tn.div(x, tn.add(tn.square(partner(x)), 1)),
  where: (x, { partner }) => tn.where(mask(x.shape), x, partner(x)),
};

const rows: Record<string, Step> = {
  sum: (x, c) => x.rank === 0 ? x : tn.mul(tn.sum(x, { axis: axisOf(x, c), keepDims: c.below(2) > 0 }), 0.3),
  mean: (x, c) => x.rank === 0 ? x : tn.mean(x, { axis: axisOf(x, c), keepDims: true }),
  max: (x, c) => x.rank === 0 ? x : tn.max(spread(x), { axis: axisOf(x, c) }),
  variance: (x, c) => x.rank === 0 ? x : tn.variance(x, { axis: axisOf(x, c) }),
  logSumExp: (x, c) => x.rank === 0 ? x : tn.logSumExp(x, { axis: axisOf(x, c) }),
  softmax: (x, c) => x.rank === 0 ? x : tn.softmax(x, { axis: axisOf(x, c) }),
  logSoftmax: (x) => x.rank === 0 ? x : tn.mul(tn.logSoftmax(x), 0.2),
  layerNorm: (x) => x.rank === 0 ? x : tn.layerNorm(x, {}, { eps: 0.5 }),
  rmsNorm: (x) => x.rank === 0 ? x : tn.rmsNorm(x, {}, { eps: 0.5 }),
  means: (x) => x.rank < 2 ? x : tn.mean(x, { axis: [0, -1], keepDims: true }),
  cumulativeSum: (x, c) =>
    x.rank === 0 ? x : tn.mul(tn.cumulativeSum(x, { axis: axisOf(x, c), reverse: c.below(2) > 0 }), 0.3),
};

const shapes: Record<string, Step> = {
  transpose: (x) => tn.transpose(x),
  flatten: (x) => tn.reshape(x, [-1]),
  expandDims: (x, { below }) => x.rank > 3 ? x : tn.expandDims(x, below(x.rank + 1)),
  squeeze: (x) => tn.squeeze(x),
  flip: (x, c) => x.rank === 0 ? x : tn.flip(x, axisOf(x, c)),
  slice: (x, c) => {
    if (x.rank === 0) return x;
    const axis = axisOf(x, c), start = c.below(x.shape[axis]);
    return tn.slice(x, start, x.shape[axis], { axis, step: 1 + c.below(2) });
  },
  pad: (x, { below }) => x.size > 100 ? x : tn.pad(x, x.shape.map(() => [below(2), below(3)])),
  reflect: (x) => x.size > 100 || x.shape.some((n) => n < 2) ? x : tn.pad(x, 1, { mode: "reflect" }),
  concat: (x, c) => x.rank === 0 || x.size > 200 ? x : tn.concat([x, tn.sin(x)], axisOf(x, c)),
  stack: (x) => x.rank > 3 || x.size > 200 ? x : tn.stack([x, tn.neg(x)]),
  split: (x, c) => x.rank === 0 || x.shape[0] % 2 > 0 ? x : tn.split(x, 2)[c.below(2)],
  broadcastTo: (x) => x.rank > 3 || x.size > 100 ? x : tn.broadcastTo(x, [3, ...x.shape]),
  repeat: (x, c) => x.rank === 0 || x.size > 100 ? x : tn.repeat(x, 2, { axis: axisOf(x, c) }),
  gather: (x, c) => {
    if (x.rank === 0) return x;
    const axis = axisOf(x, c), n = x.shape[axis];
    return tn.gather(x, tn.tensor([c.below(n), c.below(n), c.below(n)], { dtype: "i32" }), { axis });
  },
};

const products: Record<string, Step> = {
  matmul: (x, { below }) => {
    if (x.rank < 2) return x;
    const n = x.shape[x.rank - 1], weight = wave([5, n]);
    const y = tn.mul(tn.matmul(x, weight, { transposeB: true }), 1 / Math.sqrt(n));
    return [y, tn.relu(tn.add(y, 0.05)), tn.add(y, tn.arange(5, { dtype: "f32" }))][below(3)]; // an epilogue, or none
  },
  gram: (x) => x.rank < 2 || x.shape[x.rank - 2] > 8 ? x : tn.tanh(tn.matmul(x, x, { transposeB: true })),
  attention: (x) => x.rank < 2 || x.rank > 3 ? x : tn.attention(x, x, tn.sin(x), { causal: true }),
  conv: (x) => {
    if (x.rank !== 3 || x.shape[2] < 3) return x;
    const [, channels] = x.shape,
      weight = wave([2, channels, 3]);
    return tn.mul(tn.conv(x, weight, { padding: 1, stride: 2 }), 1 / Math.sqrt(3 * channels));
  },
};

/** Selection, loops, and what carries a gradient rule of its own. */
const others: Record<string, Step> = {
  sort: (x, c) => x.rank === 0 ? x : tn.sort(spread(x), { axis: axisOf(x, c), descending: c.below(2) > 0 }),
  topK: (x) => x.rank === 0 ? x : tn.topK(spread(x), Math.min(2, x.shape[x.rank - 1]))[0],
  indexAdd: (x, { below }) => {
    if (x.rank === 0) return x;
    const at = tn.tensor([below(x.shape[0]), below(x.shape[0])], { dtype: "i32" });
    return tn.indexAdd(x, at, tn.sin(tn.gather(x, at)));
  },
  embedding: (x) => {
    if (x.rank !== 2) return x;
    const ids = tn.mod(tn.reshape(tn.arange(6, { dtype: "i32" }), [2, 3]), x.shape[0]);
    return tn.embedding(x, ids);
  },
  dropout: (x, { below }) => tn.dropout(x, tn.key(below(100)), { rate: 0.3 }),
  checkpoint: (x) => tn.checkpoint((x: Tensor) => tn.mul(tn.tanh(x), tn.sigmoid(x)))(x),
  stopGradient: (x) => tn.add(x, tn.stopGradient(tn.cos(x))),
  customVjp: (x) =>
    tn.customVjp((x: Tensor) => tn.square(tn.tanh(x)), {
      forward: (x) => [tn.square(tn.tanh(x)), x],
      backward: (x, dy) => [tn.mul(dy, tn.cos(x))],
    })(x),
  scan: (x) => {
    if (x.rank === 0 || x.shape[0] > 9) return x;
    const step = (carry: Tensor, row: Tensor) => {
      const next = tn.tanh(tn.add(tn.mul(carry, 0.5), row));
      return [next, tn.mul(next, 2)] as const;
    };
    return tn.scan(step, tn.zeros(x.shape.slice(1)), x)[1];
  },
  maxPool: (x) => x.rank !== 3 || x.shape[2] < 2 ? x : tn.maxPool(spread(x), 2, { stride: 1 }),
  avgPool: (x) => x.rank !== 3 || x.shape[2] < 3 ? x : tn.avgPool(x, 3, { stride: 2, padding: 1 }),
  einsum: (x) => x.rank !== 2 ? x : tn.mul(tn.einsum("ij,kj->ki", x, wave([3, x.shape[1]])), 0.5),
  crossEntropy: (x) => {
    if (x.rank !== 2) return x;
    const labels = tn.mod(tn.arange(x.shape[0], { dtype: "i32" }), x.shape[1]);
    return tn.mul(tn.crossEntropy(x, labels, { reduction: "none" }), 0.2);
  },
};

const steps: [string, Step][] = [elementwise, rows, shapes, products, others, elementwise].flatMap((table) =>
  Object.entries(table)
);

function fits(a: readonly number[], b: readonly number[]): boolean {
  let size = 1;
  for (let i = 1; i <= Math.max(a.length, b.length); i++) {
    const m = a.at(-i) ?? 1, n = b.at(-i) ?? 1;
    if (m !== n && m !== 1 && n !== 1) return false;
    size *= Math.max(m, n);
  }
  return size <= LIMIT;
}

/** The graph that a seed stands for: decisions depend on the seed and on shapes, never on values. */
export function graphOf(seed: number, log: string[] = []): (inputs: Tensor[]) => Tensor[] {
  return (inputs) => {
    const next = random(seed);
    const below = (n: number) => Math.floor(n * next());
    const pool = [...inputs];
    log.length = 0;
    const partner = (x: Tensor) => {
      const fitting = pool.filter((other) => fits(x.shape, other.shape));
      return fitting[below(fitting.length)] ?? x;
    };
    for (let turn = 4 + below(9); turn > 0; turn--) {
      const [name, step] = steps[below(steps.length)];
      const k = pool.length - 1 - Math.min(below(3), pool.length - 1);
      pool.push(step(pool[k], { below, partner }));
      log.push(`${name}(${k}) -> [${pool[pool.length - 1].shape}]`);
    }
    return pool.slice(-2);
  };
}

/** Shapes of a graph's inputs. */
export function inputShapes(seed: number): number[][] {
  const next = random(seed + 1e6);
  const sizes = [1, 2, 3, 4, 5, 7, 19];
  const shape = () =>
    Array.from({ length: 1 + Math.floor(3 * next()) }, () => sizes[Math.floor(sizes.length * next())]);
  return [shape(), shape(), [17]];
}
