/**
 * The operands of attention as its kernels read them: rows of channels, in one matrix for each leading place.
 *
 * @module
 */
import { mergeAxes } from "../../core/layout.ts";
import type { BufferPlan, Operand, OpStep } from "../../core/program.ts";
import type { AttentionAttrs } from "../../ops/attention.ts";
import { WORTH_IMAGES } from "./images.ts";
import { type Context, isAligned } from "./shader.ts";

/** An operand `[batch, rows, channels]`, or the mask `[batch, query, key]`. */
export interface Rows {
  readonly buffer: BufferPlan;
  readonly dtype: Operand["dtype"];
  readonly offset: number;
  readonly batch: readonly number[];
  readonly stride: number;
  /** Distance and number of channels. */
  readonly step: number;
  readonly channels: number;
  /** Whether four channels lie side by side, from a multiple of four on. */
  readonly aligned: boolean;
  /** Whether an image of it is read. */
  readonly image: boolean;
}

/** Everything that an attention kernel reads, by name. */
export interface Scene {
  readonly attrs: AttentionAttrs;
  readonly batch: readonly number[];
  readonly queries: number;
  readonly keys: number;
  readonly rows: Readonly<Record<string, Rows>>;
}

/** What a step of `attention` or `attentionGrad` reads. */
export function sceneOf(step: OpStep, context: Context): Scene {
  const attrs = step.attrs as AttentionAttrs;
  const names = ["q", "k", "v", ...attrs.masked === "none" ? [] : ["mask"], "logSum", "delta", "dy"];
  const [q, k] = step.inputs;
  const lead = q.shape.slice(0, -2);
  // logSum and delta are [..., T]: rows of one channel
  const inputs = step.inputs.map((operand, i): Operand => {
    if (names[i] !== "logSum" && names[i] !== "delta") return operand;
    return { ...operand, shape: [...operand.shape, 1], strides: [...operand.strides, 0] };
  });
  const worth = [...q.shape, k.shape.at(-2)!].reduce((product, n) => product * n, 1) >= WORTH_IMAGES;
  const merged = mergeAxes(lead, inputs.map(({ shape, strides }) => leadStrides(shape, strides, lead)));
  const rows = inputs.map(({ buffer, dtype, shape, strides, offset }, i): [string, Rows] => {
    const [n, channels] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
    const [stride, step] = [n === 1 ? 0 : strides.at(-2)!, channels === 1 ? 0 : strides.at(-1)!];
    const whole = [channels, offset, stride, ...merged.strides[i]].every((number) => number % 4 === 0);
    const plan = context.buffer(buffer);
    const aligned = whole && step === 1 && isAligned(context, plan, dtype);
    const image = aligned && worth && context.hasImage(plan, dtype);
    return [names[i], {
      buffer: plan,
      dtype,
      offset,
      batch: merged.strides[i],
      stride,
      step,
      channels,
      aligned,
      image,
    }];
  });
  return {
    attrs,
    batch: merged.shape,
    queries: q.shape.at(-2)!,
    keys: k.shape.at(-2)!,
    rows: Object.fromEntries(rows),
  };
}

/** Strides over the leading axes, to which an operand is broadcast. */
function leadStrides(shape: readonly number[], strides: readonly number[], lead: readonly number[]): number[] {
  const own = shape.length - 2;
  return lead.map((_, axis) => {
    const at = axis - (lead.length - own);
    return at < 0 || shape[at] === 1 ? 0 : strides[at];
  });
}
