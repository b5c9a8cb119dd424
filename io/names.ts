/**
 * Pytrees as flat records with dotted names, the way weights are named in files: `blocks.0.norm1.scale`.
 *
 * @module
 */
import { ArgumentError } from "../core/errors.ts";
import { leaves, names } from "../core/tree.ts";

/**
 * The leaves of a tree by their dotted names.
 *
 * @throws {ArgumentError} If two leaves get the same name, as with `{ "a.b": x, a: { b: y } }`.
 * @example
 * ```ts
 * import { fromNames, toNames } from "@tenon/ml/io/safetensors";
 * import { assertEquals } from "@std/assert";
 *
 * const tree = { blocks: [{ scale: 1 }, { scale: 2 }], norm: 3 };
 * assertEquals(toNames(tree), { "blocks.0.scale": 1, "blocks.1.scale": 2, norm: 3 });
 * assertEquals(fromNames(toNames(tree)), tree);
 * ```
 */
export function toNames<T>(tree: unknown): Record<string, T> {
  const all = leaves(tree) as T[];
  const paths = names(tree);
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice !== undefined) throw new ArgumentError(`Cannot name the leaves of a tree: two are "${twice}"`);
  return Object.fromEntries(paths.map((path, i) => [path, all[i]]));
}

/**
 * The tree behind dotted names. Where the keys at a place are exactly `0` to `n - 1` there is an array, otherwise an
 * object; empty arrays and objects and `null`, which have no leaves, do not come back.
 *
 * @throws {ArgumentError} If a name is also the beginning of another one: `a` and `a.b`.
 */
export function fromNames<T>(record: Readonly<Record<string, T>>): unknown {
  const root: Branch<T> = new Map();
  for (const [name, leaf] of Object.entries(record)) {
    const path = name.split("."), last = path.pop()!;
    let branch = root;
    for (const key of path) {
      const next = branch.get(key) ?? { children: new Map() };
      if (!("children" in next)) throw clash(name);
      branch.set(key, next);
      branch = next.children;
    }
    if (branch.has(last)) throw clash(name);
    branch.set(last, { leaf });
  }
  return build(root);
}

type Branch<T> = Map<string, { leaf: T } | { children: Branch<T> }>;

function clash(name: string): ArgumentError {
  return new ArgumentError(`Cannot build a tree with "${name}": another name begins or ends there`);
}

function build<T>(branch: Branch<T>): unknown {
  const entries = [...branch].map(([key, node]) => [key, "leaf" in node ? node.leaf : build(node.children)] as const);
  const items = new Array<unknown>(entries.length);
  for (const [key, value] of entries) {
    const index = Number(key);
    if (String(index) !== key || !(index >= 0 && index < items.length)) return Object.fromEntries(entries);
    items[index] = value;
  }
  return items.length === 0 ? {} : items;
}
