/** Rows for activations, norms, attention and losses. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { bool, type Case, type Domain, EXACT, f16, f32, HALF, i32 } from "./case.ts";

function activation(run: (x: Tensor) => Tensor, domain: Domain, order: 1 | 2): Case[] {
  return [
    { name: "[3,17]", inputs: [f32([3, 17], domain)], run, gives: "f32[3,17]", order },
    { name: "f16", inputs: [f16([7], domain)], run, gives: "f16[7]", order: 0, tolerance: HALF },
    {
      name: "wide",
      inputs: [f32([6], { exactly: [-100, -20, -0.001, 0.001, 20, 100] })],
      run,
      gives: "f32[6]",
      order: 0,
    },
    { name: "empty", inputs: [f32([2, 0])], run, gives: "f32[2,0]", order: 0 },
  ];
}

function rows(f: (x: Tensor, options?: { axis?: number }) => Tensor): Case[] {
  return [
    { name: "last axis", inputs: [f32([5, 33])], run: (x) => f(x), gives: "f32[5,33]", order: 2 },
    { name: "middle axis", inputs: [f32([2, 7, 3])], run: (x) => f(x, { axis: 1 }), gives: "f32[2,7,3]" },
    { name: "one element", inputs: [f32([3, 1])], run: (x) => f(x), gives: "f32[3,1]" },
    {
      name: "large and infinite",
      inputs: [f32([2, 3], { exactly: [1000, 1001, 998, -Infinity, 0, 2] })],
      run: (x) => f(x),
      gives: "f32[2,3]",
      order: 0,
    },
    {
      name: "f16",
      inputs: [f16([3, 5])],
      run: (x) => f(x),
      gives: "f16[3,5]",
      order: 0,
      tolerance: { relative: 2e-3 },
    },
    { name: "long rows", inputs: [f32([3, 1025])], run: (x) => f(x), gives: "f32[3,1025]", order: 0 },
  ];
}

const image = [3, 6, 2, 5];
const batchOptions = { eps: 1e-3 };

const norms = {
  layerNorm: [
    { name: "plain", inputs: [f32([5, 33])], run: (x: Tensor) => tn.layerNorm(x), gives: "f32[5,33]", order: 2 },
    {
      name: "scale and shift",
      inputs: [f32([2, 3, 17]), f32([17]), f32([17])],
      run: (x: Tensor, scale: Tensor, shift: Tensor) => tn.layerNorm(x, { scale, shift }),
      gives: "f32[2,3,17]",
      order: 2,
    },
    {
      name: "eps 0.5",
      inputs: [f32([3, 5])],
      run: (x: Tensor) => tn.layerNorm(x, {}, { eps: 0.5 }),
      gives: "f32[3,5]",
    },
    {
      name: "scale of another size",
      inputs: [f32([2, 3]), f32([2])],
      run: (x: Tensor, scale: Tensor) => tn.layerNorm(x, { scale }),
      throws: "ShapeError: Cannot normalize [2,3] with a scale of shape [2]: it must be [3]",
    },
  ],
  rmsNorm: [
    {
      name: "scale",
      inputs: [f32([5, 33]), f32([33])],
      run: (x: Tensor, scale: Tensor) => tn.rmsNorm(x, { scale }),
      gives: "f32[5,33]",
      order: 2,
    },
    { name: "plain", inputs: [f32([2, 3, 7])], run: (x: Tensor) => tn.rmsNorm(x), gives: "f32[2,3,7]" },
  ],
  batchNorm: [
    {
      name: "images",
      inputs: [f32(image), f32([6]), f32([6])],
      run: (x: Tensor, scale: Tensor, shift: Tensor) => tn.batchNorm(x, { scale, shift }, batchOptions),
      gives: "f32[3,6,2,5]",
      order: 2,
    },
    { name: "rows", inputs: [f32([7, 5])], run: (x: Tensor) => tn.batchNorm(x), gives: "f32[7,5]" },
    {
      name: "last axis",
      inputs: [f32([7, 2, 3])],
      run: (x: Tensor) => tn.batchNorm(x, {}, { axis: -1 }),
      gives: "f32[7,2,3]",
    },
    {
      name: "given statistics",
      inputs: [f32(image), f32([6]), f32([6], "positive")],
      run: (x: Tensor, mean: Tensor, variance: Tensor) => tn.batchNorm(x, {}, { statistics: { mean, variance } }),
      gives: "f32[3,6,2,5]",
    },
  ],
  batchStatistics: [
    {
      name: "images",
      inputs: [f32(image)],
      run: (x: Tensor) => {
        const { mean, variance } = tn.batchStatistics(x);
        return [mean, variance];
      },
      gives: "f32[6] f32[6]",
      order: 2,
    },
  ],
  groupNorm: [
    {
      name: "3 groups",
      inputs: [f32(image), f32([6]), f32([6])],
      run: (x: Tensor, scale: Tensor, shift: Tensor) => tn.groupNorm(x, { scale, shift }, { groups: 3 }),
      gives: "f32[3,6,2,5]",
      order: 2,
    },
    {
      name: "one group",
      inputs: [f32([2, 3, 7])],
      run: (x: Tensor) => tn.groupNorm(x, {}, { groups: 1 }),
      gives: "f32[2,3,7]",
    },
  ],
} satisfies Record<string, Case[]>;

function attend(
  name: string,
  q: number[],
  k: number[],
  v: number[],
  gives: string,
  options: tn.AttentionOptions = {},
): Case {
  return {
    name,
    inputs: [f32(q), f32(k), f32(v)],
    run: (q, k, v) => tn.attention(q, k, v, options),
    gives,
    order: 2,
  };
}

const layers = {
  dropout: [
    {
      name: "rate 0.4",
      inputs: [f32([5, 17])],
      run: (x: Tensor) => tn.dropout(x, tn.key(3), { rate: 0.4 }),
      gives: "f32[5,17]",
    },
    {
      name: "rate 0",
      inputs: [f32([5])],
      run: (x: Tensor) => tn.dropout(x, tn.key(3), { rate: 0 }),
      gives: "f32[5]",
      tolerance: EXACT,
    },
  ],
  embedding: [
    {
      name: "[7,5] by [2,3]",
      inputs: [f32([7, 5]), i32([2, 3], [0, 7])],
      run: (table: Tensor, ids: Tensor) => tn.embedding(table, ids),
      gives: "f32[2,3,5]",
      tolerance: { relative: 1e-6 },
    },
  ],
  linear: [
    {
      name: "bias",
      inputs: [f32([2, 3, 17]), f32([17, 5]), f32([5])],
      run: (x: Tensor, weight: Tensor, bias: Tensor) => tn.linear(x, { weight, bias }),
      gives: "f32[2,3,5]",
    },
    {
      name: "no bias",
      inputs: [f32([3, 4]), f32([4, 5])],
      run: (x: Tensor, weight: Tensor) => tn.linear(x, { weight }),
      gives: "f32[3,5]",
    },
  ],
  rotary: [
    {
      name: "halves",
      inputs: [f32([2, 5, 3, 6]), i32([5, 1], [0, 50])],
      run: (x: Tensor, positions: Tensor) => tn.rotary(x, positions),
      gives: "f32[2,5,3,6]",
      order: 2,
    },
    {
      name: "neighbours, a position for each row",
      inputs: [f32([2, 3, 4]), i32([2, 3], [-9, 9])],
      run: (x: Tensor, positions: Tensor) => tn.rotary(x, positions, { base: 100, pairs: "neighbours" }),
      gives: "f32[2,3,4]",
      order: 2,
    },
    {
      name: "f16",
      inputs: [f16([3, 8]), i32([3], [0, 9])],
      run: (x: Tensor, positions: Tensor) => tn.rotary(x, positions),
      gives: "f16[3,8]",
      order: 0,
      tolerance: HALF,
    },
    {
      name: "an odd number of channels",
      inputs: [f32([2, 5]), i32([2], [0, 9])],
      run: (x: Tensor, positions: Tensor) => tn.rotary(x, positions),
      throws: "ShapeError: Cannot turn pairs of channels of [2,5]: the last axis must be even",
    },
    {
      name: "positions that do not fit",
      inputs: [f32([2, 4]), i32([3, 2], [0, 9])],
      run: (x: Tensor, positions: Tensor) => tn.rotary(x, positions),
      throws: "ShapeError: Cannot turn rows [2] by positions [3,2]: they do not broadcast",
    },
  ],
  attention: [
    attend("two heads", [2, 5, 4], [2, 7, 4], [2, 7, 3], "f32[2,5,3]"),
    attend("causal", [2, 3, 6, 4], [2, 3, 6, 4], [2, 3, 6, 4], "f32[2,3,6,4]", { causal: true }),
    attend("rank 2, scale", [5, 4], [7, 4], [7, 3], "f32[5,3]", { scale: 0.3 }),
    {
      name: "off the tiles, causal",
      inputs: [f32([1, 33, 17]), f32([1, 33, 17]), f32([1, 33, 17])],
      run: (q: Tensor, k: Tensor, v: Tensor) => tn.attention(q, k, v, { causal: true }),
      gives: "f32[1,33,17]",
    },
    attend("several blocks, causal", [2, 150, 8], [2, 290, 8], [2, 290, 5], "f32[2,150,5]", { causal: true }),
    attend("queries that see nothing", [1, 7, 4], [1, 3, 4], [1, 3, 5], "f32[1,7,5]", { causal: true }),
    attend("one query", [2, 3, 1, 21], [2, 3, 7, 21], [2, 3, 7, 39], "f32[2,3,1,39]"),
    attend("two queries, causal", [3, 2, 4], [3, 7, 4], [3, 7, 5], "f32[3,2,5]", { causal: true }),
    {
      name: "one query, mask of each batch",
      inputs: [f32([2, 3, 1, 4]), f32([2, 3, 7, 4]), f32([2, 3, 7, 5]), i32([2, 1, 1, 7], [0, 2])],
      run: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) => tn.attention(q, k, v, { mask: tn.cast(mask, "bool") }),
      gives: "f32[2,3,1,5]",
    },
    {
      name: "three queries, added mask",
      inputs: [f32([2, 3, 4]), f32([2, 7, 4]), f32([2, 7, 5]), f32([2, 1, 7])],
      run: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) => tn.attention(q, k, v, { mask }),
      gives: "f32[2,3,5]",
    },
    attend("no keys", [2, 3, 4], [2, 0, 4], [2, 0, 5], "f32[2,3,5]"),
    {
      name: "heads of one projection, mask of each batch",
      inputs: [f32([2, 17, 3, 3, 5]), f32([2, 1, 1, 17])],
      run: (x: Tensor, mask: Tensor) => {
        const [q, k, v] = tn.split(x, 3, { axis: 2 }).map((part) => tn.transpose(tn.squeeze(part, 2), [0, 2, 1, 3]));
        return tn.attention(q, k, v, { causal: true, mask });
      },
      gives: "f32[2,3,17,5]",
    },
    {
      name: "channels apart",
      inputs: [f32([4, 5]), f32([4, 7]), f32([3, 7]), f32([7, 5])],
      run: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) =>
        tn.attention(tn.transpose(q), tn.transpose(k), tn.transpose(v), { mask: tn.transpose(mask) }),
      gives: "f32[5,3]",
    },
    {
      name: "added mask",
      inputs: [f32([2, 5, 4]), f32([2, 7, 4]), f32([2, 7, 3]), f32([5, 7])],
      run: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) => tn.attention(q, k, v, { mask }),
      gives: "f32[2,5,3]",
    },
    {
      name: "boolean mask",
      inputs: [f32([2, 5, 4]), f32([2, 7, 4]), f32([2, 7, 3]), bool([5, 6])],
      run: (q: Tensor, k: Tensor, v: Tensor, mask: Tensor) =>
        tn.attention(q, k, v, { mask: tn.concat([tn.ones([5, 1], { dtype: "bool" }), mask], 1) }),
      gives: "f32[2,5,3]",
    },
  ],
} satisfies Record<string, Case[]>;

type Reduction = "mean" | "sum" | "none";

function loss(
  f: (a: Tensor, b: Tensor, options: { reduction: Reduction }) => Tensor,
  a: Domain,
  b: Domain,
  order: 1 | 2,
): Case[] {
  return (["mean", "sum", "none"] as const).map((reduction) => ({
    name: reduction,
    inputs: [f32([3, 7], a), f32([3, 7], b)],
    run: (x, y) => f(x, y, { reduction }),
    gives: reduction === "none" ? "f32[3,7]" : "f32[]",
    order,
  }));
}

const logits = [f32([5, 17]), i32([5], [0, 17])];

const losses = {
  crossEntropy: [
    { name: "mean", inputs: logits, run: (x: Tensor, y: Tensor) => tn.crossEntropy(x, y), gives: "f32[]", order: 2 },
    {
      name: "none, rank 3",
      inputs: [f32([2, 3, 7]), i32([2, 3], [0, 7])],
      run: (x: Tensor, y: Tensor) => tn.crossEntropy(x, y, { reduction: "none" }),
      gives: "f32[2,3]",
    },
    {
      name: "ignored, smoothed",
      inputs: logits,
      run: (x: Tensor, y: Tensor) => tn.crossEntropy(x, y, { ignoreIndex: 3, labelSmoothing: 0.1 }),
      gives: "f32[]",
    },
    {
      name: "sum, one ignored",
      inputs: [f32([4, 3]), i32([4], { exactly: [0, -1, 2, 1] })],
      run: (x: Tensor, y: Tensor) => tn.crossEntropy(x, y, { ignoreIndex: -1, reduction: "sum" }),
      gives: "f32[]",
    },
    {
      name: "labels of another shape",
      inputs: [f32([2, 3, 5]), i32([3])],
      run: (x: Tensor, y: Tensor) => tn.crossEntropy(x, y),
      throws:
        "ShapeError: Cannot take the cross-entropy of logits [2,3,5] and labels [3]: the labels need the shape [2,3]",
    },
  ],
  binaryCrossEntropyWithLogits: loss(tn.binaryCrossEntropyWithLogits, "apart", "unit", 2),
  meanSquaredError: loss(tn.meanSquaredError, "normal", "normal", 2),
  huber: loss((x, y, options) => tn.huber(x, y, { ...options, delta: 0.75 }), [1, 1.6], [0.7, 0.8], 1),
  klDivergence: [
    ...loss((x, y, options) => tn.klDivergence(tn.logSoftmax(x), y, options), "normal", "unit", 2),
    {
      name: "batchMean, logTarget",
      inputs: [f32([3, 7]), f32([3, 7])],
      run: (x: Tensor, y: Tensor) =>
        tn.klDivergence(tn.logSoftmax(x), tn.logSoftmax(y), { logTarget: true, reduction: "batchMean" }),
      gives: "f32[]",
    },
  ],
} satisfies Record<string, Case[]>;

export const layer = {
  relu: activation(tn.relu, "apart", 1),
  leakyRelu: activation((x) => tn.leakyRelu(x, { slope: 0.2 }), "apart", 1),
  elu: activation((x) => tn.elu(x, { alpha: 0.7 }), "apart", 2),
  gelu: [
    ...activation((x) => tn.gelu(x), "normal", 2),
    ...activation((x) => tn.gelu(x, { approximate: "tanh" }), "normal", 2).map((row) => ({
      ...row,
      name: `tanh, ${row.name}`,
    })),
  ],
  silu: activation(tn.silu, "normal", 2),
  softplus: activation(tn.softplus, "normal", 2),
  softmax: rows(tn.softmax),
  logSoftmax: rows(tn.logSoftmax),
  ...norms,
  ...layers,
  ...losses,
} satisfies Record<string, Case[]>;
