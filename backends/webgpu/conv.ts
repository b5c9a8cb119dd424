/**
 * Convolution and its adjoint in the input: every invocation keeps a tile of channels by neighbouring columns in registers.
 *
 * The convolution and its input gradient are one kernel: both sum, over channels and filter taps, a source plane times
 * a weight; they differ in which source row and column a tap looks at.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { ConvAttrs, ConvInputGradAttrs } from "../../ops/conv.ts";
import { emitTile, outputWidth, sumParts } from "./epilogue.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

/** Taps along a row that are written out, at most. */
export const UNROLLED = 7;

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

/** The first of `sizes`, largest first, that is at most `limit`. */
export const fit = (limit: number, sizes: readonly number[]): number =>
  sizes.find((size) => size <= limit) ?? sizes.at(-1)!;

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
  if (parts === 1) return [new ConvKernel(step, context, c, tile, unrolled, 1).write(null)];
  const partials = context.scratch("f32", size(shape) * parts);
  const kernel = new ConvKernel(step, context, c, tile, unrolled, parts).write(partials);
  return [kernel, sumParts(step, context, parts, partials)];
}

/** The kernel while it is written. */
class ConvKernel {
  readonly shader: Shader;
  readonly n = (value: number): string => this.shader.uniform(value);
  /** Coordinates of this invocation's tile. */
  #place: { part: string; b: string; g: string; row: string; first: string; column: string };
  readonly #made: string;
  readonly #summed: string;
  readonly #width: string;

  constructor(
    readonly step: OpStep,
    readonly context: Context,
    readonly c: Convolution,
    readonly tile: Tile,
    /** Taps of a filter row that are written out. */
    readonly taps: number,
    readonly parts: number,
  ) {
    const shader = this.shader = new Shader(step.name, context, size(step.outputSpecs[0].shape) * c.summed);
    const [part, b, g, block, row, strip] = position(shader, this.grid, tile.lanes);
    const first = shader.let(`${block} * ${tile.channels}u`, "first");
    const column = shader.let(`${strip} * ${tile.columns}u`, "column");
    this.#place = { part, b, g, row, first, column };
    this.#made = shader.let(this.n(c.made), "made");
    this.#summed = shader.let(this.n(c.summed), "summed");
    this.#width = shader.let(this.n(c.source[1]), "width");
  }

  private get grid(): number[] {
    const { c, tile, parts } = this;
    const [rows, columns] = c.target;
    return [parts, c.batch, c.groups, Math.ceil(c.made / tile.channels), rows, Math.ceil(columns / tile.columns)];
  }

  write(partials: BufferPlan | null): Kernel {
    const { shader, c, n, parts, tile: { channels, columns, lanes } } = this;
    for (let k = 0; k < channels * columns; k++) shader.add(`var sum${k} = 0.0;`);
    const length = n(Math.ceil(c.summed / parts));
    shader.add(`let end = min((${this.#place.part} + 1u) * ${length}, ${this.#summed});`);
    shader.add(`for (var i = ${this.#place.part} * ${length}; i < end; i++) {`);
    this.rowsOfTaps();
    shader.add("}");
    this.store(partials);
    return shader.finish(spread(Math.ceil(this.grid.reduce((p, k) => p * k) / lanes)), [lanes, 1]);
  }

  /** Loops over the filter's rows and, unless they are written out, over the taps of each. */
  private rowsOfTaps(): void {
    const { shader, c, n, taps } = this;
    const { b, g, row, first } = this.#place;
    const weights = `${g} * ${this.#made} * ${this.#summed} * ${n(c.kernel[0] * c.kernel[1])} + ` +
      `${first} * ${n(c.madeStride)} + i * ${n(c.summedStride)}`;
    const height = n(c.source[0]);
    shader.add(`let plane = ((${b} * ${n(c.groups)} + ${g}) * ${this.#summed} + i) * ${height};`);
    shader.add(`let weights = ${weights};`, `for (var u = 0u; u < ${n(c.kernel[0])}; u++) {`);
    sourceRow(shader, c, row, height);
    shader.add(`let line = (plane + source_row) * ${this.#width};`);
    const whole = taps === c.kernel[1];
    if (!whole) shader.add(`for (var v = 0u; v < ${n(c.kernel[1])}; v++) {`);
    const v = whole ? "0u" : "v";
    shader.add(`let tap = weights + u * ${n(c.kernel[1])} + ${v};`);
    this.products(v);
    shader.add(whole ? "}" : "} }");
  }

  /** Adds what some neighbouring taps contribute to the tile. */
  private products(tap: string): void {
    const { shader, c, tile, taps, context, step: { inputs: [x, w] } } = this;
    const source = new SourceColumns(shader, c, context.buffer(x.buffer), x.dtype, {
      column: this.#place.column,
      width: this.#width,
      tap,
    });
    const stride = this.n(c.madeStride);
    for (let v = 0; v < taps; v++) {
      const values = Array.from({ length: tile.columns }, (_, j) => source.at(j, v));
      for (let o = 0; o < tile.channels; o++) {
        const at = `tap + ${o}u * ${stride} + ${v}u`;
        const weight = shader.let(shader.read(context.buffer(w.buffer), w.dtype, at), "w");
        values.forEach((value, j) => {
          const sum = `sum${o * tile.columns + j}`;
          shader.add(`${sum} = fma(${weight}, ${value}, ${sum});`);
        });
      }
    }
  }

  private store(partials: BufferPlan | null): void {
    const { shader, step, context, c, n, tile } = this;
    const { part, b, g, row, first, column } = this.#place;
    const [rows, columns] = c.target;
    const channel = `(${b} * ${n(c.groups)} + ${g}) * ${this.#made}`;
    emitTile(shader, step, {
      rows: tile.channels,
      columns: tile.columns,
      sum: (r, k) => `sum${r * tile.columns + k}`,
      row: first,
      column,
      rowEnd: this.#made,
      columnEnd: n(columns),
      at: (r, k) => `((${channel} + ${r}) * ${n(rows)} + ${row}) * ${n(columns)} + ${k}`,
      width: partials ? (columns % 4 === 0 ? 4 : 1) : outputWidth(step, context, columns),
      partial: partials && { buffer: partials, start: `${part} * ${n(size(step.outputSpecs[0].shape))}` },
    });
  }
}

/** This invocation's coordinates in a grid; those beyond it end. */
export function position(shader: Shader, grid: readonly number[], lanes: number): string[] {
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
    readonly dtype: DType,
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
      shader.read(this.buffer, this.dtype, `line + select(0u, ${at}, ${at} < ${names.width})`)
    }, ${inside})`;
  }

  #strided(place: string, stride: number): string {
    const right = this.shader.let(place, "right");
    return this.#load(`${right} / ${stride}u`, `${right} < 0x80000000u && ${right} % ${stride}u == 0u`);
  }
}
