/**
 * Gradients of a case.
 *
 * @module
 */
import { type DType, type Tensor, vjp } from "../mod.ts";
import type { ValueCase } from "./cases/case.ts";

/** Dtype and shape of each output: `f32[2,3] i32[2]`, taken apart. */
export function parseSpecs(gives: string): { dtype: DType; shape: number[] }[] {
  return gives.split(" ").map((spec) => {
    const [, dtype, sizes] = /^(\w+)\[([\d,]*)\]$/.exec(spec)!;
    return { dtype: dtype as DType, shape: sizes === "" ? [] : sizes.split(",").map(Number) };
  });
}

/** Inputs that gradients are taken by; none if no output is a float. */
export function differentiated({ inputs, by, order = 1, gives }: ValueCase): readonly number[] {
  if (order === 0 || !/\bf32/.test(gives)) return [];
  return by ?? inputs.flatMap(({ dtype }, i) => dtype === "f32" ? [i] : []);
}

/** Outputs of a case and their gradients by the inputs `by`, for the given gradients of the outputs. */
export function derive(
  row: ValueCase,
  by: readonly number[],
  inputs: readonly Tensor[],
  seeds: readonly Tensor[],
): [Tensor[], Tensor[]] {
  const run = (...xs: Tensor[]): Tensor[] => {
    const all = [...inputs];
    by.forEach((place, k) => all[place] = xs[k]);
    return [row.run(...all)].flat();
  };
  if (by.length === 0) return [run(), []];
  const [outputs, back] = vjp(run, by.map((place) => inputs[place]));
  return [outputs, back(outputs.map((y, i) => y.dtype === "f32" ? seeds[i] : y))];
}
