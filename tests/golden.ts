/**
 * Values made by PyTorch (`golden/make.py`), as tensors.
 *
 * @module
 */
import type { DType, Tensor } from "../mod.ts";
import { leaves, names } from "../core/tree.ts";
import { fromValues, type Tolerance } from "./cases/case.ts";
import { difference } from "./compare.ts";

/** A tensor in a golden file; what is not finite is written as text. */
export interface Packed {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: readonly (number | "NaN" | "Infinity" | "-Infinity")[];
}

/** The content of `golden/<name>.json`. */
export async function golden<T>(name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(`./golden/${name}.json`, import.meta.url)));
}

/** The elements as numbers. */
export function numbers({ data }: Packed): number[] {
  return data.map(Number);
}

/** A tensor on the backend in use. */
export function unpack(packed: Packed): Tensor {
  return fromValues(numbers(packed), packed);
}

/** Throws unless the tensor has the golden shape, dtype and values. */
export async function assertGolden(
  what: string,
  actual: Tensor,
  expected: Packed,
  tolerance: Tolerance,
): Promise<void> {
  const [given, wanted] = [actual, expected].map(({ dtype, shape }) => `${dtype}[${shape.join(",")}]`);
  if (given !== wanted) throw new Error(`${what} is ${given}, expected ${wanted}`);
  const problem = difference(await actual.data(), numbers(expected), tolerance);
  if (problem) throw new Error(`${what}: ${problem}`);
}

/** A tree of golden tensors. */
export type PackedTree = Packed | readonly PackedTree[] | { readonly [name: string]: PackedTree };

const isPacked = (tree: PackedTree): tree is Packed => "dtype" in tree && "data" in tree;

/** The golden tensors of a tree, in the order of its leaves. */
function packedLeaves(tree: PackedTree): Packed[] {
  return isPacked(tree) ? [tree] : Object.values(tree).flatMap(packedLeaves);
}

/** A tree with every golden tensor on the backend in use. */
export function unpackTree<T>(tree: PackedTree): T {
  const build = (node: PackedTree): unknown => {
    if (isPacked(node)) return unpack(node);
    if (Array.isArray(node)) return node.map(build);
    return Object.fromEntries(Object.entries(node).map(([name, child]) => [name, build(child)]));
  };
  return build(tree) as T;
}

/** Throws unless the tree's tensors, in order, are the golden ones; both must name them in the same order. */
export async function assertGoldenTree(
  what: string,
  actual: unknown,
  expected: PackedTree,
  tolerance: Tolerance,
): Promise<void> {
  const wanted = packedLeaves(expected), paths = names(actual), tensors = leaves(actual) as Tensor[];
  if (wanted.length !== tensors.length) throw new Error(`${what} has ${tensors.length} tensors, not ${wanted.length}`);
  for (const [i, tensor] of tensors.entries()) await assertGolden(`${what} ${paths[i]}`, tensor, wanted[i], tolerance);
}
