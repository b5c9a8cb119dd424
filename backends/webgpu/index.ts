/**
 * Gathers and scatters. Sums into one place are made by one invocation in the order of the updates, so they are the
 * same on every run.
 *
 * @module
 */
import { isFloat } from "../../core/dtype.ts";
import type { Operand, OpStep } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { IndexAttrs } from "../../ops/index.ts";
import type { Width } from "./math.ts";
import { addressOf, coordinatesOf, lowerMap } from "./region.ts";
import { laneOf, typeName } from "./scalar.ts";
import { type Context, type Kernel, MAX_TURNS, Shader } from "./shader.ts";

/** A shape as `[outer, axis, inner]`. */
function around(shape: readonly number[], axis: number): { outer: number; n: number; inner: number } {
  return { outer: size(shape.slice(0, axis)), n: shape[axis], inner: size(shape.slice(axis + 1)) };
}

/** Four neighbours at once, where runs of `inner` allow it. */
function widthOf(shader: Shader, inner: number, step: OpStep, operands: readonly Operand[]): Width {
  const output = shader.context.buffer(step.outputs[0]);
  const aligned = operands.every(({ buffer, dtype }) => shader.aligned(shader.context.buffer(buffer), dtype)) &&
    shader.aligned(output, output.dtype);
  return inner % 4 === 0 && aligned ? 4 : 1;
}

/** The place that element `at` of an index operand names: negative ones count from the end; out of range it is not below n. */
function loadIndex(shader: Shader, { buffer, dtype }: Operand, at: string, n: number): string {
  const index = shader.let(`u32(${shader.load(shader.context.buffer(buffer), dtype, at, 1)})`, "index");
  return shader.let(`select(${index}, ${index} + ${shader.num(n)}, ${index} >= 0x80000000u)`, "place");
}

/** What stands where an index is out of range. */
function outside(shader: Shader, { dtype }: Operand, width: Width): string {
  const lane = laneOf(dtype);
  return `${typeName(lane, width)}(${shader.constant(isFloat(dtype) ? NaN : 0, lane)})`;
}

/** `y[outer, j, inner] = x[outer, indices[j], inner]` */
export function lowerGather(step: OpStep, context: Context): Kernel[] {
  const [x, indices] = step.inputs;
  const { axis } = step.attrs as IndexAttrs;
  const { outer, n, inner } = around(x.shape, axis);
  const count = size(indices.shape);
  if (outer * count * inner === 0) return [];
  const shader = new Shader(step.name, context);
  const width = widthOf(shader, inner, step, [x]);
  const { index, groups } = shader.linear((outer * count * inner) / width);
  const [o, j, i] = coordinatesOf(shader, index, [outer, count, inner], width);
  const at = loadIndex(shader, indices, j, n);
  const known = shader.let(`${at} < ${shader.num(n)}`);
  const source = `(${o} * ${shader.num(n)} + select(0u, ${at}, ${known})) * ${shader.num(inner)} + ${i}`;
  const value = shader.let(shader.load(context.buffer(x.buffer), x.dtype, source, width));
  const target = `(${o} * ${shader.num(count)} + ${j}) * ${shader.num(inner)} + ${i}`;
  const chosen = `select(${outside(shader, x, width)}, ${value}, ${known})`;
  shader.add(shader.store(context.buffer(step.outputs[0]), x.dtype, target, chosen, width));
  return [shader.finish(groups)];
}

/** `y[..., j, ...] = x[..., indices[..., j, ...], ...]` */
export function lowerGatherElements(step: OpStep, context: Context): Kernel[] {
  const [x, indices] = step.inputs;
  const { axis } = step.attrs as IndexAttrs;
  if (size(indices.shape) === 0) return [];
  const shader = new Shader(step.name, context);
  const { index, groups } = shader.linear(size(indices.shape));
  const strides = stridesOf(x.shape);
  const coordinates = coordinatesOf(shader, index, indices.shape);
  const at = loadIndex(shader, indices, index, x.shape[axis]);
  const known = shader.let(`${at} < ${shader.num(x.shape[axis])}`);
  const source = addressOf(shader, coordinates.with(axis, `select(0u, ${at}, ${known})`), strides, 0);
  const value = shader.load(context.buffer(x.buffer), x.dtype, source, 1);
  const chosen = `select(${outside(shader, x, 1)}, ${value}, ${known})`;
  shader.add(shader.store(context.buffer(step.outputs[0]), x.dtype, index, chosen, 1));
  return [shader.finish(groups)];
}

/** The kernel that copies `x` to the output, unless it lies there already. */
function copyFirst(step: OpStep, context: Context): Kernel[] {
  const [{ buffer, dtype, shape }] = step.inputs;
  const [output] = step.outputs;
  const [from, to] = [context.buffer(buffer).place, context.buffer(output).place];
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  const region = {
    outer: [size(shape)],
    inner: [],
    body: [{ kind: "load", input: 0, strides: [1], offset: 0, dtype }],
    stores: [{ value: 0, output: 0, strides: [1], offset: 0 }],
  } as const;
  return lowerMap({ kind: "region", name: `${step.name} copy`, region, inputs: [buffer], outputs: [output] }, context);
}

/** `y[outer, start + j, inner] = update[outer, j, inner]`; x goes to y first unless it is there already. */
export function lowerUpdateSlice(step: OpStep, context: Context): Kernel[] {
  const [x, update, start] = step.inputs;
  const { axis } = step.attrs as IndexAttrs;
  const { outer, n, inner } = around(x.shape, axis);
  const count = update.shape[axis];
  if (size(x.shape) === 0) return [];
  const kernels = copyFirst(step, context);
  if (count === 0) return kernels;
  const shader = new Shader(step.name, context);
  const width = widthOf(shader, inner, step, [update]);
  const { index, groups } = shader.linear((outer * count * inner) / width);
  const [o, j, i] = coordinatesOf(shader, index, [outer, count, inner], width);
  const place = shader.let(`${loadIndex(shader, start, "0u", n)} + ${j}`, "place");
  const source = `(${o} * ${shader.num(count)} + ${j}) * ${shader.num(inner)} + ${i}`;
  const value = shader.load(context.buffer(update.buffer), update.dtype, source, width);
  const target = `(${o} * ${shader.num(n)} + ${place}) * ${shader.num(inner)} + ${i}`;
  shader.add(`if (${place} < ${shader.num(n)}) {`);
  shader.add(shader.store(context.buffer(step.outputs[0]), update.dtype, target, value, width), "}");
  return [...kernels, shader.finish(groups)];
}

/** Kernels that add `updates` to a copy of `x`, a chunk of the axis each; `emit` writes one invocation's work. */
function addInChunks(
  step: OpStep,
  context: Context,
  updates: number,
  columns: (shader: Shader) => { count: number; emit: (index: string, from: string, to: string) => void },
): Kernel[] {
  const kernels = copyFirst(step, context);
  for (let from = 0; from < updates; from += MAX_TURNS) {
    const shader = new Shader(step.name, context);
    const { count, emit } = columns(shader);
    if (count === 0) return kernels;
    const { index, groups } = shader.linear(count);
    emit(index, shader.uniform(from), shader.uniform(Math.min(updates, from + MAX_TURNS)));
    kernels.push(shader.finish(groups));
  }
  return kernels;
}

/** `y[outer, indices[j], inner] += updates[outer, j, inner]`: one invocation for each (outer, inner). */
export function lowerIndexAdd(step: OpStep, context: Context): Kernel[] {
  const [x, indices, updates] = step.inputs;
  const { outer, n, inner } = around(x.shape, (step.attrs as IndexAttrs).axis);
  const count = size(indices.shape);
  if (size(x.shape) === 0) return [];
  return addInChunks(step, context, count, (shader) => {
    const width = widthOf(shader, inner, step, [updates]);
    const emit = (index: string, from: string, to: string) => {
      const [o, i] = coordinatesOf(shader, index, [outer, inner], width);
      shader.add(`for (var j = ${from}; j < ${to}; j++) {`);
      const at = loadIndex(shader, indices, "j", n);
      shader.add(`if (${at} < ${shader.num(n)}) {`);
      const target = shader.let(`(${o} * ${shader.num(n)} + ${at}) * ${shader.num(inner)} + ${i}`);
      const source = `(${o} * ${shader.num(count)} + j) * ${shader.num(inner)} + ${i}`;
      accumulate(
        shader,
        step,
        target,
        shader.load(context.buffer(updates.buffer), updates.dtype, source, width),
        width,
      );
      shader.add("}", "}");
    };
    return { count: (outer * inner) / width, emit };
  });
}

/** `y[..., indices[..., j, ...], ...] += updates[..., j, ...]`: one invocation for each line along the axis. */
export function lowerScatterAdd(step: OpStep, context: Context): Kernel[] {
  const [x, indices, updates] = step.inputs;
  const { axis } = step.attrs as IndexAttrs;
  const lines = indices.shape.with(axis, 1);
  return addInChunks(step, context, indices.shape[axis], (shader) => {
    const emit = (index: string, from: string, to: string) => {
      const line = coordinatesOf(shader, index, lines);
      shader.add(`for (var j = ${from}; j < ${to}; j++) {`);
      const place = line.with(axis, "j");
      const at = loadIndex(shader, indices, addressOf(shader, place, stridesOf(indices.shape), 0), x.shape[axis]);
      shader.add(`if (${at} < ${shader.num(x.shape[axis])}) {`);
      const target = shader.let(addressOf(shader, line.with(axis, at), stridesOf(x.shape), 0));
      const source = addressOf(shader, place, stridesOf(updates.shape), 0);
      accumulate(shader, step, target, shader.load(context.buffer(updates.buffer), updates.dtype, source, 1), 1);
      shader.add("}", "}");
    };
    return { count: size(lines), emit };
  });
}

/** Adds `value` to the output at `target`. */
function accumulate(shader: Shader, step: OpStep, target: string, value: string, width: Width): void {
  const output = shader.context.buffer(step.outputs[0]);
  const { dtype } = step.inputs[0];
  const sum = shader.scalar("add", [shader.load(output, dtype, target, width), value], laneOf(dtype), dtype, width);
  shader.add(shader.store(output, dtype, target, sum, width));
}
