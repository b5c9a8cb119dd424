/**
 * A backend of one's own: primitive ops as plain loops, registered from outside. Composites, gradients, optimizers and
 * `compile` come by themselves. To see it train: `deno run examples/custom_backend.ts`
 * @module
 */
import * as tn from "@tenon/ml";
import type { Backend, DType, Kernel, KernelCall, KernelTable, Shape, View } from "@tenon/ml";
import type { Skip } from "@tenon/ml/testing";

/** What is left out to keep this short, as `conformance` wants to hear it. */
export const skip: readonly Skip[] = [
  { reason: "no windows", ops: ["conv", "convTranspose", "maxPool", "avgPool"] },
  { reason: "no order", ops: ["sort", "argsort", "topK", "permutation", "argmax", "argmin", "categorical"] },
  { reason: "no slices, no running totals", ops: ["gather", "indexAdd", "updateSlice", "embedding", "cumulativeSum"] },
];

type Buffer = ArrayBuffer;
type Attrs = KernelCall<Buffer>["attrs"];
type Scalar = (...values: number[]) => number;

const size = (shape: Shape): number => shape.reduce((product, n) => product * n, 1);
const dot = (a: Shape, b: Shape): number => a.reduce((sum, n, axis) => sum + n * b[axis], 0);
const stridesOf = (shape: Shape): number[] => shape.map((_, axis) => size(shape.slice(axis + 1)));

/** The elements of a tensor; bool is a 32-bit lane holding 0 or 1. */
function elements({ buffer, dtype, shape }: View<Buffer>): Float32Array | Float16Array | Int32Array | Uint32Array {
  const type = { f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array, bool: Int32Array }[dtype];
  return new type(buffer ?? new ArrayBuffer(0), 0, size(shape));
}

/** Where the elements of a strided walk over `shape` lie, in row-major order. */
function walk(shape: Shape, strides: readonly number[], start = 0): number[] {
  const along = (from: number, axis: number) => Array.from({ length: shape[axis] }, (_, i) => from + i * strides[axis]);
  return shape.reduce<number[]>((places, _, axis) => places.flatMap((place) => along(place, axis)), [start]);
}

/** Strides that repeat axes of size 1, and axes that are missing in front, along `target`. */
function spread(shape: Shape, target: Shape): number[] {
  const lead = target.length - shape.length, strides = stridesOf(shape);
  return target.map((_, axis) => axis < lead || shape[axis - lead] === 1 ? 0 : strides[axis - lead]);
}

/** erf by its Taylor series, in double precision. */
function erf(x: number): number {
  if (!(Math.abs(x) < 4)) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; n < 80; n++) sum += (term *= -x * x / n) / (2 * n + 1);
  return sum * 2 / Math.sqrt(Math.PI);
}

type Table = Record<string, Scalar>;
const equality: Table = { equal: (a, b) => +(a === b), notEqual: (a, b) => +(a !== b) };
const below: Table = { less: (a, b) => +(a < b), lessEqual: (a, b) => +(a <= b) };
const above: Table = { greater: (a, b) => +(a > b), greaterEqual: (a, b) => +(a >= b) };
const bits: Table = { and: (a, b) => a & b, or: (a, b) => a | b, xor: (a, b) => a ^ b, shiftLeft: (a, b) => a << b };
const builtin = "abs sign exp expm1 log log1p log2 sqrt sin cos tan tanh floor ceil max min".split(" ");

/** The scalar table: an op at one place. What is stored is rounded, or wrapped around, to the output's dtype. */
const scalars: Table = {
  ...Object.fromEntries(builtin.map((name) => [name, Math[name as "max"]])),
  ...Object.assign({}, equality, below, above, bits),
  erf,
  round: (x) => Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x), // halves to even
  mod: (a, b) => (a % b + b) % b, // the sign of b
  neg: (x) => -x,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  isNaN: (x) => +Number.isNaN(x),
  isFinite: (x) => +Number.isFinite(x),
  where: (condition, a, b) => condition ? a : b,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  pow: (a, b) => a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b, // as in C
};

/** Rows of the table whose meaning depends on dtypes. */
function scalarFor(name: string, from: DType, to: DType): Scalar {
  const whole = from === "i32" || from === "u32";
  if (name === "mul" || name === "square") return whole ? (a, b = a) => Math.imul(a, b) : (a, b = a) => a * b;
  if (name === "div") return whole ? (a, b) => b === 0 ? 0 : Math.trunc(a / b) : (a, b) => a / b;
  if (name === "not") return from === "bool" ? (a) => 1 - a : (a) => ~a;
  if (name === "shiftRight") return from === "u32" ? (a, b) => a >>> b : (a, b) => a >> b;
  if (name !== "cast") return scalars[name];
  if (to === "bool") return (a) => +(a !== 0);
  if (whole || (to !== "i32" && to !== "u32")) return (a) => a;
  const [low, high] = to === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return (a) => Math.min(Math.max(Math.trunc(a) || 0, low), high);
}

const elementwise = (name: string): Kernel<Buffer> => ({ inputs, outputs: [y] }) => {
  const f = scalarFor(name, inputs[0].dtype, y.dtype), to = elements(y);
  const operands = inputs.map((x) => ({ values: elements(x), places: walk(y.shape, spread(x.shape, y.shape)) }));
  for (let i = 0; i < to.length; i++) to[i] = f(...operands.map(({ values, places }) => values[places[i]]));
};

/** Combines along the axes that the output has with size 1. */
const reduce = (first: number, f: Scalar): Kernel<Buffer> => ({ inputs: [x], outputs: [y] }) => {
  const results = new Float64Array(size(y.shape)).fill(first), from = elements(x);
  walk(x.shape, spread(y.shape, x.shape)).forEach((place, i) => results[place] = f(results[place], from[i]));
  elements(y).set(results);
};

/** Reads elements through a strided view of the input. */
const view = (places: (x: Shape, y: Shape, attrs: Attrs) => number[]): Kernel<Buffer> => (call) => {
  const { inputs: [x], outputs: [y], attrs } = call, from = elements(x), to = elements(y);
  places(x.shape, y.shape, attrs).forEach((place, i) => to[i] = from[place]);
};

/** Writes the inputs side by side into the output, each from its own start. */
const assemble =
  (start: (strides: Shape, attrs: Attrs, before: View<Buffer>[]) => number): Kernel<Buffer> => (call) => {
    const { inputs, outputs: [y], attrs } = call, to = elements(y).fill(attrs.value ?? 0), strides = stridesOf(y.shape);
    inputs.forEach((x, k) => {
      const from = elements(x), places = walk(x.shape, strides, start(strides, attrs, inputs.slice(0, k)));
      places.forEach((place, i) => to[place] = from[i]);
    });
  };

/** Where the elements that `indices` choose along `axis` lie in `x`; negative ones count from the end, -1 out of range. */
function chosen(x: View<Buffer>, indices: View<Buffer>, axis: number): number[] {
  const strides = stridesOf(x.shape), n = x.shape[axis];
  const at = Array.from(elements(indices), (index) => index < 0 ? index + n : index);
  return walk(indices.shape, strides.with(axis, 0))
    .map((place, i) => at[i] >= 0 && at[i] < n ? place + at[i] * strides[axis] : -1);
}

const matmul: Kernel<Buffer> = ({ inputs: [a, b], outputs: [y], attrs: { transposeA, transposeB } }) => {
  const left = elements(a), right = elements(b), to = elements(y), batch = y.shape.slice(0, -2);
  const k = a.shape.at(transposeA ? -2 : -1)!, [m, n] = y.shape.slice(-2);
  const [rowA, stepA] = transposeA ? [1, m] : [k, 1], [stepB, columnB] = transposeB ? [1, k] : [n, 1];
  const rows = walk(y.shape, [...spread(a.shape.slice(0, -2), batch).map((stride) => stride * m * k), rowA, 0]);
  const columns = walk(y.shape, [...spread(b.shape.slice(0, -2), batch).map((stride) => stride * k * n), 0, columnB]);
  const term = (i: number, l: number) => left[rows[i] + l * stepA] * right[columns[i] + l * stepB];
  for (let i = 0; i < to.length; i++) to[i] = walk([k], [1]).reduce((sum, l) => sum + term(i, l), 0);
};

const table = [...Object.keys(scalars), "mul", "square", "div", "not", "shiftRight", "cast"];
const kernels: KernelTable<Buffer> = {
  ...Object.fromEntries(table.map((name) => [name, elementwise(name)])),
  matmul,
  sum: reduce(0, (a, b) => a + b),
  prod: reduce(1, (a, b) => a * b),
  reduceMax: reduce(-Infinity, Math.max),
  reduceMin: reduce(Infinity, Math.min),
  any: reduce(0, Math.max),
  all: reduce(1, Math.min),
  full: ({ outputs: [y], attrs: { value } }) => elements(y).fill(value),
  iota: ({ outputs: [y], attrs: { axis } }) => elements(y).set(walk(y.shape, y.shape.map((_, k) => +(k === axis)))),
  broadcastTo: view((x, y) => walk(y, spread(x, y))),
  transpose: view((x, y, { axes }) => walk(y, axes.map((axis: number) => stridesOf(x)[axis]))),
  slice: view((x, y, { starts, steps }) =>
    walk(y, stridesOf(x).map((stride, axis) => stride * steps[axis]), dot(starts, stridesOf(x)))
  ),
  pad: assemble((strides, { widths }) => dot(widths.map(([before]: number[]) => before), strides)),
  concat: assemble((strides, { axis }, before) => strides[axis] * before.reduce((sum, x) => sum + x.shape[axis], 0)),
  gatherElements({ inputs: [x, indices], outputs: [y], attrs: { axis } }) {
    const from = elements(x), to = elements(y); // out of range reads NaN, which integers hold as 0
    chosen(x, indices, axis).forEach((place, i) => to[i] = place < 0 ? NaN : from[place]);
  },
  scatterAdd({ inputs: [x, indices, updates], outputs: [y], attrs: { axis } }) {
    const from = elements(updates), sums = Float64Array.from(elements(x));
    chosen(x, indices, axis).forEach((place, i) => sums[place] += from[i]); // at -1 there is nothing
    elements(y).set(sums);
  },
};

/** The backend. */
export const plain: Backend<Buffer> = {
  name: "plain",
  kernels,
  alloc: (bytes) => new ArrayBuffer(bytes),
  free: () => {},
  write: (to, from) => new Uint8Array(to).set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength)),
  read: (buffer, bytes) => Promise.resolve(buffer.slice(0, bytes)),
};
tn.registerBackend("plain", () => plain);

/** Trains a small MLP to tell the inside of a circle from the outside; returns the losses. */
export async function train(steps = 100): Promise<number[]> {
  await tn.use("plain");
  const [xKey, hiddenKey, outKey] = tn.split(tn.key(0), 3), x = tn.normal(xKey, [64, 2]);
  const inside = tn.cast(tn.less(tn.sum(tn.square(x), { axis: 1 }), 1.2), "i32"); // [64]
  let params = {
    hidden: { weight: tn.normal(hiddenKey, [2, 16]), bias: tn.zeros([16]) },
    out: { weight: tn.normal(outKey, [16, 2], { std: 0.3 }), bias: tn.zeros([2]) },
  };
  const apply = (p: typeof params) => tn.linear(tn.gelu(tn.linear(x, p.hidden)), p.out);
  const step = tn.valueAndGrad((p: typeof params) => tn.crossEntropy(apply(p), inside));
  const losses: Promise<number>[] = [], { init, update } = tn.adamw({ learningRate: 0.03 });
  for (let i = 0, state = init(params); i < steps; i++) {
    const [loss, grads] = step(params);
    [params, state] = update(grads, state, params);
    losses.push(loss.item());
  }
  return Promise.all(losses);
}

if (import.meta.main) console.log((await train()).filter((_, i) => i % 10 === 0));
