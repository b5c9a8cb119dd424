/**
 * The scalar table in WGSL: how each row of the scalar language is written for one value or for four.
 *
 * In registers a `bool` is a WGSL bool and an `f16` is an f32; shader.ts converts where memory is touched.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { ScalarOp } from "../../core/scalar.ts";
import type { MathLibrary, Width } from "./math.ts";

/** Type of a value in a register. */
export type Lane = "f32" | "i32" | "u32" | "bool";

/** The register type of a dtype. */
export function laneOf(dtype: DType): Lane {
  return dtype === "f16" ? "f32" : dtype;
}

/** WGSL's name for `width` values of a type. */
export function typeName(lane: Lane, width: Width): string {
  if (width === 1) return lane;
  return lane === "bool" ? "vec4<bool>" : `vec4${lane[0]}`;
}

/** A row applied: arguments as WGSL expressions of equal width. */
export interface ScalarCall {
  readonly args: readonly string[];
  /** Type of the (last) argument. */
  readonly from: Lane;
  /** Type of the result. */
  readonly to: DType;
  readonly width: Width;
  readonly library: MathLibrary;
}

type Row = (call: ScalarCall) => string;

function call({ args, width, library }: ScalarCall, name: string): string {
  return `${library.use(name, width)}(${args.join(", ")})`;
}

/** A function of math.ts. */
function math(name: string): Row {
  return (c) => call(c, name);
}

/** One text for every type; `$0 $1` are the arguments, `F` the operand's type. */
function text(template: string): Row {
  return ({ args, from, width }) =>
    template.replace(/\$(\d)/g, (_, i) => args[Number(i)]).replaceAll("F", typeName(from, width));
}

/** Different rows for different operand types; `other` serves those not named. */
function byType(rows: Partial<Record<Lane, Row>>, other: Row = rows.f32!): Row {
  return (c) => (rows[c.from] ?? other)(c);
}

const not = text("!($0)");
const bits = text("~($0)");
const same = text("($0)");

function swap(row: Row): Row {
  return (c) => row({ ...c, args: [c.args[1], c.args[0]] });
}

const less = byType({ f32: math("less"), bool: text("(!($0) & ($1))") }, text("(($0) < ($1))"));
const lessEqual = byType({ f32: math("lessEqual"), bool: text("(!($0) | ($1))") }, text("(($0) <= ($1))"));
const equal = byType({ f32: math("equal") }, text("(($0) == ($1))"));

function shift(operator: string): Row {
  return ({ args: [a, b], width }) =>
    `((${a}) ${operator} (${typeName("u32", width)}(${b}) & ${typeName("u32", width)}(31u)))`;
}

function convert(to: Lane): Row {
  const fromBool: Row = ({ args: [a], width }) => {
    const type = typeName(to, width);
    return `select(${type}(0), ${type}(1), ${a})`;
  };
  const plain: Row = ({ args: [a], width }) => `${typeName(to, width)}(${a})`;
  return {
    f32: byType({ f32: same, bool: fromBool }, plain),
    i32: byType({ f32: math("toInt"), i32: same, bool: fromBool }, plain),
    u32: byType({ f32: math("toUint"), u32: same, bool: fromBool }, plain),
    bool: byType({ f32: math("toBool"), bool: same }, text("(($0) != F(0))")),
  }[to];
}

/** Rounds to half precision, so that a fused cast gives what a stored one would. */
const toHalf: Row = (c) => call({ ...c, args: [convert("f32")(c)] }, "half");

/** How each scalar op is written. */
export const SCALAR = {
  neg: byType({ u32: text("(F(0u) - ($0))"), bool: same }, text("-($0)")),
  abs: byType({ u32: same, bool: same }, text("abs($0)")),
  sign: byType({ f32: math("sign"), u32: text("min($0, F(1u))"), bool: same }, text("sign($0)")),
  exp: math("exp"),
  expm1: math("expm1"),
  log: math("log"),
  log1p: math("log1p"),
  log2: math("log2"),
  sqrt: text("sqrt($0)"),
  rsqrt: text("(1.0 / sqrt($0))"),
  reciprocal: text("(1.0 / ($0))"),
  square: byType({ bool: same }, text("(($0) * ($0))")),
  sin: math("sin"),
  cos: math("cos"),
  tan: math("tan"),
  tanh: math("tanh"),
  sigmoid: math("sigmoid"),
  erf: math("erf"),
  floor: byType({ f32: text("floor($0)") }, same),
  ceil: byType({ f32: text("ceil($0)") }, same),
  round: byType({ f32: text("round($0)") }, same),
  isNaN: byType({ f32: math("isNaN") }, ({ width }) => `${typeName("bool", width)}(false)`),
  isFinite: byType({ f32: math("isFinite") }, ({ width }) => `${typeName("bool", width)}(true)`),
  not: (c) => c.from === "bool" ? not(c) : c.to === "bool" ? not({ ...c, args: [convert("bool")(c)] }) : bits(c),
  cast: (c) => c.to === "f16" ? toHalf(c) : convert(laneOf(c.to))(c),
  add: byType({ bool: text("(($0) | ($1))") }, text("(($0) + ($1))")),
  sub: byType({ bool: text("(($0) != ($1))") }, text("(($0) - ($1))")),
  mul: byType({ bool: text("(($0) & ($1))") }, text("(($0) * ($1))")),
  div: byType({ f32: text("(($0) / ($1))"), i32: math("divInt"), u32: math("divUint"), bool: text("(($0) & ($1))") }),
  pow: byType({ f32: math("pow"), i32: math("powInt"), u32: math("powUint"), bool: text("(($0) | !($1))") }),
  max: byType({ f32: math("max"), bool: text("(($0) | ($1))") }, text("max($0, $1)")),
  min: byType({ f32: math("min"), bool: text("(($0) & ($1))") }, text("min($0, $1)")),
  mod: byType({ f32: math("mod"), i32: math("modInt"), u32: math("modUint"), bool: text("(($0) & !($1))") }),
  equal,
  notEqual: (c) => `!${equal(c)}`,
  less,
  lessEqual,
  greater: swap(less),
  greaterEqual: swap(lessEqual),
  and: text("(($0) & ($1))"),
  or: text("(($0) | ($1))"),
  xor: byType({ bool: text("(($0) != ($1))") }, text("(($0) ^ ($1))")),
  shiftLeft: shift("<<"),
  shiftRight: shift(">>"),
  where: text("select($2, $1, $0)"),
} satisfies Record<ScalarOp, Row>;
