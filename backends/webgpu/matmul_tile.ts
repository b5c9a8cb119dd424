/**
 * The kernel of a matrix product: each invocation keeps one tile of the output in registers.
 *
 * @module
 */
import type { BufferPlan, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { emitTile, outputWidth } from "./epilogue.ts";
import type { Product, Side, Tile } from "./matmul.ts";
import { type Context, type Kernel, Shader, spread } from "./shader.ts";

/** Reads one operand's part of a tile: `count` places across, some along k. */
class TileReader {
  /** First elements of the rows that are read along k, or of the only row that is read across. */
  readonly #starts: string[];
  readonly #across: string;
  readonly #along: string;
  readonly #fours: boolean;

  /** Writes what does not change along k. `base` is the matrix's first element, `first` the tile's first place. */
  constructor(
    readonly shader: Shader,
    readonly side: Side,
    readonly halves: boolean,
    base: string,
    first: string,
    readonly count: number,
  ) {
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
    const { shader, halves, side: { buffer, dtype, image } } = this;
    const index = `${start} + ${at}`;
    const value = halves
      ? shader.halves(buffer, index, width)
      : image
      ? shader.fetch(buffer, index, width)
      : shader.load(buffer, dtype, index, width);
    return shader.let(value, "x");
  }
}

/** Four scalars as a vector; the very vector where they are its lanes. */
function vectorOf(type: string, scalars: readonly string[]): string {
  const [whole] = scalars[0].split("[");
  return scalars.every((scalar, lane) => scalar === `${whole}[${lane}]`) ? whole : `${type}(${scalars.join(", ")})`;
}

/** A sum of products of a scalar and a vector. */
function dotOf(vector: string, pairs: readonly (readonly [scalar: string, four: string])[]): string {
  return pairs.map(([a, b]) => [`${vector}(${a})`, b]).reduce(
    (sum, [a, b]) => sum === "" ? `${a} * ${b}` : `fma(${a}, ${b}, ${sum})`,
    "",
  );
}

/** What every tile of a product needs to know of the kernel that it is in. */
interface Names {
  readonly M: string;
  readonly N: string;
  readonly K: string;
  readonly baseA: string;
  readonly baseB: string;
}

/** Names this invocation's part, matrix, row and column. */
function placeTile(shader: Shader, { m, n, k, batch, a, b }: Product, tile: Tile, grid: readonly number[]): Names {
  const { rows, columns, down, across } = tile;
  const [M, N, K] = [m, n, k].map((value) => shader.let(shader.uniform(value), "size"));
  const sizes = grid.map((value) => shader.uniform(value));
  shader.add("let workgroup = group.y * groups.x + group.x;");
  shader.add(`let tile_column = workgroup % ${sizes[3]};`, `let tile_row = workgroup / ${sizes[3]} % ${sizes[2]};`);
  shader.add(`let matrix = workgroup / (${sizes[3]} * ${sizes[2]}) % ${sizes[1]};`);
  shader.add(`let part = workgroup / (${sizes[3]} * ${sizes[2]} * ${sizes[1]});`);
  shader.add(`if (part >= ${sizes[0]}) { return; }`);
  const lanes = shader.let(shader.uniform(across), "lanes");
  shader.add(`let row = (tile_row * (${down * across}u / ${lanes}) + local.x / ${lanes}) * ${rows}u;`);
  shader.add(`let column = (tile_column * ${lanes} + local.x % ${lanes}) * ${columns}u;`);
  const coordinates = matrixOf(shader, batch);
  const baseA = shader.let(matrixAt(shader, coordinates, a), "base");
  const baseB = shader.let(matrixAt(shader, coordinates, b), "base");
  return { M, N, K, baseA, baseB };
}

/** The loop along k: `sum{i}_{j}` are the fours of the tile. */
function sumProducts(shader: Shader, product: Product, { rows, columns }: Tile, parts: number, names: Names): void {
  const { k, a, b, step, halves } = product;
  const left = new TileReader(shader, a, halves, names.baseA, "row", rows);
  const right = new TileReader(shader, b, halves, names.baseB, "column", columns);
  const fours = columns / 4;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < fours; j++) shader.add(`var sum${i}_${j} = vec4f(0.0);`);
  }
  const length = shader.uniform(Math.ceil(k / step / parts) * step);
  shader.add(`let k_end = min((part + 1u) * ${length}, ${names.K});`);
  shader.add(`for (var k = part * ${length}; k < k_end; k += ${step}u) {`);
  const as = left.load("k", step), bs = right.load("k", step);
  const vector = halves ? "vec4<f16>" : "vec4f";
  const places = Array.from({ length: step }, (_, p) => p);
  const add = (i: number, j: number, p: number) =>
    shader.add(`sum${i}_${j} = fma(vec4f(${as[i][p]}), y${p}_${j}, sum${i}_${j});`);
  // a CPU has few registers: there a sum is best added to in one go
  const inOneGo = halves || shader.context.software;
  for (const p of places) {
    for (let j = 0; j < fours; j++) {
      shader.add(`let y${p}_${j} = ${vectorOf(vector, [0, 1, 2, 3].map((lane) => bs[4 * j + lane][p]))};`);
      if (!inOneGo) { for (let i = 0; i < rows; i++) add(i, j, p); }
    }
  }
  for (let i = 0; i < rows && inOneGo; i++) {
    for (let j = 0; j < fours; j++) {
      if (halves) shader.add(`sum${i}_${j} += vec4f(${dotOf(vector, places.map((p) => [as[i][p], `y${p}_${j}`]))});`);
      else for (const p of places) add(i, j, p);
    }
  }
  shader.add("}");
}

/** The kernel that computes tiles; sums of parts go to `target`, whole ones through the epilogue if it is null. */
export function tileKernel(
  step: OpStep,
  context: Context,
  product: Product,
  tile: Tile,
  parts: number,
  target: BufferPlan | null,
): Kernel {
  const { m, n, batch } = product;
  const { rows, columns, down, across } = tile;
  const shader = new Shader(step.name, context);
  const grid = [parts, size(batch), Math.ceil(m / (rows * down)), Math.ceil(n / (columns * across))];
  const names = placeTile(shader, product, tile, grid);
  sumProducts(shader, product, tile, parts, names);
  emitTile(shader, step, {
    rows,
    columns,
    sum: (i, j) => `sum${i}_${j >> 2}[${j & 3}]`,
    sums: (i, j) => `sum${i}_${j / 4}`,
    row: "row",
    column: "column",
    rowEnd: names.M,
    columnEnd: names.N,
    at: (r, c) => `(matrix * ${names.M} + ${r}) * ${names.N} + ${c}`,
    width: target ? (n % 4 === 0 ? 4 : 1) : outputWidth(step, context, n),
    partial: target && { buffer: target, start: `part * ${shader.uniform(size(batch) * m * n)}` },
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
