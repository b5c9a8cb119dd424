/**
 * From a program's steps to calls: the table of op lowerings.
 *
 * @module
 */
import { MissingKernelError } from "../../core/errors.ts";
import type { LoopStep, OpStep, Program, RegionStep, Step } from "../../core/program.ts";
import { type Call, type Ref, TEMPORARY } from "./kernel.ts";
import { lowerArgmax, lowerArgmin } from "./argmax.ts";
import { lowerAttention, lowerAttentionGrad } from "./attention.ts";
import { lowerConv, lowerConvFilterGrad } from "./conv.ts";
import { lowerConvInputGrad } from "./conv_input_grad.ts";
import { lowerCumulativeSum } from "./cumulative.ts";
import { lowerGather, lowerGatherElements, lowerIndexAdd, lowerScatterAdd } from "./index.ts";
import { lowerMatmul } from "./matmul.ts";
import type { Lower, OpCall } from "./op_call.ts";
import { lowerMaxPool, lowerMaxPoolIndices, lowerSumPool, lowerSumPoolGrad } from "./pool.ts";
import { lowerArgsort } from "./sort.ts";
import { lowerRegion } from "./region.ts";
import { lowerUpdateSlice } from "./update.ts";

/** Ops that are lowered to kernels of their own. */
export const lowerings: Readonly<Record<string, Lower>> = {
  matmul: lowerMatmul,
  conv: lowerConv,
  convInputGrad: lowerConvInputGrad,
  convFilterGrad: lowerConvFilterGrad,
  gather: lowerGather,
  gatherElements: lowerGatherElements,
  scatterAdd: lowerScatterAdd,
  indexAdd: lowerIndexAdd,
  updateSlice: lowerUpdateSlice,
  argmax: lowerArgmax,
  argmin: lowerArgmin,
  cumulativeSum: lowerCumulativeSum,
  argsort: lowerArgsort,
  maxPool: lowerMaxPool,
  maxPoolIndices: lowerMaxPoolIndices,
  sumPool: lowerSumPool,
  sumPoolGrad: lowerSumPoolGrad,
  attention: lowerAttention,
  attentionGrad: lowerAttentionGrad,
};

/** Calls, and loops around calls. */
export type Item = Call | { readonly loop: LoopStep; readonly items: readonly Item[] };

/** Lowers all steps of a program. */
export class Lowering {
  /** Bytes of memory that single steps need besides the program's arena. */
  temporaryBytes = 0;
  readonly items: readonly Item[];

  constructor(readonly program: Program, readonly threads: number) {
    this.items = this.#lower(program.steps);
  }

  #lower(steps: readonly Step[]): Item[] {
    return steps.flatMap((step): Item[] => {
      if (step.kind === "loop" && step.length === 0) return [];
      if (step.kind === "loop") return [{ loop: step, items: this.#lower(step.steps) }];
      let used = 0;
      const temporary = (bytes: number): Ref => {
        const offset = used;
        used += Math.ceil(bytes / 64) * 64;
        this.temporaryBytes = Math.max(this.temporaryBytes, used);
        return { buffer: TEMPORARY, offset };
      };
      return step.kind === "region" ? this.#region(step, temporary) : this.#op(step, temporary);
    });
  }

  #region(step: RegionStep, temporary: (bytes: number) => Ref): Call[] {
    const ref = (buffer: number): Ref => ({ buffer, offset: 0 });
    return lowerRegion({
      name: step.name,
      region: step.region,
      inputs: step.inputs.map(ref),
      outputs: step.outputs.map(ref),
      outputTypes: step.outputs.map((buffer) => this.program.buffers[buffer].dtype),
    }, temporary);
  }

  #op(step: OpStep, temporary: (bytes: number) => Ref): Call[] {
    const lower = lowerings[step.op];
    if (!lower) throw new MissingKernelError(`Cannot run "${step.op}" on backend "wasm": it has no such kernel`);
    const call: OpCall = {
      step,
      program: this.program,
      name: step.name,
      inputs: step.inputs.map(({ buffer, offset, shape, dtype, strides }) => (
        { shape, dtype, strides, ref: { buffer, offset: 4 * offset } } // f16 was widened: every element has 4 bytes
      )),
      outputs: step.outputSpecs.map((spec, i) => ({ ...spec, ref: { buffer: step.outputs[i], offset: 0 } })),
      threads: this.threads,
      temporary,
    };
    return lower(call, step.attrs);
  }
}
