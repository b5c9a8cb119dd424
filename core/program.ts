/**
 * What a backend is asked to lower: a list of steps over planned buffers.
 *
 * ```text
 *  graph.ts ─ simplify.ts, rewrite.ts ─> primitives ─ fuse.ts ─> groups ─ region.ts, steps.ts ─> drafts ─ plan.ts ─> Program
 * ```
 *
 * A step is either a *region* (fused scalar ops with any number of reductions, as data) or an *op* that the backend
 * has a kernel family for (matmul, conv, ...), with an optional region applied to its output.
 *
 * @module
 */
import type { DType } from "./dtype.ts";
import type { ReduceOp, ScalarOp } from "./scalar.ts";
import type { Shape, Spec } from "./shape.ts";

/** Where a buffer lives while the program runs. */
export type Place =
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number }
  | { readonly kind: "arena"; readonly offset: number }
  /** Inside loop `loop`: the piece of buffer `of` that belongs to turn t, `t * stride` bytes from its start. */
  | { readonly kind: "slice"; readonly of: number; readonly stride: number; readonly loop: number };

/** A contiguous piece of memory that steps read and write. Offsets are in bytes, multiples of 256. */
export interface BufferPlan {
  /** How much memory it takes. */
  readonly bytes: number;
  /** What its elements are. */
  readonly dtype: DType;
  /** Where it lives. */
  readonly place: Place;
}

/** A strided view of a buffer: element (i, j, ...) lies at `offset + i * strides[0] + j * strides[1] + ...`. */
export interface Operand {
  /** Index into `Program.buffers`. */
  readonly buffer: number;
  /** What its elements are. */
  readonly dtype: DType;
  /** Sizes of the view's axes. */
  readonly shape: Shape;
  /** In elements; 0 repeats (broadcast), negative runs backwards. */
  readonly strides: readonly number[];
  /** In elements. */
  readonly offset: number;
}

/**
 * One instruction of a region; arguments are indices of earlier instructions.
 *
 * `strides` run over the axes `[...outer, ...inner]` of the region. An instruction is *row-level* if it does not depend
 * on the inner axes: loads and indices whose inner strides are all 0 (and `inner` has elements), constants, reductions,
 * and scalar ops of row-level arguments.
 */
export type Instr =
  /** Element of operand `input`. */
  | {
    readonly kind: "load";
    readonly input: number;
    readonly strides: readonly number[];
    readonly offset: number;
    readonly dtype: DType;
  }
  | { readonly kind: "const"; readonly value: number; readonly dtype: DType }
  /** The whole number `offset + coordinates · strides`, for iota and masks. */
  | { readonly kind: "index"; readonly strides: readonly number[]; readonly offset: number; readonly dtype: DType }
  /** A row of the scalar table; the result has type `dtype`, the arguments have their own. */
  | { readonly kind: "scalar"; readonly op: ScalarOp; readonly args: readonly number[]; readonly dtype: DType }
  /** All values of a full-level instruction along the inner axes, combined; row-level. */
  | { readonly kind: "reduce"; readonly op: ReduceOp; readonly arg: number; readonly dtype: DType }
  /** In an epilogue: the value that the op just computed at this place. */
  | { readonly kind: "result"; readonly dtype: DType };

/**
 * Writes instruction `value` to output `output`, at `offset + coordinates · strides`; row-level values have inner
 * strides 0. Several regions may fill one buffer piece by piece (concat, pad).
 */
export interface Store {
  /** Index of an instruction. */
  readonly value: number;
  /** Index into the step's outputs. */
  readonly output: number;
  /** In elements, over the axes `[...outer, ...inner]`. */
  readonly strides: readonly number[];
  /** In elements. */
  readonly offset: number;
}

/**
 * A fused kernel as data: for every place of `outer`, reductions over all places of `inner` (in order of appearance),
 * and stores. Without inner axes it is an elementwise map. Axes are merged where every operand allows it, so most
 * regions have one or two.
 */
export interface Region {
  /** Sizes of the axes that are kept. */
  readonly outer: readonly number[];
  /** Sizes of the axes that reductions combine. */
  readonly inner: readonly number[];
  /** What to compute, arguments before what uses them. */
  readonly body: readonly Instr[];
  /** What to write. */
  readonly stores: readonly Store[];
}

/** Fused scalar ops. */
export interface RegionStep {
  /** Tells the kinds of steps apart. */
  readonly kind: "region";
  /** For reports: the ops fused, in order. */
  readonly name: string;
  /** What it computes. */
  readonly region: Region;
  /** Buffers that `load.input` counts. */
  readonly inputs: readonly number[];
  /** Buffers that `store.output` counts. */
  readonly outputs: readonly number[];
}

/** An op with a kernel family of its own. */
export interface OpStep {
  /** Tells the kinds of steps apart. */
  readonly kind: "op";
  /** For reports: the op, and the ops of its epilogue. */
  readonly name: string;
  /** Name of the op: the key into the backend's lowering table. */
  readonly op: string;
  /** The op's attributes. */
  readonly attrs: unknown;
  /** Strided only for ops that the backend lists in `strided`; contiguous otherwise. */
  readonly inputs: readonly Operand[];
  /** Contiguous buffers, with the specs of what is in them. */
  readonly outputs: readonly number[];
  /** Shapes and dtypes that the op's `infer` gave, before any epilogue. */
  readonly outputSpecs: readonly Spec[];
  /** An input whose buffer may lie where the (only) output's does, once nothing else needs it. */
  readonly inPlace?: number;
  /**
   * A map over the op's (only) output, applied before it is stored: `region.outer` multiplies out to the output's
   * elements in order, `result` instructions read the op's value. When present, `outputs` are the region's stores.
   */
  readonly epilogue?: { readonly region: Region; readonly inputs: readonly number[] };
}

/** Steps that run `length` times, for t = 0, 1, ... (from the end backwards with `reverse`). */
export interface LoopStep {
  /** Tells the kinds of steps apart. */
  readonly kind: "loop";
  /** For reports. */
  readonly name: string;
  /** What `slice` places name. */
  readonly loop: number;
  /** How many turns it takes. */
  readonly length: number;
  /** Whether t runs from the end backwards. */
  readonly reverse: boolean;
  /** What one turn runs. */
  readonly steps: readonly Step[];
}

/** A step of a program. */
export type Step = RegionStep | OpStep | LoopStep;

/** Whether two buffers are the same memory. */
export function sharePlace({ place: a }: BufferPlan, { place: b }: BufferPlan): boolean {
  return a === b || (a.kind === "input" && b.kind === "input" && a.index === b.index);
}

/** A planned program: everything a backend needs to lower it. */
export interface Program {
  /** Shapes and dtypes of what it is given. */
  readonly inputs: readonly Spec[];
  /** Shapes and dtypes of what it makes. */
  readonly outputs: readonly Spec[];
  /** Every piece of memory that steps read or write. */
  readonly buffers: readonly BufferPlan[];
  /** Index into `buffers` of each output; its place is an input's where the output is, or replaces, that input. */
  readonly results: readonly number[];
  /** Size of the memory that all intermediates share. */
  readonly arenaBytes: number;
  /** What to run, in order. */
  readonly steps: readonly Step[];
}
