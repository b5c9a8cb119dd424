/**
 * Elementwise kernels: loops that apply a row of the scalar table.
 *
 * @module
 */
import type { Kernel, KernelTable, View } from "../../core/backend.ts";
import { BINARY, type ScalarOp, UNARY } from "../../core/scalar.ts";
import { broadcastStrides, type Shape } from "../../core/shape.ts";
import { type Buffer, type Elements, elements, type Walk, walk } from "./memory.ts";
import { type ScalarFunction, scalarFunction } from "./scalar.ts";
import { specialized } from "./specialize.ts";

const mapLoop = specialized((f: ScalarFunction, to: Elements, from: Elements) => {
  for (let i = 0; i < to.length; i++) to[i] = f(from[i], 0, 0);
});

function unary(op: ScalarOp): Kernel<Buffer> {
  return ({ inputs: [x], outputs: [y] }) => {
    const loop = mapLoop(`${op} ${x.dtype} ${y.dtype}`);
    loop(scalarFunction(op, x.dtype, y.dtype), elements(y), elements(x));
  };
}

const zipLoop = specialized((f: ScalarFunction, to: Elements, left: Elements, right: Elements, rows: Walk) => {
  const { length, steps: [aStep, bStep], starts: [aStarts, bStarts] } = rows;
  for (let row = 0; row < aStarts.length; row++) {
    const at = row * length, a = aStarts[row], b = bStarts[row];
    for (let j = 0; j < length; j++) to[at + j] = f(left[a + j * aStep], right[b + j * bStep], 0);
  }
});

function binary(op: ScalarOp): Kernel<Buffer> {
  return ({ inputs: [a, b], outputs: [y] }) => {
    const loop = zipLoop(`${op} ${b.dtype} ${y.dtype}`);
    const f = scalarFunction(op, b.dtype, y.dtype);
    loop(f, elements(y), elements(a), elements(b), broadcastWalk(y.shape, a, b));
  };
}

const where: Kernel<Buffer> = ({ inputs: [condition, a, b], outputs: [y] }) => {
  const chosen = elements(condition), left = elements(a), right = elements(b), to = elements(y);
  const { length, steps: [cStep, aStep, bStep], starts } = broadcastWalk(y.shape, condition, a, b);
  for (let row = 0; row < starts[0].length; row++) {
    const at = row * length, [cAt, aAt, bAt] = starts.map((places) => places[row]);
    for (let j = 0; j < length; j++) {
      to[at + j] = chosen[cAt + j * cStep] ? left[aAt + j * aStep] : right[bAt + j * bStep];
    }
  }
};

/** A walk through operands that are broadcast to `shape`. */
function broadcastWalk(shape: Shape, ...operands: readonly View<Buffer>[]): Walk {
  return walk(shape, ...operands.map((operand) => broadcastStrides(operand.shape, shape)));
}

/** A kernel for every row of the scalar table. */
export const elementwise: KernelTable<Buffer> = {
  ...Object.fromEntries(UNARY.map((op) => [op, unary(op)])),
  ...Object.fromEntries(BINARY.map((op) => [op, binary(op)])),
  where,
};
