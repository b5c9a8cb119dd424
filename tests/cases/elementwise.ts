/** Rows for the elementwise ops. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { bool, type Case, type Domain, ELEMENTWISE, EXACT, f16, f32, HALF, i32, type Tolerance, u32 } from "./case.ts";

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

interface UnaryOptions {
  readonly order?: 1 | 2;
  /** Values where the function does something special. */
  readonly edges?: readonly number[];
  readonly tolerance?: Tolerance;
}

/** A function of one float, in the shapes that matter. */
function unary(
  run: (x: Tensor) => Tensor,
  domain: Domain,
  { order = 2, edges, tolerance = ELEMENTWISE }: UnaryOptions = {},
): Case[] {
  const cases: Case[] = [
    { name: "[3,17]", inputs: [f32([3, 17], domain)], run, gives: "f32[3,17]", order, tolerance },
    { name: "scalar", inputs: [f32([], domain)], run, gives: "f32[]", order: 0, tolerance },
    { name: "empty", inputs: [f32([0, 3], domain)], run, gives: "f32[0,3]", order: 0 },
    { name: "f16", inputs: [f16([5], domain)], run, gives: "f16[5]", order: 0, tolerance: HALF },
  ];
  if (edges) {
    const inputs = [f32([edges.length], { exactly: edges })];
    cases.push({ name: "edges", inputs, run, gives: `f32[${edges.length}]`, order: 0, tolerance });
  }
  return cases;
}

/** The same for whole numbers. */
function integer(run: (x: Tensor) => Tensor, values: readonly number[], dtypes: readonly ("i32" | "u32")[]): Case[] {
  return dtypes.map((dtype) => ({
    name: dtype,
    inputs: [{ shape: [values.length], dtype, domain: { exactly: values } }],
    run,
    gives: `${dtype}[${values.length}]`,
  }));
}

/** Floats in, bool out. */
function classify(run: (x: Tensor) => Tensor): Case[] {
  return [
    { name: "edges", inputs: [f32([7], { exactly: [nan, inf, -inf, 0, -0, 3e38, 1] })], run, gives: "bool[7]" },
    { name: "[2,3]", inputs: [f32([2, 3])], run, gives: "bool[2,3]" },
    { name: "f16", inputs: [f16([3], { exactly: [nan, inf, 1] })], run, gives: "bool[3]" },
  ];
}

type Binary = (a: Tensor, b: Tensor) => Tensor;

/** Arithmetic of two tensors. */
function arithmetic(run: Binary, b: Domain, order: 1 | 2, a: Domain = "normal", tolerance = ELEMENTWISE): Case[] {
  return [
    {
      name: "[2,17] and [2,17]",
      inputs: [f32([2, 17], a), f32([2, 17], b)],
      run,
      gives: "f32[2,17]",
      order,
      tolerance,
    },
    { name: "[2,1,5] and [3,1]", inputs: [f32([2, 1, 5], a), f32([3, 1], b)], run, gives: "f32[2,3,5]", tolerance },
    { name: "[4,5] and scalar", inputs: [f32([4, 5], a), f32([], b)], run, gives: "f32[4,5]", tolerance },
    { name: "empty", inputs: [f32([0, 3], a), f32([1], b)], run, gives: "f32[0,3]", order: 0 },
    { name: "f16", inputs: [f16([5], a), f16([5], b)], run, gives: "f16[5]", order: 0, tolerance: HALF },
  ];
}

const WHOLE = [7, -7, 6, 0, -1, 2147483647, -2147483648];
const DIVISORS = [3, 3, -4, 5, 2, 10, 3];

/** Arithmetic of whole numbers, which wraps around. */
function wholes(run: Binary): Case[] {
  return [
    { name: "i32", inputs: [i32([7], { exactly: WHOLE }), i32([7], { exactly: DIVISORS })], run, gives: "i32[7]" },
    {
      name: "u32",
      inputs: [u32([4], { exactly: [0, 7, 4294967295, 2147483648] }), u32([4], { exactly: [3, 2, 2, 5] })],
      run,
      gives: "u32[4]",
    },
  ];
}

function mismatch(run: Binary, action: string): Case[] {
  return [
    {
      name: "sizes that do not broadcast",
      inputs: [f32([2, 3]), f32([4])],
      run,
      throws: `ShapeError: Cannot ${action} [2,3] and [4]: sizes 3 and 4 do not broadcast`,
    },
    {
      name: "mixed dtypes",
      inputs: [f32([2]), i32([2])],
      run,
      throws: `DTypeError: Cannot ${action} f32 and i32: cast one of them`,
    },
  ];
}

const LEFT = [1, 2, 3, nan, inf, 0, -0];
const RIGHT = [2, 2, 2, 1, inf, -0, nan];

function compare(run: Binary, action: string): Case[] {
  return [
    { name: "floats", inputs: [f32([7], { exactly: LEFT }), f32([7], { exactly: RIGHT })], run, gives: "bool[7]" },
    { name: "broadcast", inputs: [i32([3, 1], [0, 3]), i32([5], [0, 3])], run, gives: "bool[3,5]" },
    {
      name: "u32 above 2^31",
      inputs: [u32([3], { exactly: [4294967295, 1, 2147483648] }), u32([3], { exactly: [1, 1, 2147483647] })],
      run,
      gives: "bool[3]",
    },
    ...mismatch(run, action),
  ];
}

const BITS = [0b1100, -1, 0x7fffffff, 0, 255];
const MASKS = [0b1010, 0x0f0f, -2147483648, 7, -256];

function bitwise(run: Binary): Case[] {
  return [
    { name: "i32", inputs: [i32([5], { exactly: BITS }), i32([5], { exactly: MASKS })], run, gives: "i32[5]" },
    { name: "u32", inputs: [u32([2, 1], [0, 999]), u32([3], [0, 999])], run, gives: "u32[2,3]" },
  ];
}

function logical(run: Binary): Case[] {
  return [{ name: "bool", inputs: [bool([3, 5]), bool([5])], run, gives: "bool[3,5]" }];
}

function shift(run: Binary): Case[] {
  const counts = { exactly: [0, 1, 31, 4, 7] };
  return [
    { name: "i32", inputs: [i32([5], { exactly: BITS }), i32([5], counts)], run, gives: "i32[5]" },
    {
      name: "u32",
      inputs: [u32([5], { exactly: [1, 3, 4294967295, 255, 2147483648] }), u32([5], counts)],
      run,
      gives: "u32[5]",
    },
  ];
}

const SPECIAL = [0, -0, inf, -inf, nan];
const HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e9, -0.25, ...SPECIAL];

function step(run: (x: Tensor) => Tensor, domain: Domain = "fraction"): Case[] {
  return unary(run, domain, { order: 1, edges: HALVES, tolerance: EXACT });
}

export const elementwise = {
  neg: [...unary(tn.neg, "normal", { edges: SPECIAL, tolerance: EXACT }), ...integer(tn.neg, WHOLE, ["i32"])],
  abs: [...unary(tn.abs, "apart", { edges: SPECIAL, tolerance: EXACT }), ...integer(tn.abs, WHOLE, ["i32"])],
  sign: [...unary(tn.sign, "apart", { edges: SPECIAL, tolerance: EXACT }), ...integer(tn.sign, WHOLE, ["i32"])],
  exp: unary(tn.exp, "normal", { edges: [0, -0, 1, -1, 88, -87, 89, -120, inf, -inf, nan] }),
  expm1: unary(tn.expm1, "normal", { edges: [0, 1e-6, -1e-6, 1e-3, -30, 88, 89, inf, -inf, nan] }),
  log: unary(tn.log, "positive", { edges: [0, 1, 1e-30, 3e38, -1, inf, nan] }),
  log1p: unary(tn.log1p, "unit", { edges: [0, 1e-6, -1e-6, -1, -2, 3e38, inf, nan] }),
  log2: unary(tn.log2, "positive", { edges: [0, 1, 8, 0.125, 3e38, -1, inf, nan] }),
  sqrt: unary(tn.sqrt, "positive", { edges: [0, 4, 1e-30, 3e38, -1, inf, nan] }),
  rsqrt: unary(tn.rsqrt, "positive", { edges: [0, 4, 1e-30, 3e38, -1, inf, nan] }),
  reciprocal: unary(tn.reciprocal, "apart", { edges: [4, -2, 1e-30, ...SPECIAL] }),
  square: [...unary(tn.square, "normal", { edges: [3, ...SPECIAL] }), ...integer(tn.square, WHOLE, ["i32"])],
  sin: unary(tn.sin, "normal", { edges: [0, 3.1415927, -1.5707964, 100, -1000, inf, nan] }),
  cos: unary(tn.cos, "normal", { edges: [0, 3.1415927, -1.5707964, 100, -1000, inf, nan] }),
  tan: unary(tn.tan, "unit", { edges: [0, 0.7853982, -1, 3.1415927, 100] }),
  tanh: unary(tn.tanh, "normal", { edges: [1e-6, 0.01, 9, -9, 100, ...SPECIAL] }),
  sigmoid: unary(tn.sigmoid, "normal", { edges: [20, -20, 100, -100, ...SPECIAL] }),
  erf: unary(tn.erf, "normal", { edges: [1e-6, 0.01, 0.9, 1.1, 3.9, -6, ...SPECIAL] }),
  floor: step(tn.floor),
  ceil: step(tn.ceil),
  round: step(tn.round, { exactly: [-2.25, -0.9, 0.1, 1.3, 2.7, 4] }),
  isNaN: classify(tn.isNaN),
  isFinite: classify(tn.isFinite),
  not: [
    { name: "bool", inputs: [bool([3, 5])], run: tn.not, gives: "bool[3,5]" },
    { name: "i32", inputs: [i32([5], { exactly: BITS })], run: tn.not, gives: "i32[5]" },
    { name: "u32", inputs: [u32([3])], run: tn.not, gives: "u32[3]" },
  ],
  add: [...arithmetic(tn.add, "normal", 2), ...wholes(tn.add), ...mismatch(tn.add, "add")],
  sub: [...arithmetic(tn.sub, "normal", 2), ...wholes(tn.sub), ...mismatch(tn.sub, "subtract")],
  mul: [...arithmetic(tn.mul, "normal", 2), ...wholes(tn.mul), ...mismatch(tn.mul, "multiply")],
  div: [
    ...arithmetic(tn.div, "apart", 2),
    ...wholes(tn.div),
    { name: "i32 by zero", inputs: [i32([3]), i32([1], [0, 1])], run: tn.div, gives: "i32[3]" },
    {
      name: "edges",
      inputs: [f32([4], { exactly: [1, -1, 0, inf] }), f32([4], { exactly: [0, 0, 0, inf] })],
      run: tn.div,
      gives: "f32[4]",
      order: 0,
    },
    ...mismatch(tn.div, "divide"),
  ],
  pow: [
    ...arithmetic(tn.pow, "normal", 2, "positive"),
    {
      name: "edges",
      inputs: [
        f32([10, 1], { exactly: [-inf, -2.5, -1, -0, 0, 0.5, 1, 3, inf, nan] }),
        f32([9], { exactly: [-inf, -3, -0.5, 0, 0.5, 2, 3, inf, nan] }),
      ],
      run: tn.pow,
      gives: "f32[10,9]",
      order: 0,
      tolerance: ELEMENTWISE,
    },
    {
      name: "a number as the exponent",
      inputs: [f32([7], { exactly: [0, -0, -2, 1.5, 3, -0.5, 10] })],
      run: (x) => tn.pow(x, 3),
      gives: "f32[7]",
      tolerance: ELEMENTWISE,
    },
    ...mismatch(tn.pow, "raise"),
  ],
  mod: [
    ...arithmetic(tn.mod, { exactly: [0.7] }, 1, { exactly: [1.9, -1.5, 0.2, -0.3, 2.6] }),
    ...wholes(tn.mod),
    { name: "i32 by zero", inputs: [i32([3]), i32([1], [0, 1])], run: tn.mod, gives: "i32[3]" },
    ...mismatch(tn.mod, "take the remainder of"),
  ],
  equal: compare(tn.equal, "compare"),
  notEqual: compare(tn.notEqual, "compare"),
  less: compare(tn.less, "compare"),
  lessEqual: compare(tn.lessEqual, "compare"),
  greater: compare(tn.greater, "compare"),
  greaterEqual: compare(tn.greaterEqual, "compare"),
  and: [...bitwise(tn.and), ...logical(tn.and)],
  or: [...bitwise(tn.or), ...logical(tn.or)],
  xor: [...bitwise(tn.xor), ...logical(tn.xor)],
  shiftLeft: shift(tn.shiftLeft),
  shiftRight: shift(tn.shiftRight),
  where: [
    {
      name: "broadcast",
      inputs: [bool([3, 1]), f32([5]), f32([2, 1, 1])],
      run: tn.where,
      gives: "f32[2,3,5]",
      order: 2,
      tolerance: EXACT,
    },
    { name: "a NaN that is not chosen", inputs: [f32([3], { exactly: [nan, 1, -1] })], run: noNaN, gives: "f32[3]" },
    { name: "i32", inputs: [bool([7]), i32([7]), i32([7])], run: tn.where, gives: "i32[7]" },
    { name: "bool", inputs: [bool([7]), bool([7]), bool([7])], run: tn.where, gives: "bool[7]" },
  ],
  clamp: [
    {
      name: "both sides",
      inputs: [f32([3, 5], { exactly: [-2, -0.9, 0.1, 0.4, 1.7] })],
      run: (x) => tn.clamp(x, { min: -0.5, max: 0.75 }),
      gives: "f32[3,5]",
    },
    { name: "below", inputs: [f32([7], "apart")], run: (x) => tn.clamp(x, { min: 0 }), gives: "f32[7]" },
    { name: "i32", inputs: [i32([7])], run: (x) => tn.clamp(x, { min: -2, max: 3 }), gives: "i32[7]" },
  ],
  cast: [
    {
      name: "f32 to i32",
      inputs: [f32([9], { exactly: [1.9, -1.9, 3e9, -3e9, ...SPECIAL] })],
      run: to("i32"),
      gives: "i32[9]",
    },
    {
      name: "f32 to u32",
      inputs: [f32([9], { exactly: [1.9, 3e9, 5e9, -3, ...SPECIAL] })],
      run: to("u32"),
      gives: "u32[9]",
    },
    { name: "f32 to bool", inputs: [f32([6], { exactly: [0.5, ...SPECIAL] })], run: to("bool"), gives: "bool[6]" },
    {
      name: "f32 to f16",
      inputs: [f32([6], { exactly: [1 / 3, 70000, ...SPECIAL] })],
      run: to("f16"),
      gives: "f16[6]",
    },
    { name: "f16 to f32", inputs: [f16([2, 3])], run: to("f32"), gives: "f32[2,3]", order: 0 },
    { name: "i32 to f32", inputs: [i32([7], { exactly: WHOLE })], run: to("f32"), gives: "f32[7]" },
    { name: "u32 to f32", inputs: [u32([3], { exactly: [0, 7, 4294967295] })], run: to("f32"), gives: "f32[3]" },
    { name: "i32 to u32", inputs: [i32([7], { exactly: WHOLE })], run: to("u32"), gives: "u32[7]" },
    { name: "u32 to i32", inputs: [u32([3], { exactly: [0, 7, 4294967295] })], run: to("i32"), gives: "i32[3]" },
    { name: "bool to f32", inputs: [bool([7])], run: to("f32"), gives: "f32[7]" },
    { name: "i32 to bool", inputs: [i32([7], [0, 3])], run: to("bool"), gives: "bool[7]" },
    {
      name: "gradient goes through f16",
      inputs: [f32([7], { exactly: [0.5, 1, -2] })],
      run: (x) => tn.cast(tn.cast(x, "f16"), "f32"),
      gives: "f32[7]",
      order: 0,
    },
  ],
} satisfies Record<string, Case[]>;

function to(dtype: tn.DType): (x: Tensor) => Tensor {
  return (x) => tn.cast(x, dtype);
}

function noNaN(x: Tensor): Tensor {
  return tn.where(tn.isNaN(x), tn.zerosLike(x), x);
}
