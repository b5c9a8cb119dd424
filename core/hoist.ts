/**
 * Sums of products leave their loop: what the gradient of a weight inside a `scan` is.
 *
 * ```text
 *  each turn: sum += aᵀ·b      ──>      each turn: keep a, b      after the loop: sum += [all a]ᵀ·[all b]
 * ```
 * One large product in place of many small ones, and no sum to carry from turn to turn. Not so inside a `checkpoint`,
 * which is there to keep less.
 *
 * @module
 */
import { type Graph, type Node, prune, Value } from "./graph.ts";
import type { Op } from "./op.ts";
import { Body, type ScanAttrs } from "./body.ts";

/** A carry that is a sum and nothing else. */
interface Sum {
  readonly carry: number;
  /** The op `add` as the body has it. */
  readonly add: Node;
  /** What a turn adds: products `aᵀ·b` of matrices. */
  readonly terms: readonly Node[];
}

/** The reshape that this pass inserts; the public one is in `ops/shape.ts`. */
const reshapeOp: Op<1, { readonly shape: readonly number[] }> = {
  name: "reshape",
  alias: true,
  infer: ([x], { shape }) => ({ shape, dtype: x.dtype }),
};

/** How often a body uses each value, and what makes it. */
class Uses {
  readonly #count = new Map<Value, number>();
  readonly #maker = new Map<Value, Node>();

  /** What is computed again to save memory: keeping it for all turns would undo that. */
  readonly #again = new Set<Value>();

  constructor({ nodes, outputs }: Graph) {
    for (const { op, inputs, outputs } of nodes) {
      const again = op.name === "barrier" || inputs.some((value) => this.#again.has(value));
      if (again) { for (const value of outputs) this.#again.add(value); }
    }
    for (const value of [...nodes.flatMap(({ inputs }) => inputs), ...outputs]) {
      this.#count.set(value, (this.#count.get(value) ?? 0) + 1);
    }
    for (const node of nodes) for (const value of node.outputs) this.#maker.set(value, node);
  }

  again(value: Value): boolean {
    return this.#again.has(value);
  }

  once(value: Value): boolean {
    return this.#count.get(value) === 1;
  }

  maker(value: Value): Node | undefined {
    return this.#maker.get(value);
  }
}

/** Whether a node is `aᵀ·b` of two matrices that may differ from turn to turn. */
function isTerm({ op, attrs, inputs }: Node, uses: Uses, constants: readonly Value[]): boolean {
  const stays = (value: Value) => value.shape.length !== 2 || constants.includes(value) || uses.again(value);
  if (op.name !== "matmul" || inputs.some(stays)) return false;
  const { transposeA, transposeB } = attrs as { readonly transposeA: boolean; readonly transposeB: boolean };
  return transposeA && !transposeB;
}

/** What carry number `carry` sums up; null if it is anything else than a sum of products. */
function sumOf({ inputs, outputs }: Graph, uses: Uses, carry: number, constants: readonly Value[]): Sum | null {
  const before = inputs[carry], after = outputs[carry], add = uses.maker(after);
  if (add?.op.name !== "add" || !add.inputs.includes(before) || !uses.once(before) || !uses.once(after)) return null;
  const terms: Node[] = [], left = add.inputs.filter((value) => value !== before);
  while (left.length > 0) {
    const value = left.pop()!, node = uses.maker(value);
    if (!node || !uses.once(value)) return null;
    if (node.op.name === "add") left.push(...node.inputs);
    else if (isTerm(node, uses, constants)) terms.push(node);
    else return null;
  }
  return { carry, add, terms };
}

/** Values of the body, as the loop has them stacked outside; new results where it does not. */
class Stacks {
  readonly inside: Value[] = [];
  readonly outside: Value[] = [];
  readonly #known: Map<Value, Value>;

  constructor(known: readonly (readonly [inside: Value, outside: Value])[], readonly length: number) {
    this.#known = new Map(known);
  }

  of(value: Value): Value {
    let stack = this.#known.get(value);
    if (!stack) {
      stack = new Value({ shape: [this.length, ...value.shape], dtype: value.dtype }, value.origin);
      this.#known.set(value, stack);
      this.inside.push(value);
      this.outside.push(stack);
    }
    return stack;
  }
}

/** `[turns, k, n]` as `[turns·k, n]`. */
function tall(stack: Value): Node {
  const [turns, k, n] = stack.shape, shape = [turns * k, n];
  const made = new Value({ shape, dtype: stack.dtype }, stack.origin);
  return { op: reshapeOp, attrs: { shape }, inputs: [stack], outputs: [made] };
}

/** `first + Σ aᵀ·b` over all turns, into `output`. */
function gather({ add, terms }: Sum, first: Value, output: Value, stacks: Stacks): Node[] {
  const made: Node[] = [];
  let total = first;
  terms.forEach(({ op, attrs, inputs, outputs: [part] }, i) => {
    const [a, b] = inputs.map((value) => tall(stacks.of(value)));
    const product = new Value(part, part.origin);
    const next = i === terms.length - 1 ? output : new Value(output, output.origin);
    made.push(a, b, { op, attrs, inputs: [...a.outputs, ...b.outputs], outputs: [product] });
    made.push({ op: add.op, attrs: add.attrs, inputs: [total, product], outputs: [next] });
    total = next;
  });
  return made;
}

/** A scan with a body of primitives, and the sums that need not be inside it. */
export function hoistSums(scan: Node): Node[] {
  const { body: { graph: body }, constants, carries, length, ...rest } = scan.attrs as ScanAttrs;
  const xs = scan.inputs.length - constants - carries;
  const uses = new Uses(body), fixed = body.inputs.slice(carries + xs);
  const candidates = length === 0 ? [] : scan.outputs.slice(0, carries);
  const sums = candidates.flatMap((_, carry) => sumOf(body, uses, carry, fixed) ?? []);
  if (sums.length === 0) return [scan];
  const known = [
    ...scan.inputs.slice(constants + carries).map((value, i) => [body.inputs[carries + i], value] as const),
    ...scan.outputs.slice(carries).map((value, i) => [body.outputs[carries + i], value] as const),
  ];
  const stacks = new Stacks(known, length);
  const after = sums.flatMap((sum) => gather(sum, scan.inputs[constants + sum.carry], scan.outputs[sum.carry], stacks));
  const stays = (place: number) => !sums.some(({ carry }) => carry === place);
  const outputs = [...body.outputs.filter((_, i) => stays(i)), ...stacks.inside];
  const graph = { inputs: body.inputs.filter((_, i) => stays(i)), outputs, nodes: prune(body.nodes, outputs) };
  const loop: Node = {
    op: scan.op,
    attrs: { ...rest, body: new Body(graph), constants, carries: carries - sums.length, length } as ScanAttrs,
    inputs: scan.inputs.filter((_, i) => stays(i - constants)),
    outputs: [...scan.outputs.filter((_, i) => stays(i)), ...stacks.outside],
  };
  return [loop, ...after];
}
