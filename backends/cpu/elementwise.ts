/**
 * Elementwise kernels: one loop that applies a row of the scalar table.
 *
 * @module
 */
import type { Kernel, KernelTable, View } from "../../core/backend.ts";
import { BINARY, type ScalarOp, UNARY } from "../../core/scalar.ts";
import { broadcastStrides, sameShape, type Shape } from "../../core/shape.ts";
import { type Buffer, elements, places } from "./memory.ts";
import { scalarFunction } from "./scalar.ts";

/** Where each operand's elements lie, for every place of the output; null if they lie in order. */
function placesIn({ shape }: View<Buffer>, output: Shape): Int32Array | null {
  return sameShape(shape, output) ? null : places(output, broadcastStrides(shape, output));
}

function unary(op: ScalarOp): Kernel<Buffer> {
  return ({ inputs: [x], outputs: [y] }) => {
    const f = scalarFunction(op, x.dtype, y.dtype);
    const from = elements(x), to = elements(y);
    for (let i = 0; i < to.length; i++) to[i] = f(from[i], 0, 0);
  };
}

function binary(op: ScalarOp): Kernel<Buffer> {
  return ({ inputs: [a, b], outputs: [y] }) => {
    const f = scalarFunction(op, b.dtype, y.dtype);
    const left = elements(a), right = elements(b), to = elements(y);
    const atLeft = placesIn(a, y.shape), atRight = placesIn(b, y.shape);
    for (let i = 0; i < to.length; i++) {
      to[i] = f(left[atLeft ? atLeft[i] : i], right[atRight ? atRight[i] : i], 0);
    }
  };
}

const where: Kernel<Buffer> = ({ inputs: [condition, a, b], outputs: [y] }) => {
  const chosen = elements(condition), left = elements(a), right = elements(b), to = elements(y);
  const atChosen = placesIn(condition, y.shape), atLeft = placesIn(a, y.shape), atRight = placesIn(b, y.shape);
  for (let i = 0; i < to.length; i++) {
    to[i] = chosen[atChosen ? atChosen[i] : i] ? left[atLeft ? atLeft[i] : i] : right[atRight ? atRight[i] : i];
  }
};

/** A kernel for every row of the scalar table. */
export const elementwise: KernelTable<Buffer> = {
  ...Object.fromEntries(UNARY.map((op) => [op, unary(op)])),
  ...Object.fromEntries(BINARY.map((op) => [op, binary(op)])),
  where,
};
