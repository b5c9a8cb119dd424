/**
 * Gradients against differences, in one random direction (as HIPS/autograd checks its own).
 *
 * The five-point stencil `(8(f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h` errs by `h⁴/30` times the fifth derivative. Points
 * and directions are multiples of powers of two, so that no step is rounded.
 *
 * @module
 */
import { scope, type Tensor, vjp } from "../mod.ts";
import { fromValues, type Input, normal, random, type ValueCase, valuesOf } from "./cases/case.ts";
import { derive, differentiated, parseSpecs } from "./derive.ts";

const STEP = 2 ** -7;

/** A point in the domain of a case, a direction, and the weights that make one number of the outputs. */
interface Probe {
  readonly points: readonly number[][];
  readonly directions: readonly number[][];
  readonly weights: readonly number[][];
}

function probeOf(row: ValueCase, by: readonly number[]): Probe {
  const next = random(row.name.length * 31 + row.inputs.length);
  const eighths = () => (Math.floor(8 * next()) + 1) / 8 * (next() < 0.5 ? -1 : 1);
  const points = row.inputs.map((input, i) => {
    const values = valuesOf(input, i + 1);
    return by.includes(i) ? values.map((value) => Math.round(value * 4096) / 4096) : values;
  });
  return {
    points,
    directions: points.map((values, i) => values.map(() => by.includes(i) ? eighths() : 0)),
    weights: parseSpecs(row.gives).map(({ shape, dtype }) =>
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => dtype === "f32" ? Math.fround(normal(next)) : 0)
    ),
  };
}

/** Inputs at `point + t * direction`. */
function inputsAt(row: ValueCase, { points, directions }: Probe, t: number): Tensor[] {
  return row.inputs.map((input: Input, i) => fromValues(points[i].map((x, k) => x + t * directions[i][k]), input));
}

const f32 = (values: readonly number[], like: Tensor): Tensor =>
  fromValues(values, { shape: like.shape, dtype: "f32" });

/** `sum(values * weights)` and the sum of the sizes of its terms, in float64. */
function weigh(tensors: readonly Tensor[], weights: readonly number[][]): { sum: number; size: number } {
  let sum = 0, size = 0;
  tensors.forEach((tensor, i) => {
    const values = tensor.dataSync();
    weights[i].forEach((weight, k) => {
      if (weight === 0) return;
      sum += weight * values[k];
      size += Math.abs(weight * values[k]);
    });
  });
  return { sum, size };
}

/** The derivative of `f` at 0 by differences, and how far rounding can have moved it. */
function slope(f: (t: number) => { sum: number; size: number }): { value: number; noise: number } {
  const [a, b, c, d] = [STEP, -STEP, 2 * STEP, -2 * STEP].map(f);
  const value = (8 * (a.sum - b.sum) - (c.sum - d.sum)) / (12 * STEP);
  return { value, noise: 2 ** -23 * a.size / STEP };
}

function agree(what: string, analytic: { sum: number; size: number }, numeric: { value: number; noise: number }): void {
  const allowed = 2e-5 * analytic.size + numeric.noise + 1e-6;
  const error = Math.abs(analytic.sum - numeric.value);
  if (error <= allowed) return;
  throw new Error(`${what} along a direction is ${analytic.sum}, by differences ${numeric.value} (±${allowed})`);
}

/** Throws unless a case's gradient, and its gradient's gradient where it asks for that, agree with differences. */
export function checkDerivatives(row: ValueCase): void {
  const by = differentiated(row);
  if (by.length === 0) return;
  const probe = probeOf(row, by);
  const along = by.map((i) => probe.directions[i]);
  const seedsFor = () =>
    parseSpecs(row.gives).map((spec, i) => fromValues(probe.weights[i], { ...spec, dtype: "f32" }));
  const numeric = slope((t) => evaluate(() => [row.run(...inputsAt(row, probe, t))].flat(), probe.weights));
  const gradsAt = (t: number) => derive(row, by, inputsAt(row, probe, t), seedsFor())[1];
  agree("the gradient", evaluate(() => gradsAt(0), along), numeric);
  if (row.order !== 2) return;
  const next = random(99);
  const weights = along.map((values) => values.map(() => Math.fround(normal(next))));
  const numericSecond = slope((t) => evaluate(() => gradsAt(t), weights));
  const second = () => {
    const inputs = inputsAt(row, probe, 0);
    const gradient = (...xs: Tensor[]) => {
      const all = [...inputs];
      by.forEach((place, k) => all[place] = xs[k]);
      return derive(row, by, all, seedsFor())[1];
    };
    const [grads, back] = vjp(gradient, by.map((i) => inputs[i]));
    return back(grads.map((grad, i) => f32(weights[i], grad)));
  };
  agree("the second derivative", evaluate(second, along), numericSecond);
}

/** Runs `f` and weighs what it returns; nothing stays alive. */
function evaluate(f: () => Tensor[], weights: readonly number[][]): { sum: number; size: number } {
  let result = { sum: 0, size: 0 };
  scope(() => {
    result = weigh(f(), weights);
  });
  return result;
}
