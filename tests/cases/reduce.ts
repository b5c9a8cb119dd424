/** Rows for reductions, products of matrices, and what is built on them. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { bool, type Case, type Domain, f16, f32, HALF, i32, type Tolerance, u32 } from "./case.ts";

interface ReduceOptions {
  readonly axis?: number | readonly number[];
  readonly keepDims?: boolean;
}

type Reduce = (x: Tensor, options?: ReduceOptions) => Tensor;

/** Sums have as many roundings as elements. */
const ACCUMULATED: Tolerance = { relative: 4e-6 };

/** A float reduction over every choice of axes. */
function floats(action: string, f: Reduce, domain: Domain, order: 1 | 2, tolerance = ACCUMULATED): Case[] {
  return [
    { name: "all of [33]", inputs: [f32([33], domain)], run: (x) => f(x), gives: "f32[]", order, tolerance },
    {
      name: "last axis",
      inputs: [f32([3, 17], domain)],
      run: (x) => f(x, { axis: -1 }),
      gives: "f32[3]",
      order,
      tolerance,
    },
    { name: "first axis", inputs: [f32([17, 3], domain)], run: (x) => f(x, { axis: 0 }), gives: "f32[3]", tolerance },
    {
      name: "outer axes, keepDims",
      inputs: [f32([2, 5, 3], domain)],
      run: (x) => f(x, { axis: [0, -1], keepDims: true }),
      gives: "f32[1,5,1]",
      tolerance,
    },
    { name: "no axes", inputs: [f32([2, 3], domain)], run: (x) => f(x, { axis: [] }), gives: "f32[2,3]", order: 0 },
    { name: "scalar", inputs: [f32([], domain)], run: (x) => f(x), gives: "f32[]", tolerance },
    { name: "size 1", inputs: [f32([3, 1], domain)], run: (x) => f(x, { axis: 1 }), gives: "f32[3]", tolerance },
    {
      name: "an axis too many",
      inputs: [f32([2, 3])],
      run: (x) => f(x, { axis: 2 }),
      throws: `ShapeError: Cannot ${action} along axis 2: the tensor has 2 axes`,
    },
    {
      name: "an axis twice",
      inputs: [f32([2, 3])],
      run: (x) => f(x, { axis: [1, -1] }),
      throws: `ShapeError: Cannot ${action} along axes [1,1]: an axis appears twice`,
    },
  ];
}

/** Reductions of other dtypes, and of nothing. */
function others(f: Reduce, empty: boolean): Case[] {
  const cases: Case[] = [
    { name: "i32", inputs: [i32([3, 5])], run: (x) => f(x, { axis: 1 }), gives: "i32[3]" },
    { name: "u32", inputs: [u32([3, 5])], run: (x) => f(x, { axis: 0 }), gives: "u32[5]" },
    {
      name: "f16",
      inputs: [f16([3, 5], "positive")],
      run: (x) => f(x, { axis: 1 }),
      gives: "f16[3]",
      tolerance: HALF,
      order: 0,
    },
  ];
  if (empty) {
    const run = (x: Tensor) => f(x, { axis: 0 });
    cases.push({ name: "empty axis", inputs: [f32([0, 3])], run, gives: "f32[3]", order: 0 });
  }
  const run = (x: Tensor) => f(x, { axis: 1 });
  cases.push({ name: "empty result", inputs: [f32([0, 3])], run, gives: "f32[0]", order: 0 });
  return cases;
}

function truth(f: Reduce): Case[] {
  return [
    { name: "all of [33]", inputs: [bool([33])], run: (x) => f(x), gives: "bool[]" },
    { name: "last axis", inputs: [bool([5, 3])], run: (x) => f(x, { axis: -1 }), gives: "bool[5]" },
    { name: "empty axis", inputs: [bool([0, 3])], run: (x) => f(x, { axis: 0, keepDims: true }), gives: "bool[1,3]" },
  ];
}

function position(f: (x: Tensor, options?: { axis?: number; keepDims?: boolean }) => Tensor): Case[] {
  const ties = { exactly: [2, 5, 5, 1, 1, 5, 0] };
  return [
    { name: "all", inputs: [f32([3, 7], "distinct")], run: (x) => f(x), gives: "i32[]" },
    { name: "last axis", inputs: [f32([3, 17], "distinct")], run: (x) => f(x, { axis: -1 }), gives: "i32[3]" },
    { name: "first axis", inputs: [f32([7, 2, 3], "distinct")], run: (x) => f(x, { axis: 0 }), gives: "i32[2,3]" },
    { name: "ties go to the first", inputs: [i32([2, 7], ties)], run: (x) => f(x, { axis: 1 }), gives: "i32[2]" },
  ];
}

const matmulTolerance: Tolerance = { relative: 4e-6 };

function product(name: string, a: number[], b: number[], out: string, options: tn.MatmulOptions = {}, order?: 2): Case {
  const run = (x: Tensor, y: Tensor) => tn.matmul(x, y, options);
  return { name, inputs: [f32(a), f32(b)], run, gives: `f32[${out}]`, order, tolerance: matmulTolerance };
}

function einsum(equation: string, shapes: number[][], out: string): Case {
  const run = (...xs: Tensor[]) => tn.einsum(equation, ...xs);
  return {
    name: equation,
    inputs: shapes.map((shape) => f32(shape)),
    run,
    gives: `f32[${out}]`,
    tolerance: matmulTolerance,
  };
}

const norm = (ord?: 1 | 2) => (x: Tensor, options?: ReduceOptions) => tn.norm(x, { ...options, ord });

export const reduce = {
  sum: [
    ...floats("sum", tn.sum, "normal", 1),
    ...others(tn.sum, true),
    {
      name: "long rows",
      inputs: [f32([2, 1025])],
      run: (x: Tensor) => tn.sum(x, { axis: 1 }),
      gives: "f32[2]",
      order: 0,
    },
    {
      name: "long columns",
      inputs: [f32([1025, 2])],
      run: (x: Tensor) => tn.sum(x, { axis: 0 }),
      gives: "f32[2]",
      order: 0,
    },
  ],
  mean: floats("mean", tn.mean, "normal", 1),
  max: [
    ...floats("take the maximum", (x, options) => tn.max(x, options), "distinct", 1),
    ...others((x, options) => tn.max(x, options), false),
    ...NaNs((x) => tn.max(x, { axis: 1 })),
    ...pair((a, b) => tn.max(a, b)),
  ],
  min: [
    ...floats("take the minimum", (x, options) => tn.min(x, options), "distinct", 1),
    ...others((x, options) => tn.min(x, options), false),
    ...NaNs((x) => tn.min(x, { axis: 1 })),
    ...pair((a, b) => tn.min(a, b)),
  ],
  prod: [
    ...floats("multiply", tn.prod, "positive", 2, { relative: 1e-5 }),
    ...others(tn.prod, true),
    {
      name: "gradient at zeros",
      inputs: [f32([4, 3], { exactly: [2, 0, 3, 0, 0, 5, 1, 2, 4, 1.5, -1, 0] })],
      run: (x: Tensor) => tn.prod(x, { axis: 1 }),
      gives: "f32[4]",
    },
  ],
  any: truth(tn.any),
  all: truth(tn.all),
  argmax: position(tn.argmax),
  argmin: position(tn.argmin),
  logSumExp: [
    ...floats("logSumExp", tn.logSumExp, "normal", 2),
    {
      name: "large and infinite",
      inputs: [f32([3, 2], { exactly: [1000, 1001, -Infinity, -Infinity, -1000, -Infinity] })],
      run: (x: Tensor) => tn.logSumExp(x, { axis: 1 }),
      gives: "f32[3]",
      order: 0,
    },
  ],
  variance: [
    ...floats("variance", tn.variance, "normal", 2, { relative: 1e-5, floor: 0.1 }),
    {
      name: "correction 1",
      inputs: [f32([3, 7])],
      run: (x: Tensor) => tn.variance(x, { axis: 1, correction: 1 }),
      gives: "f32[3]",
      order: 2,
    },
    {
      name: "far from zero",
      inputs: [f32([2, 65], [1000, 1001])],
      run: (x: Tensor) => tn.variance(x, { axis: 1 }),
      gives: "f32[2]",
      order: 0,
      tolerance: { relative: 2e-4 },
    },
  ],
  norm: [
    ...floats("norm", norm(), "positive", 2),
    ...floats("sum", norm(1), "apart", 1).map((row) => ({ ...row, name: `ord 1, ${row.name}` })),
    {
      name: "ord infinity",
      inputs: [f32([3, 7], "distinct")],
      run: (x: Tensor) => tn.norm(x, { axis: 1, ord: Infinity }),
      gives: "f32[3]",
      order: 0,
    },
  ],
  cumulativeSum: [
    { name: "[33]", inputs: [f32([33])], run: (x: Tensor) => tn.cumulativeSum(x), gives: "f32[33]" },
    {
      name: "first axis",
      inputs: [f32([5, 3])],
      run: (x: Tensor) => tn.cumulativeSum(x, { axis: 0 }),
      gives: "f32[5,3]",
    },
    {
      name: "exclusive, middle axis",
      inputs: [f32([2, 17, 3])],
      run: (x: Tensor) => tn.cumulativeSum(x, { axis: 1, exclusive: true }),
      gives: "f32[2,17,3]",
    },
    {
      name: "reverse",
      inputs: [f32([3, 7])],
      run: (x: Tensor) => tn.cumulativeSum(x, { axis: -1, reverse: true }),
      gives: "f32[3,7]",
    },
    {
      name: "reverse exclusive i32",
      inputs: [i32([3, 7])],
      run: (x: Tensor) => tn.cumulativeSum(x, { axis: 1, reverse: true, exclusive: true }),
      gives: "i32[3,7]",
    },
    {
      name: "empty",
      inputs: [f32([2, 0])],
      run: (x: Tensor) => tn.cumulativeSum(x, { axis: 1 }),
      gives: "f32[2,0]",
      order: 0,
    },
  ],
  matmul: [
    product("[3,5] by [5,4]", [3, 5], [5, 4], "3,4", {}, 2),
    product("off the tiles", [33, 65], [65, 17], "33,17"),
    product("one row", [1, 65], [65, 33], "1,33"),
    product("one column", [17, 33], [33, 1], "17,1"),
    product("transposed left", [9, 17], [9, 5], "17,5", { transposeA: true }),
    product("transposed right", [17, 9], [5, 9], "17,5", { transposeB: true }),
    product("both transposed", [9, 17], [5, 9], "17,5", { transposeA: true, transposeB: true }),
    product("batches", [2, 3, 5], [2, 5, 4], "2,3,4"),
    product("batches broadcast", [2, 1, 3, 5], [7, 5, 4], "2,7,3,4"),
    product("batch by matrix", [2, 3, 5], [5, 4], "2,3,4"),
    product("vector by matrix", [5], [5, 4], "4"),
    product("matrix by vector", [2, 3, 5], [5], "2,3"),
    product("nothing to add up", [3, 0], [0, 4], "3,4"),
    product("empty", [0, 5], [5, 4], "0,4"),
    {
      name: "inner sizes differ",
      inputs: [f32([2, 3]), f32([2, 4])],
      run: (a: Tensor, b: Tensor) => tn.matmul(a, b),
      throws: "ShapeError: Cannot multiply [2,3] by [2,4]: inner sizes are 3 and 2",
    },
  ],
  dot: [
    {
      name: "vectors",
      inputs: [f32([33]), f32([33])],
      run: (a: Tensor, b: Tensor) => tn.dot(a, b),
      gives: "f32[]",
      order: 2,
    },
    {
      name: "matrices",
      inputs: [f32([2, 3]), f32([3, 5])],
      run: (a: Tensor, b: Tensor) => tn.dot(a, b),
      gives: "f32[2,5]",
    },
  ],
  outer: [
    {
      name: "[3] by [5]",
      inputs: [f32([3]), f32([5])],
      run: (a: Tensor, b: Tensor) => tn.outer(a, b),
      gives: "f32[3,5]",
      order: 2,
    },
  ],
  einsum: [
    einsum("ij,jk->ik", [[2, 3], [3, 5]], "2,5"),
    einsum("ij,kj", [[2, 3], [5, 3]], "2,5"),
    einsum("bthd,bshd->bhts", [[2, 3, 5, 4], [2, 7, 5, 4]], "2,5,3,7"),
    einsum("ii->i", [[4, 4]], "4"),
    einsum("ii", [[3, 3]], ""),
    einsum("ijk->kj", [[2, 3, 5]], "5,3"),
    einsum("...ij,jk->...ik", [[2, 7, 3, 5], [5, 4]], "2,7,3,4"),
    einsum("abc,cd,bde->ae", [[2, 3, 4], [4, 5], [3, 5, 7]], "2,7"),
  ],
} satisfies Record<string, Case[]>;

/** max and min pass NaN on. */
function NaNs(run: (x: Tensor) => Tensor): Case[] {
  const values = [1, NaN, 3, -Infinity, Infinity, 0];
  return [{ name: "NaN is passed on", inputs: [f32([2, 3], { exactly: values })], run, gives: "f32[2]", order: 0 }];
}

/** The larger or smaller of two. */
function pair(run: (a: Tensor, b: Tensor) => Tensor): Case[] {
  return [
    {
      name: "of two",
      inputs: [f32([2, 1, 5], "distinct"), f32([3, 1], { exactly: [0.1, 0.6, -0.4] })],
      run,
      gives: "f32[2,3,5]",
    },
    {
      name: "of two, edges",
      inputs: [
        f32([5, 1], { exactly: [NaN, Infinity, -Infinity, 0, 1] }),
        f32([5], { exactly: [NaN, Infinity, -Infinity, 0, 1] }),
      ],
      run,
      gives: "f32[5,5]",
      order: 0,
    },
    { name: "of two i32", inputs: [i32([7]), i32([7])], run, gives: "i32[7]" },
  ];
}
