/**
 * The adjoint of convolution in its filter: every invocation keeps a tile of output by input channels, with the taps of
 * one filter row, and sums over the places of all images.
 *
 * @module
 */
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { ConvAttrs } from "../../ops/conv.ts";
import { fit, position, UNROLLED } from "./conv.ts";
import { sumParts } from "./epilogue.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

/** Channels of both sides and taps that an invocation sums up. */
interface Tile {
  readonly outputs: number;
  readonly inputs: number;
  readonly taps: number;
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
  if (parts === 1) return [new FilterKernel(step, context, tile, 1).write(null)];
  const partials = context.scratch("f32", size(shape) * parts);
  return [new FilterKernel(step, context, tile, parts).write(partials), sumParts(step, context, parts, partials)];
}

/** The kernel while it is written. */
class FilterKernel {
  readonly shader: Shader;
  readonly n = (value: number): string => this.shader.uniform(value);
  readonly lanes: number;
  /** First channels and tap of the tile, and where it stands in the grid. */
  readonly #place: { part: string; g: string; o: string; i: string; u: string; v: string };

  constructor(readonly step: OpStep, readonly context: Context, readonly tile: Tile, readonly parts: number) {
    const [, { shape }] = step.inputs;
    const shader = this.shader = new Shader(step.name, context, size(shape) * step.outputSpecs[0].shape[1]);
    this.lanes = context.software ? 8 : 64;
    const [part, g, o, i, u, v] = position(shader, this.grid, this.lanes);
    const { outputs, inputs, taps } = tile;
    this.#place = {
      part,
      g,
      o: shader.let(`${o} * ${outputs}u`, "o"),
      i: shader.let(`${i} * ${inputs}u`, "i"),
      u,
      v: shader.let(`${v} * ${taps}u`, "v"),
    };
  }

  private get attrs(): ConvAttrs {
    return this.step.attrs as ConvAttrs;
  }

  private get grid(): number[] {
    const { tile, parts, attrs: { groups } } = this;
    const [filters, perGroup, rows, columns] = this.step.outputSpecs[0].shape;
    const blocks = [Math.ceil(filters / groups / tile.outputs), Math.ceil(perGroup / tile.inputs)];
    return [parts, groups, ...blocks, rows, Math.ceil(columns / tile.taps)];
  }

  private sum(output: number, input: number, tap: number): string {
    return `sum${(output * this.tile.inputs + input) * this.tile.taps + tap}`;
  }

  write(partials: BufferPlan | null): Kernel {
    const { shader, n, tile: { outputs, inputs, taps }, parts, lanes } = this;
    const [, dy] = this.step.inputs;
    const [batch, , rows, columns] = dy.shape;
    for (let k = 0; k < outputs * inputs * taps; k++) shader.add(`var sum${k} = 0.0;`);
    const length = n(Math.ceil((batch * rows) / parts));
    shader.add(`let end = min((${this.#place.part} + 1u) * ${length}, ${n(batch * rows)});`);
    shader.add(`for (var line = ${this.#place.part} * ${length}; line < end; line++) {`);
    this.enterLine();
    shader.add(`for (var q = 0u; q < ${n(columns)}; q++) {`);
    this.products();
    shader.add("} }");
    this.store(partials);
    return shader.finish(spread(Math.ceil(this.grid.reduce((p, k) => p * k) / lanes)), [lanes, 1]);
  }

  /** Names the first elements of the line in dy and of what its tap row meets in x; skips lines in the padding. */
  private enterLine(): void {
    const { shader, n, attrs: { stride, dilation, padding, groups } } = this;
    const [filters, perGroup] = this.step.outputSpecs[0].shape;
    const [{ shape: [, channels, height, width] }, { shape: [, , rows, columns] }] = this.step.inputs;
    const { g, o, i, u } = this.#place;
    shader.add(`let b = line / ${n(rows)};`, `let p = line % ${n(rows)};`);
    shader.add(`let row = p * ${n(stride[0])} + ${u} * ${n(dilation[0])} - ${n(padding[0][0])};`);
    shader.add(`if (row >= ${n(height)}) { continue; }`);
    shader.add(`let plane_x = ${n(height * width)};`, `let plane_y = ${n(rows * columns)};`);
    const filter = `b * ${n(filters)} + ${g} * ${n(filters / groups)} + ${o}`;
    shader.add(`let from_y = (${filter}) * plane_y + p * ${n(columns)};`);
    const channel = `b * ${n(channels)} + ${g} * ${n(perGroup)} + ${i}`;
    shader.add(`let from_x = (${channel}) * plane_x + row * ${n(width)};`);
  }

  /** Adds what place `q` of the line contributes. */
  private products(): void {
    const { shader, n, context, attrs: { stride, dilation, padding } } = this;
    const { outputs, inputs, taps } = this.tile;
    const [x, dy] = this.step.inputs;
    const ys = Array.from(
      { length: outputs },
      (_, k) => shader.let(shader.read(context.buffer(dy.buffer), dy.dtype, `from_y + ${k}u * plane_y + q`), "y"),
    );
    const { v } = this.#place;
    const first = shader.let(`q * ${n(stride[1])} + ${v} * ${n(dilation[1])} - ${n(padding[1][0])}`, "first");
    const width = n(x.shape[3]), apart = n(dilation[1]);
    for (let t = 0; t < taps; t++) {
      const at = shader.let(`${first} + ${t}u * ${apart}`, "at");
      const inside = shader.let(`${at} < ${width}`, "inside");
      const safe = shader.let(`from_x + select(0u, ${at}, ${inside})`, "safe");
      for (let k = 0; k < inputs; k++) {
        const value = shader.read(context.buffer(x.buffer), x.dtype, `${safe} + ${k}u * plane_x`);
        const name = shader.let(`select(0.0, ${value}, ${inside})`, "x");
        ys.forEach((y, m) => {
          const sum = this.sum(m, k, t);
          shader.add(`${sum} = fma(${y}, ${name}, ${sum});`);
        });
      }
    }
  }

  private store(partials: BufferPlan | null): void {
    const { shader, n, context, step, tile: { outputs, inputs, taps }, attrs: { groups } } = this;
    const [{ shape, dtype }] = step.outputSpecs;
    const [filters, perGroup, kernelRows, kernelColumns] = shape;
    const { part, g, o, i, u, v } = this.#place;
    const count = shader.let(n(filters / groups), "count");
    const start = partials ? `${part} * ${n(size(shape))} + ` : "";
    for (let m = 0; m < outputs; m++) {
      for (let k = 0; k < inputs; k++) {
        shader.add(`if (${o} + ${m}u < ${count} && ${i} + ${k}u < ${n(perGroup)}) {`);
        const filter = `((${g} * ${count} + ${o} + ${m}u) * ${n(perGroup)} + ${i} + ${k}u) * ${n(kernelRows)} + ${u}`;
        const at = shader.let(`${start}(${filter}) * ${n(kernelColumns)} + ${v}`, "at");
        for (let t = 0; t < taps; t++) {
          const target = partials ?? context.buffer(step.outputs[0]);
          const store = shader.store(target, partials ? "f32" : dtype, `${at} + ${t}u`, this.sum(m, k, t), 1);
          shader.add(kernelColumns % taps === 0 ? store : `if (${v} + ${t}u < ${n(kernelColumns)}) { ${store} }`);
        }
        shader.add("}");
      }
    }
  }
}
