/**
 * Attention and its gradient without the matrix of weights (Dao 2023, FlashAttention-2, arXiv:2307.08691).
 *
 * Each invocation owns four rows and goes over the rows of the other side in blocks: it computes the block's weights and
 * adds the block's vectors, weighted, to its four sums. The same kernel makes all four results:
 *
 * ```text
 *          own    other  weights                          vectors
 *  y       query  key    softmax, kept up as it goes      v
 *  dq      query  key    ds = p · (dy·vᵀ - delta)         k
 *  dk      key    query  ds                               q
 *  dv      key    query  p = exp(scores - logSum)         dy
 * ```
 *
 * On a CPU, where reading is dear and registers spill cheaply, blocks are written out, so that each row is read once;
 * dk and dv, which weigh the same rows, are then made together.
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { AttentionKernel } from "./attention_kernel.ts";
import { isWrittenOut, type Role, type Sum } from "./attention_role.ts";
import { type Scene, sceneOf } from "./attention_scene.ts";
import type { Context, Kernel } from "./shader.ts";

/** The kernels of `attention`. */
export function lowerAttention(step: OpStep, context: Context): Kernel[] {
  const scene = sceneOf(step, context);
  return lowerRoles(step, context, scene, [{ own: "query", sums: [{ weights: "softmax", vectors: "v", output: 0 }] }]);
}

/** The kernels of `attentionGrad`. */
export function lowerAttentionGrad(step: OpStep, context: Context): Kernel[] {
  const scene = sceneOf(step, context);
  const dq: Sum = { weights: "gradient", vectors: "k", output: 0 };
  const dk: Sum = { weights: "gradient", vectors: "q", output: 1 };
  const dv: Sum = { weights: "probability", vectors: "dy", output: 2 };
  const ofKeys = isWrittenOut(scene, context) ? [[dk, dv]] : [[dk], [dv]];
  return lowerRoles(step, context, scene, [
    { own: "query", sums: [dq] },
    ...ofKeys.map((sums): Role => ({ own: "key", sums })),
  ]);
}

function lowerRoles(step: OpStep, context: Context, scene: Scene, roles: readonly Role[]): Kernel[] {
  return roles.flatMap((role) => {
    const own = role.own === "query" ? scene.queries : scene.keys;
    return size(scene.batch) * own === 0 ? [] : [new AttentionKernel(step, context, scene, role).write()];
  });
}
