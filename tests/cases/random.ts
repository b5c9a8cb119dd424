/** Rows for random numbers, which are the same on every backend. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { type Case, EXACT, f32, i32 } from "./case.ts";

/** Counted bits and what is exact arithmetic of them. */
function exact(name: string, run: () => Tensor, gives: string): Case {
  return { name, inputs: [], run, gives, tolerance: EXACT };
}

/** Passed through erf's inverse. */
function close(name: string, run: () => Tensor, gives: string): Case {
  return { name, inputs: [], run, gives, tolerance: { relative: 2e-6, floor: 0.5 } };
}

export const random = {
  key: [exact("a seed", () => tn.key(1234567).threefry, "u32[2]")],
  randomBits: [
    exact("[3,5]", () => tn.randomBits(tn.key(7), [3, 5]), "u32[3,5]"),
    exact("scalar", () => tn.randomBits(tn.key(7), []), "u32[]"),
    exact("a split key", () => tn.randomBits(tn.split(tn.key(7))[1], [17]), "u32[17]"),
    exact("empty", () => tn.randomBits(tn.key(7), [0, 3]), "u32[0,3]"),
  ],
  uniform: [
    exact("[3,17]", () => tn.uniform(tn.key(1), [3, 17]), "f32[3,17]"),
    close("from -2 to 5", () => tn.uniform(tn.key(1), [7], { min: -2, max: 5 }), "f32[7]"),
  ],
  normal: [
    close("[3,17]", () => tn.normal(tn.key(2), [3, 17]), "f32[3,17]"),
    close("mean and std", () => tn.normal(tn.key(2), [7], { mean: 3, std: 0.5 }), "f32[7]"),
  ],
  bernoulli: [exact("0.3", () => tn.bernoulli(tn.key(3), [33], { probability: 0.3 }), "bool[33]")],
  randint: [
    exact("-5 to 17", () => tn.randint(tn.key(4), [3, 5], { min: -5, max: 17 }), "i32[3,5]"),
    exact("wide", () => tn.randint(tn.key(4), [7], { min: -2147483648, max: 2147483647 }), "i32[7]"),
  ],
  truncatedNormal: [close("-1 to 2", () => tn.truncatedNormal(tn.key(5), [17], { lower: -1, upper: 2 }), "f32[17]")],
  permutation: [
    exact("numbers", () => tn.permutation(tn.key(6), 33), "i32[33]"),
    {
      name: "rows",
      inputs: [f32([7, 3])],
      run: (x: Tensor) => tn.permutation(tn.key(6), x),
      gives: "f32[7,3]",
      order: 0,
      tolerance: EXACT,
    },
    {
      name: "axis 1",
      inputs: [i32([2, 5])],
      run: (x: Tensor) => tn.permutation(tn.key(6), x, { axis: 1 }),
      gives: "i32[2,5]",
    },
  ],
  categorical: [
    { name: "last axis", inputs: [f32([5, 7])], run: (x: Tensor) => tn.categorical(tn.key(9), x), gives: "i32[5]" },
    {
      name: "axis 0",
      inputs: [f32([7, 3])],
      run: (x: Tensor) => tn.categorical(tn.key(9), x, { axis: 0 }),
      gives: "i32[3]",
    },
  ],
} satisfies Record<string, Case[]>;
