/**
 * Matrix products: every invocation keeps a tile of the output in registers and walks along k.
 *
 * Operands are read through any strides; four neighbours at once where they lie side by side. Tiles differ by the
 * shape of the product; every tile adds the products in the same order, so the choice does not change a bit of the
 * result. Long k with few tiles is cut into parts that a second kernel adds.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { BufferPlan, Operand, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { mergeAxes } from "../../core/layout.ts";
import { emitTile, outputWidth, sumParts } from "./epilogue.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

/** Rows and columns of an invocation's tile, and invocations along both in a workgroup. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly down: number;
  readonly across: number;
}

/** One operand as the kernel reads it: (batch coordinates, i, j), with j along k for A and along n for B. */
interface Side {
  readonly buffer: BufferPlan;
  readonly dtype: DType;
  readonly offset: number;
  readonly batch: readonly number[];
  /** Strides along the output's axis (m or n) and along k. */
  readonly across: number;
  readonly along: number;
  /** What is read four at once. */
  readonly four: "across" | "along" | "none";
}

/** A product with its axes merged. */
interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: readonly number[];
  readonly a: Side;
  readonly b: Side;
  /** Values of k in one turn of the loop. */
  readonly step: 1 | 4;
}

interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Strides over the output's batch axes. */
function batchStrides({ shape, strides }: Operand, batch: readonly number[]): number[] {
  const own = shape.length - 2;
  return batch.map((_, axis) => {
    const at = axis - (batch.length - own);
    return at < 0 || shape[at] === 1 ? 0 : strides[at];
  });
}

function sideOf(operand: Operand, context: Context, batch: readonly number[], swapped: boolean, k: number): Side {
  const { strides, offset, dtype } = operand;
  const [outer, inner] = strides.slice(-2);
  const [across, along] = swapped ? [inner, outer] : [outer, inner];
  const aligned = (other: number) => offset % 4 === 0 && [other, ...batch].every((stride) => stride % 4 === 0);
  const four = along === 1 && k % 4 === 0 && aligned(across)
    ? "along"
    : across === 1 && aligned(along)
    ? "across"
    : "none";
  return { buffer: context.buffer(operand.buffer), dtype, offset, batch, across, along, four };
}

function productOf({ inputs: [a, b], attrs, outputSpecs: [{ shape }] }: OpStep, context: Context): Product {
  const { transposeA, transposeB } = attrs as MatmulAttrs;
  const [m, n] = shape.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  const lead = shape.slice(0, -2);
  const merged = mergeAxes(lead, [batchStrides(a, lead), batchStrides(b, lead)]);
  const left = sideOf(a, context, merged.strides[0], transposeA, k);
  const right = sideOf(b, context, merged.strides[1], !transposeB, k);
  const step = left.four === "along" || right.four === "along" ? 4 : 1;
  return { m, n, k, batch: merged.shape, a: left, b: right, step };
}

const fit = (limit: number, sizes: readonly number[]) => sizes.find((size) => size <= limit) ?? sizes.at(-1)!;

/** Tiles worth trying for a product on this kind of device; the first serves until they are timed. */
function candidateTiles({ m, n }: Product, software: boolean): Tile[] {
  if (!software) {
    const tile = { rows: fit(m, [4, 2, 1]), columns: 4 };
    return [{ ...tile, down: 16, across: 16 }, { ...tile, down: 8, across: 8 }, {
      rows: 8,
      columns: 8,
      down: 8,
      across: 8,
    }];
  }
  // a workgroup is eight SIMD lanes, best side by side along n; larger tiles take longer to compile
  const tile = (rows: number, columns: number): Tile => {
    const across = n > 4 * columns ? 8 : n > 2 * columns ? 4 : n > columns ? 2 : 1;
    return { rows: fit(m, [rows, 4, 1]), columns, across, down: 8 / across };
  };
  if (n <= 16) return [tile(8, 4)];
  return n >= 128 && m >= 64 ? [tile(8, 8), tile(8, 16)] : [tile(8, 8)];
}

/** Parts that k is cut into, so that there is work for everyone and no loop is too long. */
function partsOf({ m, n, k, batch, step }: Product, tile: Tile, software: boolean): number {
  const workgroups = Math.ceil(m / (tile.rows * tile.down)) * Math.ceil(n / (tile.columns * tile.across)) * size(batch);
  const wanted = Math.ceil((software ? 8 : 256) / workgroups);
  const useful = Math.min(wanted, Math.floor(k / 256));
  return Math.max(1, useful, Math.ceil(k / step / MAX_TURNS));
}

/** Products of equal class are taken to like the same tile. */
function classOf({ epilogue }: OpStep, { m, n, k, batch, a, b }: Product): string {
  const sizes = [m, n, k, size(batch)].map((value) => Math.round(Math.log2(value)));
  return [...sizes, a.four, b.four, epilogue ? "map" : "plain"].join();
}

/** The kernels of a matrix product with its epilogue. */
export function lowerMatmul(step: OpStep, context: Context): Kernel[] {
  const [{ shape }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const product = productOf(step, context);
  const [first, ...others] = candidateTiles(product, context.software);
  const parts = partsOf(product, first, context.software);
  const partials = parts > 1 ? context.scratch("f32", size(shape) * parts) : null;
  const target = partials ?? (step.epilogue ? null : context.buffer(step.outputs[0]));
  const make = (tile: Tile) => tileKernel(step, context, product, tile, parts, target);
  const kernel = make(first);
  const tuning = kernel.loops.length > 0 || others.length === 0 ? undefined : {
    key: classOf(step, product),
    work: 2 * size(shape) * product.k,
    others: others.map((tile) => () => make(tile)),
  };
  return [{ ...kernel, tuning }, ...partials ? [sumParts(step, context, parts, partials)] : []];
}

/** Reads one operand's part of a tile: `count` places across, some along k. */
class TileReader {
  /** First elements of the rows that are read along k, or of the only row that is read across. */
  readonly #starts: string[];
  readonly #across: string;
  readonly #along: string;
  readonly #fours: boolean;

  /** Writes what does not change along k. `base` is the matrix's first element, `first` the tile's first place. */
  constructor(readonly shader: Shader, readonly side: Side, base: string, first: string, readonly count: number) {
    const { four, across, along } = side;
    this.#fours = four === "along" || (four === "across" && count % 4 === 0);
    this.#across = this.#fours && four === "across" ? "" : ` * ${shader.let(shader.uniform(across), "s")}`;
    this.#along = four === "along" ? "" : ` * ${shader.let(shader.uniform(along), "s")}`;
    this.#starts = this.#across === ""
      ? [shader.let(`${base} + ${first}`, "start")]
      : Array.from({ length: count }, (_, i) => shader.let(`${base} + (${first} + ${i}u)${this.#across}`, "start"));
  }

  /** Statements that load `step` places from `k` on; returns the scalar at each place across and along. */
  load(k: string, step: number): string[][] {
    const { shader, count, side: { four } } = this;
    const values = Array.from({ length: count }, () => new Array<string>(step));
    const along = Array.from(
      { length: step },
      (_, p) => this.#along === "" ? `${k} + ${p}u` : shader.let(`(${k} + ${p}u)${this.#along}`, "p"),
    );
    const lanes = [0, 1, 2, 3];
    if (!this.#fours) {
      for (let i = 0; i < count; i++) along.forEach((at, p) => values[i][p] = this.#read(this.#starts[i], at, 1));
    } else if (four === "along") {
      for (let i = 0; i < count; i++) {
        const name = this.#read(this.#starts[i], k, 4);
        for (const lane of lanes) values[i][lane] = `${name}[${lane}]`;
      }
    } else {
      for (let i = 0; i < count; i += 4) {
        along.forEach((at, p) => {
          const name = this.#read(this.#starts[0], `${at} + ${i}u`, 4);
          for (const lane of lanes) values[i + lane][p] = `${name}[${lane}]`;
        });
      }
    }
    return values;
  }

  #read(start: string, at: string, width: 1 | 4): string {
    const { buffer, dtype } = this.side;
    return this.shader.let(this.shader.load(buffer, dtype, `${start} + ${at}`, width), "x");
  }
}

/** Four scalars as a vector; the very vector where they are its lanes. */
function vectorOf(scalars: readonly string[]): string {
  const [whole] = scalars[0].split("[");
  return scalars.every((scalar, lane) => scalar === `${whole}[${lane}]`) ? whole : `vec4f(${scalars.join(", ")})`;
}

/** The kernel that computes tiles; part sums go to `partials`. */
function tileKernel(
  step: OpStep,
  context: Context,
  product: Product,
  tile: Tile,
  parts: number,
  partials: BufferPlan | null,
): Kernel {
  const { m, n, k, batch, a, b, step: turn } = product;
  const { rows, columns, down, across } = tile;
  const shader = new Shader(step.name, context);
  const grid = [parts, size(batch), Math.ceil(m / (rows * down)), Math.ceil(n / (columns * across))];
  const [M, N, K] = [m, n, k].map((value) => shader.let(shader.uniform(value), "size"));
  shader.add("let workgroup = group.y * groups.x + group.x;");
  const sizes = grid.map((value) => shader.uniform(value));
  shader.add(`let tile_column = workgroup % ${sizes[3]};`, `let tile_row = workgroup / ${sizes[3]} % ${sizes[2]};`);
  shader.add(`let matrix = workgroup / (${sizes[3]} * ${sizes[2]}) % ${sizes[1]};`);
  shader.add(`let part = workgroup / (${sizes[3]} * ${sizes[2]} * ${sizes[1]});`);
  // workgroups beyond the last part have nothing to do
  shader.add(`if (part >= ${sizes[0]}) { return; }`);
  const lanes = shader.let(shader.uniform(across), "lanes");
  shader.add(`let row = (tile_row * (${down * across}u / ${lanes}) + local.x / ${lanes}) * ${rows}u;`);
  shader.add(`let column = (tile_column * ${lanes} + local.x % ${lanes}) * ${columns}u;`);
  const coordinates = matrixOf(shader, batch);
  const baseA = shader.let(matrixAt(shader, coordinates, a), "base");
  const baseB = shader.let(matrixAt(shader, coordinates, b), "base");
  const left = new TileReader(shader, a, baseA, "row", rows);
  const right = new TileReader(shader, b, baseB, "column", columns);
  const fragments = columns / 4;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < fragments; j++) shader.add(`var sum${i}_${j} = vec4f(0.0);`);
  }
  const length = shader.uniform(Math.ceil(k / turn / parts) * turn);
  shader.add(`let k_end = min((part + 1u) * ${length}, ${K});`);
  shader.add(`for (var k = part * ${length}; k < k_end; k += ${turn}u) {`);
  const as = left.load("k", turn), bs = right.load("k", turn);
  for (let p = 0; p < turn; p++) {
    for (let j = 0; j < fragments; j++) {
      const vector = shader.let(vectorOf([0, 1, 2, 3].map((lane) => bs[4 * j + lane][p])), "y");
      for (let i = 0; i < rows; i++) shader.add(`sum${i}_${j} = fma(vec4f(${as[i][p]}), ${vector}, sum${i}_${j});`);
    }
  }
  shader.add("}");
  emitTile(shader, step, {
    rows,
    columns,
    sum: (i, j) => `sum${i}_${j >> 2}[${j & 3}]`,
    sums: (i, j) => `sum${i}_${j / 4}`,
    row: "row",
    column: "column",
    rowEnd: M,
    columnEnd: N,
    at: (r, c) => `(matrix * ${M} + ${r}) * ${N} + ${c}`,
    width: partials ? (n % 4 === 0 ? 4 : 1) : outputWidth(step, context, n),
    partial: partials && { buffer: partials, start: `part * ${shader.uniform(size(batch) * m * n)}` },
  });
  return shader.finish(spread(grid.reduce((x, y) => x * y)), [across * down, 1]);
}

/** Coordinates along the batch axes of this workgroup's matrix. */
function matrixOf(shader: Shader, batch: readonly number[]): string[] {
  const coordinates = new Array<string>(batch.length);
  let rest = "matrix";
  for (let axis = batch.length - 1; axis > 0; axis--) {
    const n = shader.uniform(batch[axis]);
    coordinates[axis] = shader.let(`${rest} % ${n}`, "c");
    rest = shader.let(`${rest} / ${n}`, "q");
  }
  if (batch.length > 0) coordinates[0] = rest;
  return coordinates;
}

/** First element of an operand's matrix. */
function matrixAt(shader: Shader, coordinates: readonly string[], { batch, offset }: Side): string {
  const terms = coordinates.map((c, axis) => `${c} * ${shader.uniform(batch[axis])}`);
  return [...terms, shader.uniform(offset)].join(" + ");
}
