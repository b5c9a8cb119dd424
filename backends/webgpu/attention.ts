/**
 * Attention and its gradient without the matrix of weights (Dao 2023, FlashAttention-2, arXiv:2307.08691).
 *
 * Each invocation owns four rows and goes over the rows of the other side in blocks of eight: it computes the block's
 * weights and adds the block's vectors, weighted, to its four sums. The same kernel makes all four results:
 *
 * ```text
 *          own    other  weights                          vectors
 *  y       query  key    softmax, kept up as it goes      v
 *  dq      query  key    ds = p · (dy·vᵀ - delta)         k
 *  dk      key    query  ds                               q
 *  dv      key    query  p = exp(scores - logSum)         dy
 * ```
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { AttentionKernel, type Role } from "./attention_kernel.ts";
import { sceneOf } from "./attention_scene.ts";
import type { Context, Kernel } from "./shader.ts";

/** The kernels of `attention`. */
export function lowerAttention(step: OpStep, context: Context): Kernel[] {
  return lowerRoles(step, context, [{ own: "query", weights: "softmax", vectors: "v", output: 0 }]);
}

/** The kernels of `attentionGrad`. */
export function lowerAttentionGrad(step: OpStep, context: Context): Kernel[] {
  return lowerRoles(step, context, [
    { own: "query", weights: "gradient", vectors: "k", output: 0 },
    { own: "key", weights: "gradient", vectors: "q", output: 1 },
    { own: "key", weights: "probability", vectors: "dy", output: 2 },
  ]);
}

function lowerRoles(step: OpStep, context: Context, roles: readonly Role[]): Kernel[] {
  const scene = sceneOf(step, context);
  return roles.flatMap((role) => {
    const own = role.own === "query" ? scene.queries : scene.keys;
    return size(scene.batch) * own === 0 ? [] : [new AttentionKernel(step, context, scene, role).write()];
  });
}
