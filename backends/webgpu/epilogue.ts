/**
 * What becomes of an op's output: stored as it is, or through a fused map.
 *
 * @module
 */
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { Width } from "./math.ts";
import { coordinatesOf, emitMap, type Value } from "./region.ts";
import { type Context, type Kernel, Shader } from "./shader.ts";

/** How many neighbours of the output, whose last axis has `n` places, can be stored at once. */
export function outputWidth({ epilogue, outputs }: OpStep, context: Context, n: number): Width {
  const whole = n % 4 === 0 && (!epilogue || (epilogue.region.outer.at(-1) ?? 1) % 4 === 0);
  const aligned = outputs.every((output) => {
    const { place } = context.buffer(output);
    return place.kind !== "slice" || place.stride % 16 === 0;
  });
  return whole && aligned ? 4 : 1;
}

/** Statements that store the op's value at element `at` of its output, or four from there on. */
export function emitOutput(shader: Shader, step: OpStep, at: string, value: Value): void {
  const { epilogue, outputs, outputSpecs: [{ dtype }] } = step;
  if (!epilogue) {
    shader.add(shader.store(shader.context.buffer(outputs[0]), dtype, at, value.name, value.width));
    return;
  }
  const { region, inputs } = epilogue;
  const first = value.width === 4 ? shader.let(`${at} / 4u`, "i") : at;
  const coordinates = coordinatesOf(shader, first, region.outer, value.width);
  emitMap(shader, region, inputs, outputs, coordinates, value, value.width);
}

/** The kernel that adds the parts of an op's output, in order, and stores it. */
export function sumParts(step: OpStep, context: Context, parts: number, partials: BufferPlan): Kernel {
  const { shape } = step.outputSpecs[0];
  const count = size(shape);
  const width = outputWidth(step, context, shape.at(-1) ?? 1);
  const shader = new Shader(`${step.name} sum`, context);
  const { index, groups } = shader.linear(count / width);
  const at = width === 4 ? shader.let(`${index} * 4u`, "at") : index;
  const type = width === 4 ? "vec4f" : "f32";
  shader.add(`var sum = ${type}(0.0);`);
  shader.add(`for (var part = 0u; part < ${shader.uniform(parts)}; part++) {`);
  shader.add(`  sum += ${shader.load(partials, "f32", `part * ${shader.uniform(count)} + ${at}`, width)};`, "}");
  emitOutput(shader, step, at, { name: shader.let("sum"), width });
  return shader.finish(groups);
}
