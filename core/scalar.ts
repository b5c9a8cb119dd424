/**
 * The scalar expression language: the meaning of every elementwise op, by name.
 *
 * A backend has one table `Record<ScalarOp, ...>` that turns a row into JavaScript, WASM SIMD or WGSL; a fused kernel is
 * a graph of these rows.
 *
 * @module
 */
import type { DType } from "./dtype.ts";

/** Scalar ops of one operand. */
export const UNARY = [
  "neg",
  "abs",
  "sign",
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "square",
  "sin",
  "cos",
  "tan",
  "tanh",
  "sigmoid",
  "erf",
  "floor",
  "ceil",
  "round",
  "isNaN",
  "isFinite",
  "not",
  "cast",
] as const;

/** Scalar ops of two operands. */
export const BINARY = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "max",
  "min",
  "mod",
  "equal",
  "notEqual",
  "less",
  "lessEqual",
  "greater",
  "greaterEqual",
  "and",
  "or",
  "xor",
  "shiftLeft",
  "shiftRight",
] as const;

/** A row of the scalar table. `where` takes (condition, a, b). */
export type ScalarOp = typeof UNARY[number] | typeof BINARY[number] | "where";

/** Ways to combine many values into one; `sum` of an empty set is 0, `prod` 1, `all` true, `any` false. */
export type ReduceOp = "sum" | "prod" | "max" | "min" | "any" | "all";

/** The scalar op that combines two values of a reduction. */
export const COMBINE: Readonly<Record<ReduceOp, ScalarOp>> = {
  sum: "add",
  prod: "mul",
  max: "max",
  min: "min",
  any: "or",
  all: "and",
};

/** The value that a reduction starts from. */
export function neutralOf(op: ReduceOp, dtype: DType): number {
  switch (op) {
    case "sum":
    case "any":
      return 0;
    case "prod":
    case "all":
      return 1;
    case "max":
      return dtype === "i32" ? -0x80000000 : dtype === "u32" ? 0 : -Infinity;
    case "min":
      return dtype === "i32" ? 0x7fffffff : dtype === "u32" ? 0xffffffff : Infinity;
  }
}
