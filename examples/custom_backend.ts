/**
 * A backend of one's own in one file: the primitive ops as plain loops, registered from outside. Composites (softmax,
 * layer norms, losses, ...), gradients, optimizers and `compile` come for free.
 *
 * ```sh
 * deno run examples/custom_backend.ts
 * ```
 *
 * Convolution and pooling are left out to keep it short; `skip` declares that to the suite in `@tenon/ml/testing`.
 *
 * @module
 */
import * as tn from "@tenon/ml";
import type { Backend, DType, Kernel, KernelTable, View } from "@tenon/ml";

type Buffer = ArrayBuffer;
type Place = (...values: number[]) => number;
type Attrs = Parameters<Kernel<Buffer>>[0]["attrs"];

/** What this backend cannot do, as `conformance` wants to hear it. */
export const skip = [
  { reason: "no convolution", ops: ["conv", "convTranspose"] },
  { reason: "no pooling", ops: ["maxPool", "avgPool"] },
] as const;

/** The elements of a tensor; bool is a 32-bit lane holding 0 or 1. */
function elements({ buffer, dtype, shape }: View<Buffer>): Float32Array | Float16Array | Int32Array | Uint32Array {
  const types = { f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array, bool: Int32Array };
  return new types[dtype](buffer ?? new ArrayBuffer(0), 0, size(shape));
}

const size = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const stridesOf = (shape: readonly number[]): number[] => shape.map((_, axis) => size(shape.slice(axis + 1)));

/** Where the elements of a strided walk over `shape` lie, in row-major order. */
function walk(shape: readonly number[], strides: readonly number[], start = 0): number[] {
  return shape.reduce<number[]>(
    (places, n, axis) => places.flatMap((place) => Array.from({ length: n }, (_, i) => place + i * strides[axis])),
    [start],
  );
}

/** Strides that repeat axes of size 1, and axes that are missing in front, along `target`. */
function spread(shape: readonly number[], target: readonly number[]): number[] {
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

function roundEven(x: number): number {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

const floorMod = (a: number, b: number): number => {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
};

/** Rows that JavaScript has under the same name. */
const builtin = [
  "abs",
  "sign",
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "sqrt",
  "sin",
  "cos",
  "tan",
  "tanh",
  "floor",
  "ceil",
];

/** The scalar table: what an elementwise op does at one place. Stores round and wrap to the output's dtype. */
const scalars: Record<string, Place> = {
  ...Object.fromEntries(builtin.map((name) => [name, Math[name as "abs"]])),
  neg: (x) => -x,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  erf,
  round: roundEven,
  isNaN: (x) => +Number.isNaN(x),
  isFinite: (x) => +Number.isFinite(x),
  where: (condition, a, b) => condition ? a : b,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  max: Math.max,
  min: Math.min,
  pow: (a, b) => a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b, // as in C
  mod: floorMod,
  equal: (a, b) => +(a === b),
  notEqual: (a, b) => +(a !== b),
  less: (a, b) => +(a < b),
  lessEqual: (a, b) => +(a <= b),
  greater: (a, b) => +(a > b),
  greaterEqual: (a, b) => +(a >= b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
};

/** Rows whose meaning depends on the dtype of their operands. */
function scalarFor(name: string, from: DType, to: DType): Place {
  const whole = from === "i32" || from === "u32";
  if (name === "mul") return whole ? Math.imul : (a, b) => a * b;
  if (name === "square") return whole ? (a) => Math.imul(a, a) : (a) => a * a;
  if (name === "div") return whole ? (a, b) => b === 0 ? 0 : Math.trunc(a / b) : (a, b) => a / b;
  if (name === "mod" && whole) return (a, b) => b === 0 ? 0 : floorMod(a, b);
  if (name === "not") return from === "bool" ? (a) => 1 - a : (a) => ~a;
  if (name === "shiftRight") return from === "u32" ? (a, b) => a >>> b : (a, b) => a >> b;
  if (name !== "cast") return scalars[name];
  if (to === "bool") return (a) => a === 0 ? 0 : 1;
  if (whole || (to !== "i32" && to !== "u32")) return (a) => a;
  const [low, high] = to === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return (a) => Math.min(Math.max(Math.trunc(a) || 0, low), high);
}

const elementwise = (name: string): Kernel<Buffer> => ({ inputs, outputs: [y] }) => {
  const f = scalarFor(name, inputs[0].dtype, y.dtype);
  const operands = inputs.map(elements), places = inputs.map(({ shape }) => walk(y.shape, spread(shape, y.shape)));
  const to = elements(y);
  for (let i = 0; i < to.length; i++) to[i] = f(...operands.map((values, k) => values[places[k][i]]));
};

/** Combines along the axes that the output has with size 1. */
const reduction = (first: (dtype: DType) => number, float: Place, whole = float): Kernel<Buffer> => {
  return ({ inputs: [x], outputs: [y] }) => {
    const sums = new Float64Array(size(y.shape)).fill(first(x.dtype)), from = elements(x);
    const f = x.dtype === "i32" || x.dtype === "u32" ? whole : float;
    walk(x.shape, spread(y.shape, x.shape)).forEach((place, i) => sums[place] = f(sums[place], from[i]));
    elements(y).set(sums);
  };
};

/** The places of every row along an axis. */
function rowsOf({ shape }: View<Buffer>, axis: number): number[][] {
  const strides = stridesOf(shape);
  return walk(shape.with(axis, 1), strides).map((start) => walk([shape[axis]], [strides[axis]], start));
}

/** Ascending for sign 1, descending for -1, NaN last; negative if `a` comes first. */
const compare = (a: number, b: number, sign: number): number =>
  +Number.isNaN(a) - +Number.isNaN(b) || sign * (+(a > b) - +(a < b));

const argExtreme = (sign: number): Kernel<Buffer> => ({ inputs: [x], outputs: [y], attrs: { axis } }) => {
  const from = elements(x), to = elements(y);
  const beats = (a: number, b: number) => Number.isNaN(a) ? !Number.isNaN(b) : sign * a > sign * b;
  rowsOf(x, axis).forEach((row, i) => {
    to[i] = row.reduce((best, place, k) => beats(from[place], from[row[best]]) ? k : best, 0);
  });
};

/** Reads elements through a strided view of the input. */
const view = (at: (x: View<Buffer>, y: View<Buffer>, attrs: Attrs) => number[]): Kernel<Buffer> => (call) => {
  const [x] = call.inputs, [y] = call.outputs, from = elements(x), to = elements(y);
  at(x, y, call.attrs).forEach((place, i) => to[i] = from[place]);
};

/** Where the elements of `[outer axes, ...indices, inner axes]` lie in `x`; -1 for an index out of range. */
function slicesOf(x: View<Buffer>, indices: View<Buffer>, axis: number): number[] {
  const n = x.shape[axis], inner = size(x.shape.slice(axis + 1)), at = [...elements(indices)];
  const starts = walk([size(x.shape.slice(0, axis))], [n * inner]).flatMap((start) =>
    at.map((j) => j >= 0 && j < n ? start + j * inner : -inner)
  );
  return starts.flatMap((start) => Array.from({ length: inner }, (_, i) => start < 0 ? -1 : start + i));
}

/** Where single elements lie, one for each of the indices. */
function elementsOf(x: View<Buffer>, indices: View<Buffer>, axis: number): number[] {
  const strides = stridesOf(x.shape), at = elements(indices);
  const start = walk(indices.shape, strides.with(axis, 0));
  return start.map((place, i) => at[i] >= 0 && at[i] < x.shape[axis] ? place + at[i] * strides[axis] : -1);
}

const gather =
  (places: typeof slicesOf): Kernel<Buffer> => ({ inputs: [x, indices], outputs: [y], attrs: { axis } }) => {
    const from = elements(x), to = elements(y);
    places(x, indices, axis).forEach((place, i) => to[i] = place < 0 ? NaN : from[place]); // NaN is stored as 0 in integers
  };

const scatter =
  (places: typeof slicesOf): Kernel<Buffer> => ({ inputs: [x, indices, updates], outputs, attrs: { axis } }) => {
    const from = elements(updates), sums = Float64Array.from(elements(x));
    places(x, indices, axis).forEach((place, i) => place < 0 || (sums[place] += from[i]));
    elements(outputs[0]).set(sums);
  };

const matmul: Kernel<Buffer> = ({ inputs: [a, b], outputs: [y], attrs: { transposeA, transposeB } }) => {
  const [m, n] = y.shape.slice(-2), k = a.shape.at(transposeA ? -2 : -1)!, batch = y.shape.slice(0, -2);
  const left = elements(a), right = elements(b), to = elements(y);
  const [rowA, stepA] = transposeA ? [1, m] : [k, 1], [stepB, columnB] = transposeB ? [1, k] : [n, 1];
  const starts = [a, b].map(({ shape }) => {
    const strides = spread(shape.slice(0, -2), batch).map((stride) => stride * shape.at(-2)! * shape.at(-1)!);
    return walk(batch, strides);
  });
  for (let i = 0; i < to.length; i++) {
    const [s, row, column] = [Math.floor(i / (m * n)), Math.floor(i / n) % m, i % n];
    let sum = 0;
    for (let l = 0; l < k; l++) {
      sum += left[starts[0][s] + row * rowA + l * stepA] * right[starts[1][s] + l * stepB + column * columnB];
    }
    to[i] = sum;
  }
};

const cumulativeSum: Kernel<Buffer> = ({ inputs: [x], outputs: [y], attrs: { axis, exclusive, reverse } }) => {
  const from = elements(x), to = elements(y);
  for (const row of rowsOf(x, axis)) {
    let sum = 0;
    for (const place of reverse ? row.reverse() : row) {
      to[place] = exclusive ? sum : sum + from[place];
      sum += from[place];
    }
  }
};

const argsort: Kernel<Buffer> = ({ inputs: [x], outputs: [y], attrs: { axis, descending } }) => {
  const from = elements(x), to = elements(y);
  for (const row of rowsOf(x, axis)) {
    const ranked = row.map((_, k) => k).sort((i, j) => compare(from[row[i]], from[row[j]], descending ? -1 : 1));
    row.forEach((place, k) => to[place] = ranked[k]);
  }
};

/** Writes the inputs side by side into the output, each from its own start. */
const place = (start: (k: number, call: Parameters<Kernel<Buffer>>[0]) => number): Kernel<Buffer> => (call) => {
  const to = elements(call.outputs[0]), strides = stridesOf(call.outputs[0].shape);
  call.inputs.forEach((x, k) => {
    const from = elements(x);
    walk(x.shape, strides, start(k, call)).forEach((at, i) => to[at] = from[i]);
  });
};

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);

const kernels: KernelTable<Buffer> = {
  ...Object.fromEntries(
    [...Object.keys(scalars), "mul", "div", "square", "not", "shiftRight", "cast"].map((
      name,
    ) => [name, elementwise(name)]),
  ),
  sum: reduction(() => 0, (a, b) => a + b),
  prod: reduction(() => 1, (a, b) => a * b, Math.imul),
  reduceMax: reduction((dtype) => dtype === "i32" ? -(2 ** 31) : dtype === "u32" ? 0 : -Infinity, Math.max),
  reduceMin: reduction((dtype) => dtype === "i32" ? 2 ** 31 - 1 : dtype === "u32" ? 2 ** 32 - 1 : Infinity, Math.min),
  any: reduction(() => 0, Math.max),
  all: reduction(() => 1, Math.min),
  argmax: argExtreme(1),
  argmin: argExtreme(-1),
  cumulativeSum,
  argsort,
  matmul,
  full: ({ outputs: [y], attrs: { value } }) => elements(y).fill(value),
  iota: ({ outputs: [y], attrs: { axis } }) =>
    elements(y).set(walk(y.shape, y.shape.map((_, k) => k === axis ? 1 : 0))),
  transpose: view((x, y, { axes }) => walk(y.shape, axes.map((axis: number) => stridesOf(x.shape)[axis]))),
  broadcastTo: view((x, y) => walk(y.shape, spread(x.shape, y.shape))),
  slice: view((x, y, { starts, steps }) => {
    const strides = stridesOf(x.shape);
    return walk(y.shape, strides.map((stride, axis) => stride * steps[axis]), dot(starts, strides));
  }),
  pad(call) {
    const { outputs: [y], attrs: { widths, value } } = call;
    elements(y).fill(value);
    place(() => dot(widths.map(([before]: number[]) => before), stridesOf(y.shape)))(call);
  },
  concat: place((k, { inputs, outputs: [y], attrs: { axis } }) =>
    inputs.slice(0, k).reduce((sum, { shape }) => sum + shape[axis], 0) * stridesOf(y.shape)[axis]
  ),
  gather: gather(slicesOf),
  gatherElements: gather(elementsOf),
  indexAdd: scatter(slicesOf),
  scatterAdd: scatter(elementsOf),
};

/** Makes the backend. */
export function createPlain(): Backend<Buffer> {
  return {
    name: "plain",
    alloc: (bytes) => new ArrayBuffer(bytes),
    free() {},
    write: (buffer, { buffer: source, byteOffset, byteLength }) =>
      new Uint8Array(buffer).set(new Uint8Array(source, byteOffset, byteLength)),
    read: (buffer, bytes) => Promise.resolve(buffer.slice(0, bytes)),
    kernels,
  };
}

/** Trains a small MLP on this backend to tell the inside of a ring from the outside; returns the first and last loss. */
export async function train(steps = 200): Promise<[first: number, last: number]> {
  tn.registerBackend("plain", createPlain);
  await tn.use("plain");
  const [k1, k2, k3] = tn.split(tn.key(0), 3);
  const x = tn.normal(k1, [64, 2]); // [B, 2]
  const inside = tn.cast(tn.less(tn.sum(tn.square(x), { axis: 1 }), 1.2), "i32"); // [B]
  let params = {
    hidden: { weight: tn.normal(k2, [2, 16]), bias: tn.zeros([16]) },
    out: { weight: tn.normal(k3, [16, 2], { std: 0.3 }), bias: tn.zeros([2]) },
  };
  const loss = (p: typeof params) => tn.crossEntropy(tn.linear(tn.gelu(tn.linear(x, p.hidden)), p.out), inside);
  const optimizer = tn.adamw({ learningRate: 0.02 });
  let state = optimizer.init(params);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const [value, grads] = tn.valueAndGrad(loss)(params);
    [params, state] = optimizer.update(grads, state, params);
    losses.push(await value.item());
  }
  return [losses[0], losses[losses.length - 1]];
}

if (import.meta.main) console.log("loss %f -> %f", ...await train());
