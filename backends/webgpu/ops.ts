/**
 * The ops that have kernels of their own, each by its lowering.
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { lowerMatmul } from "./matmul.ts";
import type { Context, Kernel } from "./shader.ts";

/** Turns one op into kernels. */
export type Lowering = (step: OpStep, context: Context) => Kernel[];

/** Lowerings by the name of their op. */
export const OPS: Readonly<Record<string, Lowering>> = { matmul: lowerMatmul };
