/**
 * The ops that have kernels of their own, each by its lowering.
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { lowerAttention, lowerAttentionGrad } from "./attention.ts";
import { lowerConv } from "./conv.ts";
import { lowerConvFilterGrad } from "./conv_filter.ts";
import { lowerGather, lowerGatherElements, lowerIndexAdd, lowerScatterAdd, lowerUpdateSlice } from "./index.ts";
import { lowerMatmul } from "./matmul.ts";
import { lowerMaxPool, lowerMaxPoolIndices, lowerSumPool, lowerSumPoolGrad } from "./pool.ts";
import { lowerArgmax, lowerArgmin, lowerCumulativeSum } from "./reduce.ts";
import { lowerArgsort } from "./sort.ts";
import type { Context, Kernel } from "./shader.ts";

/** Turns one op into kernels. */
export type Lowering = (step: OpStep, context: Context) => Kernel[];

/** Lowerings by the name of their op. */
export const OPS: Readonly<Record<string, Lowering>> = {
  matmul: lowerMatmul,
  conv: lowerConv,
  convInputGrad: lowerConv,
  convFilterGrad: lowerConvFilterGrad,
  maxPool: lowerMaxPool,
  maxPoolIndices: lowerMaxPoolIndices,
  sumPool: lowerSumPool,
  sumPoolGrad: lowerSumPoolGrad,
  gather: lowerGather,
  gatherElements: lowerGatherElements,
  scatterAdd: lowerScatterAdd,
  indexAdd: lowerIndexAdd,
  updateSlice: lowerUpdateSlice,
  argmax: lowerArgmax,
  argmin: lowerArgmin,
  cumulativeSum: lowerCumulativeSum,
  argsort: lowerArgsort,
  attention: lowerAttention,
  attentionGrad: lowerAttentionGrad,
};
