/**
 * How elementwise ops are made: a row of the scalar table plus a gradient.
 *
 * @module
 */
import type { DType } from "../core/dtype.ts";
import { requireDType } from "../core/dtype.ts";
import { ArgumentError, DTypeError } from "../core/errors.ts";
import { bind, type Op, requireSameDType } from "../core/op.ts";
import type { ScalarOp } from "../core/scalar.ts";
import { broadcastShapes, sameShape } from "../core/shape.ts";
import { Tensor, type TensorLike } from "../core/tensor.ts";
import { scalar } from "./create.ts";
import { sumTo } from "./reduce.ts";

/** How a gradient flows through an op of one operand, with `y = f(x)`. */
type UnaryRule = (call: { readonly x: Tensor; readonly y: Tensor; readonly dy: Tensor }) => Tensor;

/** An elementwise op of one operand; without a rule it is constant to every gradient. */
export function unaryOp(name: ScalarOp, dtypes: readonly DType[], rule?: UnaryRule, result?: DType): Op<1, null> {
  return {
    name,
    fusion: { kind: "scalar", op: name },
    constant: !rule,
    infer([x]) {
      requireDType(name, x.dtype, dtypes);
      return { shape: x.shape, dtype: result ?? x.dtype };
    },
    vjp: ({ inputs: [x], output: y, grad: dy }) => [rule ? rule({ x, y, dy }) : null],
  };
}

/** What gradients through an op of two operands are made of, with `y = f(a, b)`; they have the shape of `y`. */
interface BinaryCall {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
  readonly dy: Tensor;
}

/** The gradients of both operands. */
type BinaryRules = readonly [da: (call: BinaryCall) => Tensor, db: (call: BinaryCall) => Tensor];

/** An elementwise op of two operands, which broadcast; without rules it is constant to every gradient. */
export function binaryOp(
  name: ScalarOp,
  action: string,
  dtypes: readonly DType[],
  rules?: BinaryRules,
  result?: DType,
): Op<2, null> {
  return {
    name,
    fusion: { kind: "scalar", op: name },
    constant: !rules,
    infer([a, b]) {
      requireSameDType(action, a, b);
      requireDType(name, a.dtype, dtypes);
      const shape = sameShape(a.shape, b.shape) ? a.shape : broadcastShapes(action, a.shape, b.shape);
      return { shape, dtype: result ?? a.dtype };
    },
    vjp({ inputs: [a, b], output: y, grad: dy, wanted }) {
      const part = (i: 0 | 1, x: Tensor) => rules && wanted[i] ? sumTo(rules[i]({ a, b, y, dy }), x.shape) : null;
      return [part(0, a), part(1, b)];
    },
  };
}

/** A number as a scalar tensor beside `other`: same dtype, same backend. */
export function lift(action: string, value: TensorLike, other: Tensor): Tensor {
  if (value instanceof Tensor) return value;
  if (typeof value !== "number" && typeof value !== "boolean") {
    throw new ArgumentError(`Cannot ${action} ${String(value)}: expected a tensor or a number`);
  }
  const { dtype } = other;
  if (dtype === "bool") return scalar(value ? 1 : 0, dtype, other.backend);
  if ((dtype === "i32" || dtype === "u32") && !Number.isInteger(Number(value))) {
    throw new DTypeError(`Cannot ${action} ${dtype} and ${value}: it is not a whole number, cast the tensor to f32`);
  }
  return scalar(Number(value), dtype, other.backend);
}

/** Applies an op to two operands, one of which may be a number. */
export function applyBinary(op: Op<2, null>, action: string, a: TensorLike, b: TensorLike): Tensor {
  if (a instanceof Tensor) {
    if (b instanceof Tensor) return bind(op, [a, b], null);
    using lifted = lift(action, b, a);
    return bind(op, [a, lifted], null);
  }
  if (b instanceof Tensor) {
    using lifted = lift(action, a, b);
    return bind(op, [lifted, b], null);
  }
  throw new ArgumentError(`Cannot ${action} ${String(a)} and ${String(b)}: one of them must be a tensor`);
}
