/**
 * Matrix products: every invocation keeps a tile of the output in registers and walks along k.
 *
 * Operands are read through any strides; four neighbours at once where they lie side by side. Tiles differ by the
 * shape of the product; every tile adds the products in the same order, so the choice does not change a bit of the
 * result. Long k with few tiles is cut into parts that a second kernel adds. Where reading is what takes the time, large
 * operands are read from images (`images.ts`).
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { BufferPlan, Operand, OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { mergeAxes } from "../../core/layout.ts";
import type { MatmulAttrs } from "../../ops/matmul.ts";
import { sumParts } from "./epilogue.ts";
import { WORTH_IMAGES } from "./images.ts";
import { tileKernel } from "./matmul_tile.ts";
import { type Context, type Kernel, MAX_TURNS } from "./shader.ts";

/** Rows and columns of an invocation's tile, and invocations along both in a workgroup. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly down: number;
  readonly across: number;
}

/** One operand as the kernel reads it: (batch coordinates, i, j), with j along k for A and along n for B. */
export interface Side {
  readonly buffer: BufferPlan;
  readonly dtype: DType;
  readonly offset: number;
  readonly batch: readonly number[];
  /** Strides along the output's axis (m or n) and along k. */
  readonly across: number;
  readonly along: number;
  /** What is read four at once. */
  readonly four: "across" | "along" | "none";
  /** Whether a copy of it is read. */
  readonly image: boolean;
}

/** A product with its axes merged. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: readonly number[];
  readonly a: Side;
  readonly b: Side;
  /** Values of k in one turn of the loop. */
  readonly step: 1 | 4;
  /** Whether the products of a turn are computed and added up in f16. */
  readonly halves: boolean;
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
  const buffer = context.buffer(operand.buffer);
  return {
    buffer,
    dtype,
    offset,
    batch,
    across,
    along,
    four,
    image: four !== "none" && context.hasImage(buffer, dtype),
  };
}

function productOf({ inputs: [a, b], attrs, outputSpecs: [{ shape }] }: OpStep, context: Context): Product {
  const { transposeA, transposeB } = attrs as MatmulAttrs;
  const [m, n] = shape.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  const lead = shape.slice(0, -2);
  const merged = mergeAxes(lead, [batchStrides(a, lead), batchStrides(b, lead)]);
  const left = sideOf(a, context, merged.strides[0], transposeA, k);
  const right = sideOf(b, context, merged.strides[1], !transposeB, k);
  const halves = context.f16Arithmetic && left.dtype === "f16" && right.dtype === "f16";
  const unrolled = left.four === "along" || right.four === "along" || ((context.software || halves) && k % 4 === 0);
  return { m, n, k, batch: merged.shape, a: left, b: right, step: unrolled ? 4 : 1, halves };
}

/** The product with its operands read from the buffers themselves. */
function withoutImages(product: Product): Product {
  return { ...product, a: { ...product.a, image: false }, b: { ...product.b, image: false } };
}

const fit = (limit: number, sizes: readonly number[]) => sizes.find((size) => size <= limit) ?? sizes.at(-1)!;

/** A way to compute a product. */
type Candidate = readonly [Product, Tile];

/** What is worth trying for a product on this kind of device; the first serves until they are timed. */
function candidatesOf(product: Product, software: boolean): Candidate[] {
  const plain = withoutImages(product);
  const tiles = candidateTiles(product, software);
  const { m, n, k, batch, a, b } = product;
  if (!a.image && !b.image || size(batch) * m * n * k < WORTH_IMAGES) return tiles.map((tile) => [plain, tile]);
  return [...tiles.map((tile): Candidate => [product, tile]), [plain, tiles[0]]];
}

/** Tiles for a product. */
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

/** Products of equal class, which have the same candidates, are taken to like the same one. */
function classOf({ epilogue }: OpStep, candidates: readonly Candidate[]): string {
  const [[{ m, n, k, batch, a, b, halves }]] = candidates;
  const sizes = [m, n, k, size(batch)].map((value) => Math.round(Math.log2(value)));
  const ways = candidates.map(([{ a, b }, { rows, columns, down, across }]) =>
    [a.image, b.image, rows, columns, down, across].join("/")
  );
  return [...sizes, a.four, b.four, halves, epilogue ? "map" : "plain", ...ways].join();
}

/** The kernels of a matrix product with its epilogue. */
export function lowerMatmul(step: OpStep, context: Context): Kernel[] {
  const [{ shape }] = step.outputSpecs;
  if (size(shape) === 0) return [];
  const product = productOf(step, context);
  const candidates = candidatesOf(product, context.software);
  const [first, ...others] = candidates;
  const parts = partsOf(product, first[1], context.software);
  const partials = parts > 1 ? context.scratch("f32", size(shape) * parts) : null;
  // without a map after it the output is a single part of itself, so that both cases share a text
  const plain = !step.epilogue && step.outputSpecs[0].dtype === "f32";
  const target = partials ?? (plain ? context.buffer(step.outputs[0]) : null);
  const make = ([way, tile]: Candidate) => tileKernel(step, context, way, tile, parts, target);
  const kernel = make(first);
  const tuning = kernel.loops.length > 0 || others.length === 0 ? undefined : {
    key: classOf(step, candidates),
    work: 2 * size(shape) * product.k,
    others: others.map((candidate) => () => make(candidate)),
  };
  return [{ ...kernel, tuning }, ...partials ? [sumParts(step, context, parts, partials)] : []];
}
