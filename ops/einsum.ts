/**
 * Einstein summation, on top of transpose, broadcast, multiply, matmul and sum.
 *
 * ```text
 *  "bij,bjk->bik"  ── parse ──>  labels of every axis  ── per operand ──>  diagonals taken, lone labels summed
 *                                                      ── two at a time ──> matmul over shared labels  ──> transpose
 * ```
 *
 * @module
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { scope } from "../core/scope.ts";
import { type Shape, show, size } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { mul } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { sum } from "./reduce.ts";
import { broadcastTo, reshape, slice, transpose } from "./shape.ts";

/** A tensor with a label for each axis; axes that `...` stands for are labelled `.0`, `.1`, ... from the last. */
interface Term {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/** Labels of one subscript, for a tensor of `rank` axes. */
function labelsOf(equation: string, subscript: string, rank: number): string[] {
  const [before, after, ...rest] = subscript.split("...");
  const named = [...before, ...(after ?? "")];
  if (rest.length > 0 || named.some((label) => !/[A-Za-z]/.test(label))) {
    throw new ArgumentError(`Cannot parse "${equation}": "${subscript}" is not made of letters and at most one "..."`);
  }
  const dots = rank - named.length;
  if (after === undefined ? dots !== 0 : dots < 0) {
    throw new ShapeError(`Cannot compute einsum "${equation}": "${subscript}" names ${named.length} axes of ${rank}`);
  }
  return [...before, ...Array.from({ length: dots }, (_, i) => `.${dots - 1 - i}`), ...(after ?? "")];
}

/** The output's labels: as written, or `...` and then, in alphabetical order, every label that appears once. */
function outputLabels(equation: string, written: string | undefined, inputs: readonly (readonly string[])[]): string[] {
  const all = inputs.flat();
  const dots = [...new Set(all.filter((label) => label.startsWith(".")))];
  dots.sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  if (written === undefined) {
    const once = all.filter((label) => !label.startsWith(".") && all.indexOf(label) === all.lastIndexOf(label));
    return [...dots, ...once.sort()];
  }
  const named = written.replace("...", "").length;
  const labels = labelsOf(equation, written, named + (written.includes("...") ? dots.length : 0));
  for (const label of labels) {
    if (!all.includes(label)) {
      throw new ArgumentError(`Cannot compute einsum "${equation}": no input has the output's label "${label}"`);
    }
    if (labels.indexOf(label) !== labels.lastIndexOf(label)) {
      throw new ArgumentError(`Cannot compute einsum "${equation}": the output has label "${label}" twice`);
    }
  }
  return labels;
}

/** The size of every label; throws where operands disagree. Axes of `...` broadcast. */
function labelSizes(equation: string, terms: readonly Term[]): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const { x, labels } of terms) {
    labels.forEach((label, axis) => {
      const n = x.shape[axis], known = sizes.get(label);
      if (known === undefined || known === n || (known === 1 && label.startsWith("."))) sizes.set(label, n);
      else if (!(n === 1 && label.startsWith("."))) {
        throw new ShapeError(
          `Cannot compute einsum "${equation}" of ${terms.map(({ x }) => show(x.shape)).join(" and ")}: ` +
            `label "${label}" has sizes ${known} and ${n}`,
        );
      }
    });
  }
  return sizes;
}

/** Axes that share a label replaced by their diagonal, until every label is there once. */
function takeDiagonals({ x, labels }: Term): Term {
  const second = labels.findIndex((label, axis) => labels.indexOf(label) !== axis);
  if (second < 0) return { x, labels };
  const first = labels.indexOf(labels[second]), n = x.shape[first];
  const others = labels.flatMap((_, axis) => axis === first || axis === second ? [] : [axis]);
  const square = transpose(x, [...others, first, second]); // [..., n, n]
  const flat = reshape(square, [...others.map((axis) => x.shape[axis]), n * n]); // [..., n·n]
  const diagonal = slice(flat, 0, null, { axis: -1, step: n + 1 }); // [..., n]
  return takeDiagonals({ x: diagonal, labels: [...others.map((axis) => labels[axis]), labels[second]] });
}

/** Labels that are not in `kept`, summed. */
function sumOut({ x, labels }: Term, kept: ReadonlySet<string>): Term {
  const axis = labels.flatMap((label, i) => kept.has(label) ? [] : [i]);
  if (axis.length === 0) return { x, labels };
  return { x: sum(x, { axis }), labels: labels.filter((label) => kept.has(label)) };
}

/** The axes in the order of `order`, with size 1 for labels that are missing. */
function arrange({ x, labels }: Term, order: readonly string[]): Tensor {
  const present = order.filter((label) => labels.includes(label));
  const sorted = transpose(x, present.map((label) => labels.indexOf(label)));
  return reshape(sorted, order.map((label) => labels.includes(label) ? x.shape[labels.indexOf(label)] : 1));
}

/** Two terms as one: labels in both and not in `kept` are contracted by a batched matmul. */
function contract(a: Term, b: Term, kept: ReadonlySet<string>, sizes: ReadonlyMap<string, number>): Term {
  [a, b] = [sumOut(a, new Set([...kept, ...b.labels])), sumOut(b, new Set([...kept, ...a.labels]))];
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const inner = shared.filter((label) => !kept.has(label));
  const batch = shared.filter((label) => kept.has(label));
  const rows = a.labels.filter((label) => !shared.includes(label));
  const columns = b.labels.filter((label) => !shared.includes(label));
  const labels = [...batch, ...rows, ...columns];
  if (inner.length === 0) return { x: mul(arrange(a, labels), arrange(b, labels)), labels };
  const extent = (names: readonly string[]) => names.map((label) => sizes.get(label)!);
  const flat = (term: Term, left: readonly string[], right: readonly string[]) => {
    const whole = arrange(term, [...batch, ...left, ...right]);
    const full = broadcastTo(whole, [...whole.shape.slice(0, batch.length), ...extent(left), ...extent(right)]);
    return reshape(full, [...whole.shape.slice(0, batch.length), size(extent(left)), size(extent(right))]);
  };
  const product = matmul(flat(a, rows, inner), flat(b, inner, columns)); // [...batch, rows, columns]
  const batchShape: Shape = product.shape.slice(0, batch.length);
  return { x: reshape(product, [...batchShape, ...extent(rows), ...extent(columns)]), labels };
}

/**
 * Sums of products, written with a label for each axis (`numpy.einsum`).
 *
 * Labels that the output does not have are summed over. A label twice in one operand takes the diagonal; `...` stands for
 * any further axes, which broadcast. Without `->`, the output has every label that appears once, in alphabetical order.
 * Several operands are combined from left to right.
 *
 * @param equation Subscripts of the operands, separated by commas, then `->` and those of the output.
 * @returns The dtype of the operands. Contractions of two operands need floats, as `matmul` does.
 * @throws {ArgumentError} If the equation cannot be read or does not match the number of operands.
 * @throws {ShapeError} If a subscript does not match its operand's axes, or a label has two sizes.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const a = tn.tensor([[1, 2], [3, 4]]);
 * assertEquals(await tn.einsum("ij,jk->ik", a, a).array(), [[7, 10], [15, 22]]);
 * assertEquals(await tn.einsum("ii->", a).item(), 5);
 * ```
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  const [left, right, ...rest] = equation.replaceAll(" ", "").split("->");
  const subscripts = left.split(",");
  if (rest.length > 0) throw new ArgumentError(`Cannot parse "${equation}": it has more than one "->"`);
  if (subscripts.length !== operands.length || operands.length === 0) {
    throw new ArgumentError(
      `Cannot compute einsum "${equation}": it names ${subscripts.length} operands, ${operands.length} were given`,
    );
  }
  const terms = operands.map((x, i): Term => ({ x, labels: labelsOf(equation, subscripts[i], x.rank) }));
  const output = outputLabels(equation, right, terms.map(({ labels }) => labels));
  const sizes = labelSizes(equation, terms);
  return scope(() => {
    const pending = terms.map(takeDiagonals);
    let result = pending.shift()!;
    while (pending.length > 0) {
      const next = pending.shift()!;
      result = contract(result, next, new Set([...output, ...pending.flatMap(({ labels }) => labels)]), sizes);
    }
    const { x, labels } = sumOut(result, new Set(output));
    return transpose(x, output.map((label) => labels.indexOf(label)));
  });
}
