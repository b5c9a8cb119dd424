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
function emitOutput(shader: Shader, step: OpStep, at: string, value: Value): void {
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

/** A tile of sums in registers, and where it belongs. */
export interface SumTile {
  readonly rows: number;
  /** A multiple of four. */
  readonly columns: number;
  /** The sum at a place of the tile. */
  readonly sum: (row: number, column: number) => string;
  /** Four neighbouring sums, where they are a vector already. */
  readonly sums?: (row: number, column: number) => string;
  /** Where the tile starts and where the matrix ends. */
  readonly row: string;
  readonly column: string;
  readonly rowEnd: string;
  readonly columnEnd: string;
  /** The element of the output at a row and column. */
  readonly at: (row: string, column: string) => string;
  readonly width: Width;
  /** Where sums go that are parts of the result, or null for the output itself. */
  readonly partial: { readonly buffer: BufferPlan; readonly start: string } | null;
}

/** Statements that store a tile, one loop over its fours, so that the map after it is compiled once. */
export function emitTile(shader: Shader, step: OpStep, tile: SumTile): void {
  const { rows, columns, width, partial } = tile;
  const fragments = columns / 4;
  shader.globals.push(`var<private> tile: array<vec4f, ${rows * fragments}>;`);
  for (let r = 0; r < rows; r++) {
    for (let f = 0; f < fragments; f++) {
      const four = tile.sums?.(r, 4 * f) ??
        `vec4f(${[0, 1, 2, 3].map((lane) => tile.sum(r, 4 * f + lane)).join(", ")})`;
      shader.add(`tile[${r * fragments + f}] = ${four};`);
    }
  }
  shader.add(`for (var f = 0u; f < ${rows * fragments}u; f++) {`);
  shader.add(`let r = ${tile.row} + f / ${fragments}u;`, `let c = ${tile.column} + f % ${fragments}u * 4u;`);
  shader.add(`if (r >= ${tile.rowEnd} || c >= ${tile.columnEnd}) { continue; }`);
  if (width === 1) shader.add(`for (var lane = 0u; lane < min(4u, ${tile.columnEnd} - c); lane++) {`);
  const at = shader.let(tile.at("r", width === 1 ? "c + lane" : "c"), "at");
  const value = { name: shader.let(width === 1 ? "tile[f][lane]" : "tile[f]"), width };
  if (partial) shader.add(shader.store(partial.buffer, "f32", `${partial.start} + ${at}`, value.name, width));
  else emitOutput(shader, step, at, value);
  if (width === 1) shader.add("}");
  shader.add("}");
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
