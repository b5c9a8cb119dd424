/**
 * A function inside of an op, as data: the body of a loop, or a gradient rule.
 *
 * @module
 */
import { identityOf, keyOf } from "./cache_key.ts";
import type { Graph, Value } from "./graph.ts";

/** A traced function; as part of a cache key it is its structure, so that the same function traced again is known. */
export class Body {
  readonly #key: string;
  /**
   * Of a loop: inputs are carry, slices of xs, constants; outputs are carry, slices of ys. Where it will be
   * differentiated, the last of these are the carry it started from and `kept`, values that its gradient need not compute
   * again.
   */
  constructor(readonly graph: Graph, readonly kept: readonly Value[] = []) {
    const numbers = new Map<Value, number>();
    const number = (value: Value) => numbers.get(value) ?? (numbers.set(value, numbers.size), numbers.size - 1);
    const made = (value: Value) => [number(value), value.dtype, value.shape];
    this.#key = keyOf([
      graph.inputs.map(made),
      graph.nodes.map(({ op, attrs, inputs, outputs }) => [
        identityOf(op),
        attrs,
        inputs.map(number),
        outputs.map(made),
      ]),
      graph.outputs.map(number),
      kept.length,
    ]);
  }
  toJSON(): string {
    return this.#key;
  }
}

/** Attributes of `scan`: its inputs are constants, carry, xs; its outputs carry, ys. */
export interface ScanAttrs {
  readonly body: Body;
  readonly constants: number;
  readonly carries: number;
  readonly length: number;
  readonly reverse: boolean;
  /** Whether the last outputs are what a gradient will ask for. */
  readonly saves: boolean;
}
