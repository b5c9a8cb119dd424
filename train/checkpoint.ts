/**
 * The whole state of a training in one file: parameters, optimizer state, random key, and where it stands.
 *
 * ```text
 *  { params, state, key, position: { epoch: 3, step: 17 } }
 *      │                      └── values that are no tensors, and the nesting: JSON in the metadata
 *      └── tensors, by their dotted names, as in any safetensors file
 * ```
 *
 * A training that goes on from there ends with the same weights, bit for bit, as one that was never stopped.
 *
 * @module
 */
import { ArgumentError, FormatError } from "../core/errors.ts";
import { show } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import { describe, flatten, names, type Structure, unflatten } from "../core/tree.ts";
import { decodeSafetensors, writeSafetensors } from "../io/safetensors.ts";

/** What marks a file as ours, and its nesting and values in JSON. */
const FORMAT = "tenon checkpoint", FIELD = "checkpoint";

/** A leaf in JSON: the name of a tensor, a value, or a number that JSON lacks. */
type Leaf =
  | { readonly tensor: string }
  | { readonly value: boolean | number | string }
  | { readonly number: "NaN" | "Infinity" | "-Infinity" | "-0" };

/** A structure that JSON can hold: `undefined` would be lost. */
type Nesting = Structure | { readonly kind: "undefined" };

/**
 * Writes a state to `path`: any nesting of arrays and plain objects with tensors, numbers, strings, booleans, `null` and
 * `undefined`. The file appears complete or not at all, so that the one before it stays if something goes wrong.
 *
 * @throws {ArgumentError} That names the leaf which is none of those.
 * @throws {Error} That says which file cannot be written, and why.
 * @example
 * ```ts
 * import { adam, key, tensor, use } from "@tenon/ml";
 * import { loadCheckpoint, saveCheckpoint } from "@tenon/ml/train/checkpoint";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const params = { weight: tensor([[1, 2], [3, 4]]) };
 * const training = { params, state: adam().init(params), key: key(42), position: { epoch: 3, step: 17 } };
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await saveCheckpoint(path, training);
 *
 * const resumed = await loadCheckpoint(path, { like: training });
 * assertEquals(resumed.position, { epoch: 3, step: 17 });
 * assertEquals(await resumed.params.weight.array(), [[1, 2], [3, 4]]);
 * await Deno.remove(path);
 * ```
 */
export async function saveCheckpoint(path: string | URL, state: unknown): Promise<void> {
  const [leaves, structure] = flatten(state);
  const places = names(state), tensors: Record<string, Tensor> = {};
  const encoded = leaves.map((leaf, i) => encodeLeaf(leaf, places[i], tensors));
  const json = JSON.stringify({ structure: toNesting(structure), leaves: encoded });
  try {
    await writeSafetensors(path, tensors, { metadata: { format: FORMAT, [FIELD]: json } });
  } catch (error) {
    throw explain(`Cannot save a checkpoint to ${path}`, error);
  }
}

function explain(action: string, error: unknown): Error {
  const absent = typeof Deno !== "undefined" && error instanceof Deno.errors.NotFound;
  const reason = absent ? "there is no such file or folder" : (error as Error).message;
  const Kind = error instanceof FormatError ? FormatError : error instanceof ArgumentError ? ArgumentError : Error;
  return new Kind(`${action}: ${reason}`, { cause: error });
}

/** Notes a tensor under its name, or takes a value as it is. */
function encodeLeaf(leaf: unknown, place: string, tensors: Record<string, Tensor>): Leaf {
  if (leaf instanceof Tensor) {
    const name = place === "" ? "tensor" : place;
    if (Object.hasOwn(tensors, name)) throw new ArgumentError(`Cannot save a checkpoint: two tensors are at "${name}"`);
    tensors[name] = leaf;
    return { tensor: name };
  }
  if (typeof leaf === "number" && (!Number.isFinite(leaf) || Object.is(leaf, -0))) {
    return { number: Object.is(leaf, -0) ? "-0" : String(leaf) as "NaN" };
  }
  if (typeof leaf === "number" || typeof leaf === "string" || typeof leaf === "boolean") return { value: leaf };
  const found = typeof leaf === "object" ? Object.prototype.toString.call(leaf) : `a ${typeof leaf}`;
  throw new ArgumentError(
    `Cannot save a checkpoint: "${place}" is ${found}; it takes tensors, numbers, strings and booleans`,
  );
}

function toNesting(structure: Structure): Nesting {
  if (structure.kind === "empty" && structure.value === undefined) return { kind: "undefined" };
  return "items" in structure ? { ...structure, items: structure.items.map(toNesting) as Structure[] } : structure;
}

function fromNesting(nesting: Nesting): Structure {
  if (nesting.kind === "undefined") return { kind: "empty", value: undefined };
  if (!["leaf", "empty", "array", "object"].includes(nesting.kind)) {
    throw new FormatError(`there is no "${nesting.kind}"`);
  }
  return "items" in nesting ? { ...nesting, items: nesting.items.map(fromNesting) } : nesting;
}

/** What is expected of a file, and where its tensors go. */
export interface LoadOptions<S> {
  /**
   * A state that the file must match: the same nesting, tensors of the same shapes and dtypes at the same places. Keys
   * come in the order that they have here, whatever it is in the file.
   */
  readonly like?: S;
  /** Name of the backend the tensors go to; the one in use by default. */
  readonly backend?: string;
}

/**
 * Reads a state that {@linkcode saveCheckpoint} wrote.
 *
 * @throws {FormatError} If the file is no checkpoint, damaged, or not like `like`; it says where they differ.
 * @throws {Error} That says which file cannot be read, and why.
 */
export async function loadCheckpoint<S>(path: string | URL, options: LoadOptions<S> = {}): Promise<S> {
  try {
    const { tensors, metadata } = decodeSafetensors(await Deno.readFile(path), { backend: options.backend });
    try {
      const state = decode(tensors, metadata);
      return options.like === undefined ? state as S : arrangeLike(state, options.like);
    } catch (error) {
      Object.values(tensors).forEach((tensor) => tensor.dispose());
      throw error;
    }
  } catch (error) {
    throw explain(`Cannot load a checkpoint from ${path}`, error);
  }
}

function decode(tensors: Readonly<Record<string, Tensor>>, metadata: Readonly<Record<string, string>>): unknown {
  if (metadata.format !== FORMAT || metadata[FIELD] === undefined) {
    throw new FormatError("it holds tensors, but saveCheckpoint did not write it");
  }
  try {
    const { structure, leaves } = JSON.parse(metadata[FIELD]) as { structure: Nesting; leaves: Leaf[] };
    const decoded = leaves.map((leaf) => {
      if ("value" in leaf) return leaf.value;
      if ("number" in leaf) return Number(leaf.number);
      if (!Object.hasOwn(tensors, leaf.tensor)) throw new FormatError(`the tensor "${leaf.tensor}" is missing`);
      return tensors[leaf.tensor];
    });
    return unflatten(fromNesting(structure), decoded);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`what it says of its nesting is damaged: ${(error as Error).message}`);
  }
}

/** A state with its keys in the order of the one that is expected; throws where they differ. */
function arrangeLike<S>(state: unknown, like: S): S {
  const [found, structure] = flatten(state), [expected, own] = flatten(like);
  const there = places(state, found), here = places(like, expected);
  for (const [place, what] of here) {
    if (there.get(place) === what) continue;
    throw new FormatError(`"${place}" is ${there.get(place) ?? "missing"} in the file, ${what} was expected`);
  }
  for (const [place, what] of there) {
    if (!here.has(place)) throw new FormatError(`"${place}", ${what}, was not expected`);
  }
  const [inFile, wanted] = [structure, own].map((nesting) => describe(sorted(nesting)));
  if (inFile !== wanted) throw new FormatError(`the nesting is ${inFile} in the file, ${wanted} was expected`);
  return arrange(state, own) as S;
}

/** A tree with the keys of its objects in the order of a structure that is its own but for that. */
function arrange(tree: unknown, structure: Structure): unknown {
  if (structure.kind === "array") return structure.items.map((item, i) => arrange((tree as unknown[])[i], item));
  if (structure.kind !== "object") return tree;
  const node = tree as Readonly<Record<string, unknown>>;
  return Object.fromEntries(structure.keys.map((key, i) => [key, arrange(node[key], structure.items[i])]));
}

/** A structure with the keys of its objects in order. */
function sorted(structure: Structure): Structure {
  if (structure.kind === "array") return { ...structure, items: structure.items.map(sorted) };
  if (structure.kind !== "object") return structure;
  const entries = structure.keys.map((key, i) => [key, sorted(structure.items[i])] as const);
  entries.sort(([a], [b]) => a < b ? -1 : 1);
  return { ...structure, keys: entries.map(([key]) => key), items: entries.map(([, item]) => item) };
}

/** What each leaf is, by its dotted name. */
function places(tree: unknown, leaves: readonly unknown[]): Map<string, string> {
  const what = (leaf: unknown) => leaf instanceof Tensor ? `${leaf.dtype}${show(leaf.shape)}` : `a ${typeof leaf}`;
  return new Map(names(tree).map((name, i) => [name, what(leaves[i])]));
}
