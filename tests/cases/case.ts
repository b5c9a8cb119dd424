/**
 * What a row of the cases table is, and the inputs that rows are run on.
 *
 * @module
 */
import { type DType, type Tensor, tensor } from "../../mod.ts";

/**
 * Which numbers an input holds.
 *
 * - `normal`: N(0, 1)
 * - `positive`: between 0.5 and 2.5
 * - `unit`: between 0.05 and 0.95
 * - `apart`: between 0.25 and 2 in size, either sign: away from a kink at 0
 * - `fraction`: between 0.25 and 0.75 past a whole number: away from every step of `floor`, `ceil` and `round`
 * - `distinct`: multiples of 1/4 in a random order, no two alike: away from every tie
 * - `[from, to]`: whole numbers for integers and bool, any numbers for floats, `to` not among them
 * - `{ exactly: values }`: these numbers, over again if need be
 */
export type Domain =
  | "normal"
  | "positive"
  | "unit"
  | "apart"
  | "fraction"
  | "distinct"
  | readonly [from: number, to: number]
  | { readonly exactly: readonly number[] };

/** A tensor to be made from a seed. */
export interface Input {
  /** Sizes of its axes. */
  readonly shape: readonly number[];
  /** Type of its elements. */
  readonly dtype: DType;
  /** What its elements are drawn from. */
  readonly domain: Domain;
}

/** What an op must compute. */
export interface ValueCase {
  /** What is special about it. */
  readonly name: string;
  /** What the op is run on. */
  readonly inputs: readonly Input[];
  /** The op under test. */
  run(...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** Dtype and shape of each output: `f32[2,3]`, `f32[2,3] i32[2,3]`. */
  readonly gives: string;
  /**
   * Which derivatives are held against differences: 0 none, 1 the gradient (the default where inputs and outputs are
   * floats), 2 its own gradient as well, for smooth functions.
   */
  readonly order?: 0 | 1 | 2;
  /** Inputs that the gradient is taken by; all that are f32 by default. */
  readonly by?: readonly number[];
  /** How far another backend may be off; sums of a few dozen f32 products by default. */
  readonly tolerance?: Tolerance;
}

/** What an op must refuse. */
export interface ErrorCase {
  /** What is wrong. */
  readonly name: string;
  /** What the op is run on. */
  readonly inputs: readonly Input[];
  /** The call that must fail. */
  run(...inputs: Tensor[]): unknown;
  /** The error's whole text: `ShapeError: Cannot ...`. */
  readonly throws: string;
}

/** A row of the table. */
export type Case = ValueCase | ErrorCase;

/** `error <= relative * max(|expected|, floor)`; `floor` defaults to the root mean square of what is expected. */
export interface Tolerance {
  /** Part of what is expected. */
  readonly relative: number;
  /** Values smaller than this are held to the same absolute error. */
  readonly floor?: number;
}

/** Nothing but moved or counted: every bit must agree. */
export const EXACT: Tolerance = { relative: 0 };

/** A float function of single elements. */
export const ELEMENTWISE: Tolerance = { relative: 2e-6, floor: 0.1 };

/** Halves keep eleven bits; one step of rounding is granted. */
export const HALF: Tolerance = { relative: 1.1e-3 };

/** An f32 input. */
export function f32(shape: readonly number[], domain: Domain = "normal"): Input {
  return { shape, dtype: "f32", domain };
}

/** An f16 input. */
export function f16(shape: readonly number[], domain: Domain = "normal"): Input {
  return { shape, dtype: "f16", domain };
}

/** An i32 input; from -9 to 9 by default. */
export function i32(shape: readonly number[], domain: Domain = [-9, 10]): Input {
  return { shape, dtype: "i32", domain };
}

/** A u32 input; from 0 to 9 by default. */
export function u32(shape: readonly number[], domain: Domain = [0, 10]): Input {
  return { shape, dtype: "u32", domain };
}

/** A bool input. */
export function bool(shape: readonly number[]): Input {
  return { shape, dtype: "bool", domain: [0, 2] };
}

/** Uniform numbers in [0, 1) from a seed (mulberry32): the tables do not lean on the generator under test. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A standard normal number (Box and Muller). */
export function normal(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

function shuffled(count: number, next: () => number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** The elements of an input, as its dtype holds them. */
export function valuesOf({ shape, dtype, domain }: Input, seed: number): number[] {
  const count = shape.reduce((product, n) => product * n, 1);
  const next = random(seed);
  const fill = (f: (i: number) => number) => Array.from({ length: count }, (_, i) => f(i));
  const round = dtype === "f32" ? Math.fround : dtype === "f16" ? Math.f16round : (x: number) => x;
  const draw = (): number[] => {
    if (typeof domain === "object" && "exactly" in domain) {
      return fill((i) => domain.exactly[i % domain.exactly.length]);
    }
    switch (domain) {
      case "normal":
        return fill(() => normal(next));
      case "positive":
        return fill(() => 0.5 + 2 * next());
      case "unit":
        return fill(() => 0.05 + 0.9 * next());
      case "apart":
        return fill(() => (0.25 + 1.75 * next()) * (next() < 0.5 ? -1 : 1));
      case "fraction":
        return fill(() => Math.floor(9 * next()) - 4 + 0.25 + 0.5 * next());
      case "distinct":
        return shuffled(count, next).map((i) => (i - (count >> 1)) / 4);
    }
    const [from, to] = domain;
    const whole = dtype !== "f32" && dtype !== "f16";
    return fill(() => whole ? from + Math.floor((to - from) * next()) : from + (to - from) * next());
  };
  return draw().map(round);
}

/** An input as a tensor on the backend in use. */
export function tensorOf(input: Input, seed: number): Tensor {
  const values = valuesOf(input, seed);
  return fromValues(values, input);
}

/** Elements as a tensor on the backend in use. */
export function fromValues(
  values: readonly number[],
  { shape, dtype }: { shape: readonly number[]; dtype: DType },
): Tensor {
  const data = dtype === "u32" ? Uint32Array.from(values) : Float64Array.from(values);
  return tensor(data, { shape, dtype });
}
