/**
 * Convolution and its two adjoints: every invocation keeps a tile of channels by neighbouring columns in registers.
 *
 * The convolution and its input gradient are one kernel: both sum, over channels and filter taps, a source plane times
 * a weight; they differ in which source row and column a tap looks at.
 *
 * @module
 */
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { ConvAttrs, ConvInputGradAttrs } from "../../ops/conv.ts";
import { emitTile, outputWidth, sumParts } from "./epilogue.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

/** Taps along a row that are written out, at most. */
const UNROLLED = 7;

/** What both directions have in common; sizes are [rows, columns]. */
interface Convolution {
  readonly groups: number;
  readonly batch: number;
  readonly source: readonly [number, number];
  readonly target: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** Padding before. */
  readonly padding: readonly [number, number];
  /** Channels of one group that a tile covers, and those that are summed over. */
  readonly made: number;
  readonly summed: number;
  /** Distances in the filter between neighbours of both. */
  readonly madeStride: number;
  readonly summedStride: number;
  /** Whether target places are scattered from the source (input gradient), not gathered. */
  readonly adjoint: boolean;
}

function convolutionOf({ op, inputs: [x, w], attrs, outputSpecs: [{ shape }] }: OpStep): Convolution {
  const { stride, padding, dilation, groups } = attrs as ConvAttrs | ConvInputGradAttrs;
  const [outputs, perGroup, kernelRows, kernelColumns] = w.shape;
  const taps = kernelRows * kernelColumns;
  const adjoint = op === "convInputGrad";
  const [filters, channels] = [
    { count: outputs / groups, stride: perGroup * taps },
    { count: perGroup, stride: taps },
  ];
  const [made, summed] = adjoint ? [channels, filters] : [filters, channels];
  return {
    groups,
    batch: x.shape[0],
    source: [x.shape[2], x.shape[3]],
    target: [shape[2], shape[3]],
    kernel: [kernelRows, kernelColumns],
    stride,
    dilation,
    padding: [padding[0][0], padding[1][0]],
    made: made.count,
    summed: summed.count,
    madeStride: made.stride,
    summedStride: summed.stride,
    adjoint,
  };
}

/** Rows (channels) and columns of an invocation's tile, invocations of a workgroup. */
interface Tile {
  readonly channels: number;
  readonly columns: number;
  readonly lanes: number;
}

const fit = (limit: number, sizes: readonly number[]) => sizes.find((size) => size <= limit) ?? sizes.at(-1)!;

function tileOf({ made, target: [, columns] }: Convolution, software: boolean): Tile {
  const waste = (tile: number) => (Math.ceil(columns / tile) * tile) / columns;
  return {
    channels: software ? fit(made, [8, 4, 2, 1]) : fit(made, [4, 2, 1]),
    columns: waste(8) <= waste(4) * 1.1 ? 8 : 4,
    lanes: software ? 8 : 64,
  };
}

/** The kernels of `conv` and `convInputGrad`. */
export function lowerConv(step: OpStep, context: Context): Kernel[] {
  const [{ shape }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const c = convolutionOf(step);
  const tile = tileOf(c, context.software);
  const unrolled = c.kernel[1] <= UNROLLED ? c.kernel[1] : 1;
  const turns = c.summed * (1 + c.kernel[0] * (1 + c.kernel[1] / unrolled));
  const workgroups = size(shape) / (tile.channels * tile.columns * tile.lanes);
  const busy = context.software ? 4 : 128;
  const wanted = Math.min(Math.floor(busy / workgroups), Math.floor(turns / 64), c.summed);
  const parts = Math.max(1, wanted, Math.ceil(turns / MAX_TURNS));
  if (parts === 1) return [convKernel(step, context, c, tile, unrolled, 1, null)];
  const partials = context.scratch("f32", size(shape) * parts);
  return [convKernel(step, context, c, tile, unrolled, parts, partials), sumParts(step, context, parts, partials)];
}

function convKernel(
  step: OpStep,
  context: Context,
  c: Convolution,
  tile: Tile,
  unrolled: number,
  parts: number,
  partials: BufferPlan | null,
): Kernel {
  const shader = new Shader(step.name, context);
  const [{ shape, dtype }] = step.outputSpecs;
  const [x, w] = step.inputs;
  const n = (value: number) => shader.uniform(value);
  const [rows, columns] = c.target;
  const grid = [parts, c.batch, c.groups, Math.ceil(c.made / tile.channels), rows, Math.ceil(columns / tile.columns)];
  const [part, b, g, block, row, strip] = position(shader, grid, tile.lanes);
  const first = shader.let(`${block} * ${tile.channels}u`, "first");
  const column = shader.let(`${strip} * ${tile.columns}u`, "column");
  for (let k = 0; k < tile.channels * tile.columns; k++) shader.add(`var sum${k} = 0.0;`);
  const made = shader.let(n(c.made), "made");
  const summed = shader.let(n(c.summed), "summed");
  const taps = c.kernel[0] * c.kernel[1];
  const weights = shader.let(
    `${g} * ${made} * ${summed} * ${n(taps)} + ${first} * ${n(c.madeStride)} + ${n(w.offset)}`,
    "weights",
  );
  const length = n(Math.ceil(c.summed / parts));
  shader.add(`let end = min((${part} + 1u) * ${length}, ${summed});`);
  shader.add(`for (var i = ${part} * ${length}; i < end; i++) {`);
  const height = n(c.source[0]), width = shader.let(n(c.source[1]), "width");
  shader.add(`let plane = ((${b} * ${n(c.groups)} + ${g}) * ${summed} + i) * ${height};`);
  shader.add(`for (var u = 0u; u < ${n(c.kernel[0])}; u++) {`);
  sourceRow(shader, c, row, height);
  shader.add(`let line = (plane + source_row) * ${width};`);
  const tapStep = unrolled === c.kernel[1] ? "0u" : "v";
  if (tapStep === "v") shader.add(`for (var v = 0u; v < ${n(c.kernel[1])}; v++) {`);
  shader.add(`let tap = ${weights} + i * ${n(c.summedStride)} + u * ${n(c.kernel[1])} + ${tapStep};`);
  const source = new SourceColumns(shader, c, context.buffer(x.buffer), dtype, { column, width, tap: tapStep });
  const stride = n(c.madeStride);
  for (let v = 0; v < unrolled; v++) {
    const values = Array.from({ length: tile.columns }, (_, j) => source.at(j, v));
    for (let o = 0; o < tile.channels; o++) {
      const weight = shader.let(
        shader.load(context.buffer(w.buffer), dtype, `tap + ${o}u * ${stride} + ${v}u`, 1),
        "w",
      );
      values.forEach((value, j) => {
        const sum = `sum${o * tile.columns + j}`;
        shader.add(`${sum} = fma(${weight}, ${value}, ${sum});`);
      });
    }
  }
  shader.add(tapStep === "v" ? "} } }" : "} }");
  const at = (r: string, k: string) =>
    `(((${b} * ${n(c.groups)} + ${g}) * ${made} + ${r}) * ${n(rows)} + ${row}) * ${n(columns)} + ${k}`;
  emitTile(shader, step, {
    rows: tile.channels,
    columns: tile.columns,
    sum: (r, k) => `sum${r * tile.columns + k}`,
    row: first,
    column,
    rowEnd: made,
    columnEnd: n(columns),
    at,
    width: partials ? (columns % 4 === 0 ? 4 : 1) : outputWidth(step, context, columns),
    partial: partials && { buffer: partials, start: `${part} * ${n(size(shape))}` },
  });
  return shader.finish(spread(Math.ceil(grid.reduce((p, k) => p * k) / tile.lanes)), [tile.lanes, 1]);
}

/** This invocation's coordinates in a grid; those beyond it end. */
function position(shader: Shader, grid: readonly number[], lanes: number): string[] {
  shader.add(`let invocation = (group.y * groups.x + group.x) * ${lanes}u + local.x;`);
  let rest = "invocation";
  const coordinates = new Array<string>(grid.length);
  for (let axis = grid.length - 1; axis > 0; axis--) {
    const n = shader.uniform(grid[axis]);
    const next = shader.let(`${rest} / ${n}`, "q");
    coordinates[axis] = shader.let(`${rest} - ${next} * ${n}`, "c");
    rest = next;
  }
  shader.add(`if (${rest} >= ${shader.uniform(grid[0])}) { return; }`);
  coordinates[0] = rest;
  return coordinates;
}

/** Names the source row that tap `u` looks at; goes on with the next one where there is none. */
function sourceRow(shader: Shader, c: Convolution, row: string, height: string): void {
  const [stride, dilation, padding] = [c.stride[0], c.dilation[0], c.padding[0]].map((v) => shader.uniform(v));
  if (!c.adjoint) {
    shader.add(`let source_row = ${row} * ${stride} + u * ${dilation} - ${padding};`);
    shader.add(`if (source_row >= ${height}) { continue; }`);
    return;
  }
  shader.add(`let down = ${row} + ${padding} - u * ${dilation};`, `let source_row = down / ${stride};`);
  shader.add(
    `if (down >= 0x80000000u || source_row * ${stride} != down || source_row >= ${height}) { continue; }`,
  );
}

/** Source elements of one row, each loaded once however many taps look at it. */
class SourceColumns {
  readonly #loaded = new Map<number, string>();
  readonly #origin: string;

  constructor(
    readonly shader: Shader,
    readonly c: Convolution,
    readonly buffer: BufferPlan,
    readonly dtype: "f32" | "f16" | "i32" | "u32" | "bool",
    readonly names: { readonly column: string; readonly width: string; readonly tap: string },
  ) {
    const [stride, dilation] = [`${c.stride[1]}u`, `${c.dilation[1]}u`];
    const padding = shader.uniform(c.padding[1]);
    const start = c.adjoint
      ? `${names.column} + ${padding} - ${names.tap} * ${dilation}`
      : `${names.column} * ${stride} + ${names.tap} * ${dilation} - ${padding}`;
    this.#origin = shader.let(start, "from");
  }

  /** What column `j` of the tile meets at tap `v`; 0 outside. */
  at(j: number, v: number): string {
    const { c, shader } = this;
    const [stride, dilation] = [c.stride[1], c.dilation[1]];
    const distance = c.adjoint ? j - v * dilation : j * stride + v * dilation;
    let name = this.#loaded.get(distance);
    if (name === undefined) {
      const place = `(${this.#origin} + ${distance >>> 0}u)`;
      name = shader.let(c.adjoint && stride > 1 ? this.#strided(place, stride) : this.#load(place, "true"), "x");
      this.#loaded.set(distance, name);
    }
    return name;
  }

  #load(place: string, condition: string): string {
    const { shader, names } = this;
    const at = shader.let(place, "at");
    const inside = condition === "true" ? `${at} < ${names.width}` : `${at} < ${names.width} && ${condition}`;
    return `select(0.0, ${
      shader.load(this.buffer, this.dtype, `line + select(0u, ${at}, ${at} < ${names.width})`, 1)
    }, ${inside})`;
  }

  #strided(place: string, stride: number): string {
    const right = this.shader.let(place, "right");
    return this.#load(`${right} / ${stride}u`, `${right} < 0x80000000u && ${right} % ${stride}u == 0u`);
  }
}

/** The kernels of `convFilterGrad`: tiles of output by input channels, all taps of one filter row. */
export function lowerConvFilterGrad(step: OpStep, context: Context): Kernel[] {
  const [{ shape }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const { groups } = step.attrs as ConvAttrs;
  const [filters, perGroup, kernelRows, kernelColumns] = shape;
  const [, dy] = step.inputs;
  const [batch, , rows, columns] = dy.shape;
  const taps = kernelColumns <= UNROLLED ? kernelColumns : 4;
  const outputs = fit(filters / groups, context.software ? [8, 4, 2, 1] : [4, 2, 1]);
  const inputs = fit(Math.min(perGroup, Math.max(1, Math.floor(96 / (taps * outputs)))), [4, 2, 1]);
  const tiles = groups * Math.ceil(filters / groups / outputs) * Math.ceil(perGroup / inputs) * kernelRows *
    Math.ceil(kernelColumns / taps);
  const lines = batch * rows;
  const busy = context.software ? 64 : 4096;
  const wanted = Math.min(Math.ceil(busy / tiles), Math.ceil((lines * columns) / 64), lines);
  const parts = Math.max(1, wanted, Math.ceil((lines * (columns + 1)) / MAX_TURNS));
  const tile = { outputs, inputs, taps };
  if (parts === 1) return [filterKernel(step, context, tile, 1, null)];
  const partials = context.scratch("f32", size(shape) * parts);
  return [filterKernel(step, context, tile, parts, partials), sumParts(step, context, parts, partials)];
}

function filterKernel(
  step: OpStep,
  context: Context,
  tile: { readonly outputs: number; readonly inputs: number; readonly taps: number },
  parts: number,
  partials: BufferPlan | null,
): Kernel {
  const { stride, padding, dilation, groups } = step.attrs as ConvAttrs;
  const [{ shape, dtype }] = step.outputSpecs;
  const [filters, perGroup, kernelRows, kernelColumns] = shape;
  const [x, dy] = step.inputs;
  const [batch, channels, height, width] = x.shape;
  const [, , rows, columns] = dy.shape;
  const lanes = context.software ? 8 : 64;
  const shader = new Shader(step.name, context);
  const n = (value: number) => shader.uniform(value);
  const perBlock = filters / groups;
  const grid = [
    parts,
    groups,
    Math.ceil(perBlock / tile.outputs),
    Math.ceil(perGroup / tile.inputs),
    kernelRows,
    Math.ceil(kernelColumns / tile.taps),
  ];
  const [part, g, blockO, blockI, u, blockV] = position(shader, grid, lanes);
  const o = shader.let(`${blockO} * ${tile.outputs}u`, "o");
  const i = shader.let(`${blockI} * ${tile.inputs}u`, "i");
  const v = shader.let(`${blockV} * ${tile.taps}u`, "v");
  const names: string[] = [];
  for (let k = 0; k < tile.outputs * tile.inputs * tile.taps; k++) {
    names.push(`sum${k}`);
    shader.add(`var sum${k} = 0.0;`);
  }
  const lines = n(batch * rows), length = n(Math.ceil((batch * rows) / parts));
  shader.add(`let end = min((${part} + 1u) * ${length}, ${lines});`);
  shader.add(`for (var line = ${part} * ${length}; line < end; line++) {`);
  shader.add(`let b = line / ${n(rows)};`, `let p = line % ${n(rows)};`);
  shader.add(`let row = p * ${n(stride[0])} + ${u} * ${n(dilation[0])} - ${n(padding[0][0])};`);
  shader.add(`if (row >= ${n(height)}) { continue; }`);
  const planeX = n(height * width), planeY = n(rows * columns);
  shader.add(`let from_y = (b * ${n(filters)} + ${g} * ${n(perBlock)} + ${o}) * ${planeY} + p * ${n(columns)};`);
  shader.add(`let from_x = (b * ${n(channels)} + ${g} * ${n(perGroup)} + ${i}) * ${planeX} + row * ${n(width)};`);
  shader.add(`for (var q = 0u; q < ${n(columns)}; q++) {`);
  const ys = Array.from(
    { length: tile.outputs },
    (_, k) => shader.let(shader.load(context.buffer(dy.buffer), dtype, `from_y + ${k}u * ${planeY} + q`, 1), "y"),
  );
  const first = shader.let(`q * ${n(stride[1])} + ${v} * ${n(dilation[1])} - ${n(padding[1][0])}`, "first");
  const edge = n(width), step1 = n(dilation[1]);
  for (let t = 0; t < tile.taps; t++) {
    const at = shader.let(`${first} + ${t}u * ${step1}`, "at");
    const inside = shader.let(`${at} < ${edge}`, "inside");
    const safe = shader.let(`from_x + select(0u, ${at}, ${inside})`, "safe");
    for (let k = 0; k < tile.inputs; k++) {
      const value = shader.load(context.buffer(x.buffer), dtype, `${safe} + ${k}u * ${planeX}`, 1);
      const name = shader.let(`select(0.0, ${value}, ${inside})`, "x");
      ys.forEach((y, m) => {
        const sum = names[(m * tile.inputs + k) * tile.taps + t];
        shader.add(`${sum} = fma(${y}, ${name}, ${sum});`);
      });
    }
  }
  shader.add("} }");
  const count = shader.let(n(perBlock), "count");
  for (let m = 0; m < tile.outputs; m++) {
    for (let k = 0; k < tile.inputs; k++) {
      shader.add(`if (${o} + ${m}u < ${count} && ${i} + ${k}u < ${n(perGroup)}) {`);
      const filter = `((${g} * ${count} + ${o} + ${m}u) * ${n(perGroup)} + ${i} + ${k}u) * ${n(kernelRows)} + ${u}`;
      const at = shader.let(`(${filter}) * ${n(kernelColumns)} + ${v}`, "at");
      for (let t = 0; t < tile.taps; t++) {
        const sum = names[(m * tile.inputs + k) * tile.taps + t];
        const target = partials ?? context.buffer(step.outputs[0]);
        const place = partials ? `${part} * ${n(size(shape))} + ${at} + ${t}u` : `${at} + ${t}u`;
        const store = shader.store(target, partials ? "f32" : dtype, place, sum, 1);
        shader.add(kernelColumns % tile.taps === 0 ? store : `if (${v} + ${t}u < ${n(kernelColumns)}) { ${store} }`);
      }
      shader.add("}");
    }
  }
  return shader.finish(spread(Math.ceil(grid.reduce((p, k) => p * k) / lanes)), [lanes, 1]);
}
