/**
 * Pytrees: nested arrays and plain objects with leaves of any kind; `null` and `undefined` are empty.
 *
 * @module
 */
import { ArgumentError } from "./errors.ts";

/** The nesting of a tree, without its leaves. */
export type Structure =
  | { readonly kind: "leaf" }
  | { readonly kind: "empty"; readonly value: null | undefined }
  | { readonly kind: "array"; readonly items: readonly Structure[] }
  | { readonly kind: "object"; readonly keys: readonly string[]; readonly items: readonly Structure[] };

function isPlainObject(node: unknown): node is Record<string, unknown> {
  if (typeof node !== "object" || node === null) return false;
  const prototype = Object.getPrototypeOf(node);
  return prototype === Object.prototype || prototype === null;
}

/** Leaves in depth-first order (object keys in insertion order) and the structure that holds them. */
export function flatten(tree: unknown): [leaves: unknown[], structure: Structure] {
  const leaves: unknown[] = [];
  const walk = (node: unknown): Structure => {
    if (node === null || node === undefined) return { kind: "empty", value: node };
    if (Array.isArray(node)) return { kind: "array", items: Array.from(node, walk) }; // holes too
    if (isPlainObject(node)) {
      const keys = Object.keys(node);
      return { kind: "object", keys, items: keys.map((key) => walk(node[key])) };
    }
    leaves.push(node);
    return { kind: "leaf" };
  };
  const structure = walk(tree);
  return [leaves, structure];
}

/** The inverse of {@linkcode flatten}. */
export function unflatten(structure: Structure, leaves: readonly unknown[]): unknown {
  let next = 0;
  const build = (node: Structure): unknown => {
    switch (node.kind) {
      case "leaf":
        return leaves[next++];
      case "empty":
        return node.value;
      case "array":
        return node.items.map(build);
      case "object":
        return Object.fromEntries(node.keys.map((key, i) => [key, build(node.items[i])]));
    }
  };
  const tree = build(structure);
  if (next !== leaves.length) {
    throw new ArgumentError(`Cannot unflatten ${leaves.length} leaves: the structure holds ${next}`);
  }
  return tree;
}

/** The leaves of a tree, in depth-first order. */
export function leaves(tree: unknown): unknown[] {
  return flatten(tree)[0];
}

/**
 * Where each leaf lies, in the order of {@linkcode leaves}: keys and positions joined by dots.
 *
 * @example
 * ```ts
 * import { tree } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(tree.names({ blocks: [{ scale: 1 }, { scale: 2 }] }), ["blocks.0.scale", "blocks.1.scale"]);
 * ```
 */
export function names(tree: unknown): string[] {
  const walk = (node: Structure, path: string): string[] => {
    if (node.kind === "leaf") return [path];
    if (node.kind === "empty") return [];
    const keys = node.kind === "array" ? node.items.map((_, i) => String(i)) : node.keys;
    return node.items.flatMap((item, i) => walk(item, path === "" ? keys[i] : `${path}.${keys[i]}`));
  };
  return walk(flatten(tree)[1], "");
}

/** A structure as a string: equal strings mean equal structures. */
export function describe(structure: Structure): string {
  switch (structure.kind) {
    case "leaf":
      return "*";
    case "empty":
      return String(structure.value);
    case "array":
      return `[${structure.items.map(describe).join(",")}]`;
    case "object":
      return `{${structure.keys.map((key, i) => `${key}:${describe(structure.items[i])}`).join(",")}}`;
  }
}

/**
 * Applies `f` to every leaf, and to the leaves at the same place of `rest`.
 *
 * @throws {ArgumentError} If the trees differ in structure.
 * @example
 * ```ts
 * import { tree } from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(tree.map((x: number, y: number) => x + y, { a: 1, b: [2, null] }, { a: 10, b: [20, null] }), {
 *   a: 11,
 *   b: [22, null],
 * });
 * ```
 */
// deno-lint-ignore no-explicit-any -- a leaf's type is known to the caller alone
export function map<T>(f: (...leaves: any[]) => unknown, tree: T, ...rest: unknown[]): T {
  const [first, structure] = flatten(tree);
  const others = rest.map((other) => {
    const [items, shape] = flatten(other);
    if (describe(shape) !== describe(structure)) {
      throw new ArgumentError(`Cannot map over trees ${describe(structure)} and ${describe(shape)}: they differ`);
    }
    return items;
  });
  return unflatten(structure, first.map((leaf, i) => f(leaf, ...others.map((items) => items[i])))) as T;
}
