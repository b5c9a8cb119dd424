/**
 * Pools: one invocation for each place of the output walks over its window.
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { PoolAttrs, SumPoolGradAttrs } from "../../ops/pool.ts";
import { coordinatesOf } from "./region.ts";
import { type Context, type Kernel, Shader } from "./shader.ts";

/** A loop over a window; `visit` is given the element of `x` that is looked at. */
function overWindow(shader: Shader, step: OpStep, coordinates: readonly string[], visit: (at: string) => void): void {
  const { size: [rows, columns], stride, padding, dilation } = step.attrs as PoolAttrs;
  const [, , height, width] = step.inputs[0].shape;
  const [b, c, p, q] = coordinates;
  const n = (value: number) => shader.num(value);
  const channels = n(step.inputs[0].shape[1]);
  const plane = shader.let(`(${b} * ${channels} + ${c}) * ${n(height)}`, "plane");
  // padding wraps below zero, which is beyond the size as well
  shader.add(`for (var u = 0u; u < ${n(rows)}; u++) {`);
  shader.add(`let row = ${p} * ${n(stride[0])} + u * ${n(dilation[0])} - ${n(padding[0][0])};`);
  shader.add(`if (row >= ${n(height)}) { continue; }`);
  shader.add(`for (var v = 0u; v < ${n(columns)}; v++) {`);
  shader.add(`let column = ${q} * ${n(stride[1])} + v * ${n(dilation[1])} - ${n(padding[1][0])};`);
  shader.add(`if (column >= ${n(width)}) { continue; }`);
  visit(`(${plane} + row) * ${n(width)} + column`);
  shader.add("}", "}");
}

/** Finds the first maximum of every window; a NaN wins. */
function lowerMax(finish: (shader: Shader, step: OpStep, index: string) => void) {
  return (step: OpStep, context: Context): Kernel[] => {
    const [{ shape }] = step.outputSpecs;
    if (size(shape) === 0) return [];
    const shader = new Shader(step.name, context);
    const { index, groups } = shader.linear(size(shape));
    const coordinates = coordinatesOf(shader, index, shape);
    shader.add(`var best = ${shader.constant(-Infinity, "f32")};`, "var found = 0xffffffffu;");
    overWindow(shader, step, coordinates, (at) => {
      const [{ buffer, dtype }] = step.inputs;
      shader.add(`let at = ${at};`, `let value = ${shader.load(context.buffer(buffer), dtype, "at", 1)};`);
      const nan = shader.library.use("isNaN", 1);
      shader.add(`if (found == 0xffffffffu || value > best || ${nan}(value)) { best = value; found = at; }`);
    });
    finish(shader, step, index);
    return [shader.finish(groups)];
  };
}

type Lowering = (step: OpStep, context: Context) => Kernel[];

/** The maximum of every window. */
export const lowerMaxPool: Lowering = lowerMax((shader, step, index) => {
  const [{ dtype }] = step.outputSpecs;
  shader.add(shader.store(shader.context.buffer(step.outputs[0]), dtype, index, "best", 1));
});

/** Where in its plane the maximum of every window is; -1 for a window of padding alone. */
export const lowerMaxPoolIndices: Lowering = lowerMax((shader, step, index) => {
  const [, , height, width] = step.inputs[0].shape;
  const value = `select(i32(found % ${shader.num(height * width)}), -1, found == 0xffffffffu)`;
  shader.add(shader.store(shader.context.buffer(step.outputs[0]), "i32", index, value, 1));
});

/** The sum of every window. */
export function lowerSumPool(step: OpStep, context: Context): Kernel[] {
  const [{ shape, dtype }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const shader = new Shader(step.name, context);
  const { index, groups } = shader.linear(size(shape));
  const coordinates = coordinatesOf(shader, index, shape);
  shader.add("var sum = 0.0;");
  overWindow(shader, step, coordinates, (at) => {
    shader.add(`sum += ${shader.load(context.buffer(step.inputs[0].buffer), dtype, at, 1)};`);
  });
  shader.add(shader.store(context.buffer(step.outputs[0]), dtype, index, "sum", 1));
  return [shader.finish(groups)];
}

/** The adjoint of the sum: every place of the input adds up the windows that it is in. */
export function lowerSumPoolGrad(step: OpStep, context: Context): Kernel[] {
  const [{ shape, dtype }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const { size: [rows, columns], stride, padding, dilation } = step.attrs as SumPoolGradAttrs;
  const [dy] = step.inputs;
  const [, , height, width] = dy.shape;
  const shader = new Shader(step.name, context);
  const n = (value: number) => shader.num(value);
  const { index, groups } = shader.linear(size(shape));
  const [b, c, p, q] = coordinatesOf(shader, index, shape);
  const plane = shader.let(`(${b} * ${n(shape[1])} + ${c}) * ${n(height)}`, "plane");
  shader.add("var sum = 0.0;");
  shader.add(`for (var u = 0u; u < ${n(rows)}; u++) {`);
  shader.add(`let down = ${p} + ${n(padding[0][0])} - u * ${n(dilation[0])};`, `let row = down / ${n(stride[0])};`);
  shader.add(`if (down >= 0x80000000u || row * ${n(stride[0])} != down || row >= ${n(height)}) { continue; }`);
  shader.add(`for (var v = 0u; v < ${n(columns)}; v++) {`);
  shader.add(
    `let right = ${q} + ${n(padding[1][0])} - v * ${n(dilation[1])};`,
    `let column = right / ${n(stride[1])};`,
  );
  shader.add(`if (right >= 0x80000000u || column * ${n(stride[1])} != right || column >= ${n(width)}) { continue; }`);
  const at = `(${plane} + row) * ${n(width)} + column`;
  shader.add(`sum += ${shader.load(context.buffer(dy.buffer), dtype, at, 1)};`, "}", "}");
  shader.add(shader.store(context.buffer(step.outputs[0]), dtype, index, "sum", 1));
  return [shader.finish(groups)];
}
