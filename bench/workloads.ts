/**
 * What is timed: single ops, training steps of models, and decoding. Plain data, so that it can be sent to another process.
 *
 * @module
 */
import type { CnnWorkload, DcganWorkload, DecodeWorkload, LstmWorkload, Parameter, Style } from "./models.ts";

/** The ops that are timed. */
export type OpName =
  | "matmul"
  | "conv"
  | "softmax"
  | "layerNorm"
  | "gelu"
  | "exp"
  | "add"
  | "sum"
  | "maxPool";

/** One op on inputs of these shapes, spread evenly over `[-scale, scale)`. */
export interface OpWorkload {
  readonly kind: "op";
  readonly name: string;
  readonly op: OpName;
  readonly shapes: readonly (readonly number[])[];
  readonly scale: number;
  /** How far libraries may differ, relative to the largest value. */
  readonly tolerance: number;
}

/** Training steps of a GPT: forward, backward, clipping, AdamW, loss read back. */
export interface GptWorkload {
  readonly kind: "gpt";
  readonly name: string;
  readonly style: Style;
  readonly batch: number;
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  readonly channels: number;
  readonly vocabSize: number;
  readonly learningRate: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly clip: number;
  readonly parameters: readonly Parameter[];
  /** Batches that are gone through in turn. */
  readonly batches: number;
  readonly tolerance: number;
}

/** Anything that is timed. */
export type Workload = OpWorkload | ModelWorkload | DecodeWorkload;

/** Training steps. */
export type ModelWorkload = GptWorkload | CnnWorkload | LstmWorkload | DcganWorkload;

function op(name: string, op: OpName, shapes: readonly (readonly number[])[], scale = 1): OpWorkload {
  return { kind: "op", name, op, shapes, scale, tolerance: 1e-4 };
}

/** Single ops. */
export const opWorkloads: readonly OpWorkload[] = [
  ...[256, 512, 1024].map((n) => op(`matmul ${n}`, "matmul", [[n, n], [n, n]])),
  op("conv 3x3 64->64 on 8x64x56x56", "conv", [[8, 64, 56, 56], [64, 64, 3, 3]]),
  op("maxPool 2x2 on 8x64x56x56", "maxPool", [[8, 64, 56, 56]]),
  op("softmax [4096, 1024]", "softmax", [[4096, 1024]], 8),
  op("layerNorm [4096, 512]", "layerNorm", [[4096, 512], [512], [512]]),
  op("gelu of 4M values", "gelu", [[1 << 22]], 4),
  op("exp of 4M values", "exp", [[1 << 22]], 4),
  op("add of 4M values", "add", [[1 << 22], [1 << 22]]),
  op("sum of rows [4096, 1024]", "sum", [[4096, 1024]]),
];

const [LAYERS, CHANNELS, VOCABULARY, CONTEXT] = [4, 128, 65, 64];

/** As wide as GPT-2's normal distribution. */
const WIDTH = 0.02 * Math.sqrt(3);

function gptParameters(): Parameter[] {
  const C = CHANNELS, narrow = WIDTH / Math.sqrt(2 * LAYERS);
  const blocks = Array.from({ length: LAYERS }, (_, i): Parameter[] => [
    { name: `blocks.${i}.norm1`, shape: [C], scale: null },
    { name: `blocks.${i}.qkv`, shape: [C, 3 * C], scale: WIDTH },
    { name: `blocks.${i}.out`, shape: [C, C], scale: narrow },
    { name: `blocks.${i}.norm2`, shape: [C], scale: null },
    { name: `blocks.${i}.up`, shape: [C, 4 * C], scale: WIDTH },
    { name: `blocks.${i}.down`, shape: [4 * C, C], scale: narrow },
  ]);
  return [
    { name: "token", shape: [VOCABULARY, C], scale: WIDTH },
    { name: "position", shape: [CONTEXT, C], scale: WIDTH },
    ...blocks.flat(),
    { name: "norm", shape: [C], scale: null },
  ];
}

/**
 * The training step of nanoGPT's recipe for CPUs.
 *
 * @see https://github.com/karpathy/nanoGPT#quick-start
 */
export function gptWorkload(style: Style): GptWorkload {
  return {
    kind: "gpt",
    name: "GPT training step",
    style,
    batch: 12,
    context: CONTEXT,
    layers: LAYERS,
    heads: 4,
    channels: CHANNELS,
    vocabSize: VOCABULARY,
    learningRate: 1e-3,
    betas: [0.9, 0.99],
    eps: 1e-8,
    weightDecay: 0.1,
    clip: 1,
    parameters: gptParameters(),
    batches: 4,
    tolerance: 1e-3,
  };
}
