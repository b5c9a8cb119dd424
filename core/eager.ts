/**
 * Eager execution on a backend that lowers programs: every op is a program of one node, compiled once.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { Value } from "./graph.ts";
import { identityOf, keyOf } from "./cache_key.ts";
import type { AnyOp } from "./op.ts";
import { Lowered } from "./lowered.ts";
import type { Spec } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Compiled ops kept per backend; the oldest goes first. */
const CAPACITY = 4096;

const caches = new WeakMap<Backend, Map<string, Lowered>>();

function specKey({ dtype, shape }: Spec): string {
  return `${dtype}[${shape.join()}]`;
}

function lowerOp(
  backend: Backend,
  op: AnyOp,
  inputs: readonly Spec[],
  attrs: unknown,
  specs: readonly Spec[],
): Lowered {
  const values = inputs.map((spec, i) => new Value(spec, `argument ${i}`));
  const outputs = specs.map((spec) => new Value(spec, `made by ${op.name}`));
  return new Lowered(backend, { inputs: values, outputs, nodes: [{ op, attrs, inputs: values, outputs }] }, []);
}

/** Runs an op as a program of its own. */
export function runProgram(
  backend: Backend,
  op: AnyOp,
  inputs: readonly Tensor[],
  attrs: unknown,
  specs: readonly Spec[],
): Tensor[] {
  let cache = caches.get(backend);
  if (!cache) caches.set(backend, cache = new Map());
  let key = `${identityOf(op)} ${attrs === null ? "" : keyOf(attrs)}`;
  for (const input of inputs) key += specKey(input);
  let lowered = cache.get(key);
  if (!lowered) {
    lowered = lowerOp(backend, op, inputs, attrs, specs);
    cache.set(key, lowered);
    if (cache.size > CAPACITY) {
      const [oldest] = cache.keys();
      cache.get(oldest)!.dispose();
      cache.delete(oldest);
    }
  }
  return lowered.run(inputs, specs);
}
