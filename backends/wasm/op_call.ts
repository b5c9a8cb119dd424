/**
 * What the lowering of an op is given.
 *
 * @module
 */
import type { OpStep, Program } from "../../core/program.ts";
import type { Spec } from "../../core/shape.ts";
import type { Call, Ref } from "./kernel.ts";

/** One op step, with its places resolved. */
export interface OpCall {
  readonly step: OpStep;
  readonly program: Program;
  readonly name: string;
  readonly inputs: readonly (Spec & { readonly ref: Ref; readonly strides: readonly number[] })[];
  readonly outputs: readonly (Spec & { readonly ref: Ref })[];
  /** Threads that will share the work. What is added up in which order must not depend on it. */
  readonly threads: number;
  /** Memory that lives until the step ends. */
  temporary(bytes: number): Ref;
}

/** Turns an op step into calls. */
// deno-lint-ignore no-explicit-any -- each op has attributes of its own type
export type Lower<A = any> = (call: OpCall, attrs: A) => Call[];
