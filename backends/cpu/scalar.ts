/**
 * The scalar table in JavaScript: what each row of `core/scalar.ts` computes.
 *
 * Functions compute in double precision; storing the result rounds it to f32 or f16, or wraps it to 32 bits.
 *
 * @module
 */
import { type DType, isFloat } from "../../core/dtype.ts";
import type { ScalarOp } from "../../core/scalar.ts";

/** A scalar function of up to three operands. */
export type ScalarFunction = (a: number, b: number, c: number) => number;

/** A row: one function for all dtypes, or one chosen by the dtypes of the (last) operand and of the result. */
type Row = ScalarFunction | { readonly by: (from: DType, to: DType) => ScalarFunction };

const byKind = (float: ScalarFunction, integer: ScalarFunction): Row => ({
  by: (from) => isFloat(from) ? float : integer,
});

const truth = (condition: boolean): number => condition ? 1 : 0;

/** What every scalar op computes. */
const table = {
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sign: (a) => Math.sign(a),
  exp: (a) => Math.exp(a),
  expm1: (a) => Math.expm1(a),
  log: (a) => Math.log(a),
  log1p: (a) => Math.log1p(a),
  log2: (a) => Math.log2(a),
  sqrt: (a) => Math.sqrt(a),
  rsqrt: (a) => 1 / Math.sqrt(a),
  reciprocal: (a) => 1 / a,
  square: byKind((a) => a * a, (a) => Math.imul(a, a)),
  sin: (a) => Math.sin(a),
  cos: (a) => Math.cos(a),
  tan: (a) => Math.tan(a),
  tanh: (a) => Math.tanh(a),
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  erf,
  floor: (a) => Math.floor(a),
  ceil: (a) => Math.ceil(a),
  round: roundHalfEven,
  isNaN: (a) => truth(Number.isNaN(a)),
  isFinite: (a) => truth(Number.isFinite(a)),
  not: { by: (from) => from === "bool" ? (a) => 1 - a : (a) => ~a },
  cast: { by: castFunction },
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: byKind((a, b) => a * b, (a, b) => Math.imul(a, b)),
  div: byKind((a, b) => a / b, (a, b) => b === 0 ? 0 : Math.trunc(a / b)),
  pow: power,
  max: (a, b) => Math.max(a, b),
  min: (a, b) => Math.min(a, b),
  mod: byKind(remainder, (a, b) => b === 0 ? 0 : remainder(a, b)),
  equal: (a, b) => truth(a === b),
  notEqual: (a, b) => truth(a !== b),
  less: (a, b) => truth(a < b),
  lessEqual: (a, b) => truth(a <= b),
  greater: (a, b) => truth(a > b),
  greaterEqual: (a, b) => truth(a >= b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
  shiftRight: { by: (from) => from === "u32" ? (a, b) => a >>> b : (a, b) => a >> b },
  where: (condition, a, b) => condition ? a : b,
} satisfies Record<ScalarOp, Row>;

/** The function of a scalar op, for an operand of dtype `from` and a result of dtype `to`. */
export function scalarFunction(op: ScalarOp, from: DType, to: DType): ScalarFunction {
  const row: Row = table[op];
  return typeof row === "function" ? row : row.by(from, to);
}

/** The nearest whole number; halves go to the even neighbour. */
function roundHalfEven(a: number): number {
  const below = Math.floor(a);
  if (a - below !== 0.5) return Math.round(a);
  return below % 2 === 0 ? below : below + 1;
}

/** Remainder with the sign of the divisor. */
function remainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && (rest < 0) !== (b < 0) ? rest + b : rest;
}

/** C's `pow`, which differs from JavaScript's where the base is 1, or -1 with an infinite exponent. */
function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && Math.abs(b) === Infinity)) return 1;
  return Math.pow(a, b);
}

/**
 * Error function by the series `2/√π · e^(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·5···(2n+1))`, whose terms all have one sign, so that
 * nothing cancels (Abramowitz and Stegun, 7.1.6). Beyond 4 it is 1 in single precision.
 */
export function erf(x: number): number {
  if (!(Math.abs(x) < 4)) return Number.isNaN(x) ? NaN : Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

/** Conversion by the store alone (rounding, wrapping), unless a float has to become a whole number or a truth value. */
function castFunction(from: DType, to: DType): ScalarFunction {
  if (to === "bool") return (a) => truth(a !== 0);
  if (!isFloat(from) || isFloat(to)) return (a) => a;
  const [low, high] = to === "i32" ? [-0x80000000, 0x7fffffff] : [0, 0xffffffff];
  return (a) => Number.isNaN(a) ? 0 : Math.trunc(Math.min(high, Math.max(low, a)));
}
