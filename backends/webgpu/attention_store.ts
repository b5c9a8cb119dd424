/**
 * What the kernels of attention write at their end.
 *
 * @module
 */
import type { OpStep } from "../../core/program.ts";
import { foursOf, OWN, OWNED, type Sum } from "./attention_role.ts";
import type { Scene } from "./attention_scene.ts";
import type { Shader } from "./shader.ts";

/** A kernel while it is written. */
interface Writing {
  readonly shader: Shader;
  readonly step: OpStep;
  readonly scene: Scene;
}

/** Stores sum number `number` of the owned rows. */
export function storeSum({ shader, step, scene }: Writing, sum: Sum, number: number): void {
  const { channels } = scene.rows[sum.vectors];
  const { dtype } = step.outputSpecs[sum.output];
  const target = shader.context.buffer(step.outputs[sum.output]);
  const four = channels % 4 === 0 && shader.aligned(target, dtype);
  if (sum.weights === "softmax") shader.add("let divisor = select(total, vec4f(1.0), total == vec4f(0.0));");
  const scaled = sum.weights === "gradient" ? ` * ${shader.constant(scene.attrs.scale, "f32")}` : "";
  for (const r of OWNED) {
    const factor = sum.weights === "softmax" ? ` / divisor[${r}]` : scaled;
    shader.add(`if (own + ${r}u < own_count) {`);
    const start = shader.let(`(matrix * own_count + own + ${r}u) * ${shader.num(channels)} + first`, "at");
    for (let e = 0; e < foursOf(scene, sum); e++) {
      const value = shader.let(`sum${number}_${r}_${e}${factor}`);
      const d = `first + ${4 * e}u`;
      const from = `${start} + ${4 * e}u`;
      if (four) {
        shader.add(`if (${d} < ${shader.num(channels)}) { ${shader.store(target, dtype, from, value, 4)} }`);
      } else {
        const put = shader.store(target, dtype, `${from} + lane`, `${value}[lane]`, 1);
        shader.add(`for (var lane = 0u; lane < 4u && ${d} + lane < ${shader.num(channels)}; lane++) { ${put} }`);
      }
    }
    shader.add("}");
  }
}

/** Stores the logarithms of the sums of weights. */
export function storeStatistics({ shader, step }: Writing): void {
  shader.add("let level = select(peak, vec4f(0.0), bitcast<vec4u>(peak) == vec4u(0xff800000u));");
  shader.add(`let log_sum = level + ${shader.library.use("log", 4)}(divisor);`);
  const statistics = shader.context.buffer(step.outputs[1]);
  const put = shader.store(statistics, step.outputSpecs[1].dtype, "matrix * own_count + own + r", "log_sum[r]", 1);
  shader.add(`for (var r = 0u; chunk == 0u && r < min(${OWN}u, own_count - own); r++) { ${put} }`);
}
