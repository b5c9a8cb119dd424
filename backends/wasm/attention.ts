/**
 * Attention and its gradient without the `[T, S]` matrix: block sizes, working memory and calls. The kernels are in
 * `attention_forward.ts` and `attention_backward.ts` (Dao 2023, arXiv:2307.08691).
 *
 * @module
 */
import { mergeAxes } from "../../core/layout.ts";
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import type { AttentionAttrs } from "../../ops/attention.ts";
import { backwardKernel } from "./attention_backward.ts";
import { ALL_SEEN, type MaskShape, ROW_PADDING } from "./attention_block.ts";
import { forwardKernel } from "./attention_forward.ts";
import { queryKernel } from "./attention_query.ts";
import { ENOUGH_ITEMS, even, roundUp } from "./blocks.ts";
import { type Arg, type Call, chunkOf, floatWord, type Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { type BoundRegion, lowerCopy, lowerRegion } from "./region.ts";
import { SCRATCH_BYTES } from "./scratch.ts";
import { TILE_COLUMNS, TILE_ROWS } from "./tile.ts";

type Input = OpCall["inputs"][number];

/** An operand as the kernels read it: its last axis is contiguous. Strides are in elements. */
interface Operand {
  readonly ref: Ref;
  readonly batch: readonly number[];
  /** From query to query, or from key to key. */
  readonly row: number;
}

/** Sizes of the problem. */
interface Sizes {
  /** All leading axes. */
  readonly lead: readonly number[];
  readonly batches: number;
  readonly queries: number;
  readonly keys: number;
  readonly channels: number;
  readonly valueChannels: number;
}

/** Queries and keys that meet at once. */
interface Blocks {
  readonly queries: number;
  readonly keys: number;
}

/** Floats of each part of the working memory. */
type Parts = Readonly<Record<string, number>>;

const NO_MASK: MaskShape = { kind: "none", step: 0 };

const FORWARD_BLOCKS: Blocks = { queries: 120, keys: 128 };
const BACKWARD_BLOCKS: Blocks = { queries: 64, keys: 128 };
const STEP: Blocks = { queries: TILE_ROWS, keys: TILE_COLUMNS };
/** Up to this many queries are done one by one: packing keys and values would not pay. */
const FEW_QUERIES = 3;
/** Fewest queries or keys of a block that is made smaller only to have more items to share. */
const SMALLEST_SHARED = 32;
/** What a thread does in a nanosecond, the exponentials included. */
const OPERATIONS = 25;
/** Products a nanosecond of a query by itself. */
const QUERY_OPERATIONS = 4;
/** What packing may write, or a vector read, past the end of a part, in floats. */
const SLACK = 32;

const panels = (n: number) => roundUp(n, TILE_COLUMNS);

/** `(q, k, v, mask?) -> (y, logSum)`. */
export function lowerAttention(call: OpCall, attrs: AttentionAttrs): Call[] {
  const sizes = sizesOf(call);
  const { batches, queries, keys, channels, valueChannels } = sizes;
  if (batches * queries === 0) return [];
  if (queries <= FEW_QUERIES) return lowerQueries(call, attrs, sizes);
  const parts = (blocks: Blocks): Parts => ({
    scores: blocks.queries * (blocks.keys + ROW_PADDING),
    keyPanels: blocks.keys * channels,
    valuePanels: blocks.keys * panels(valueChannels),
    sums: blocks.queries * panels(valueChannels),
    peaks: blocks.queries,
    totals: blocks.queries,
  });
  const blocks = blocksOf(sizes, FORWARD_BLOCKS, "queries", parts);
  const queryBlocks = Math.ceil(queries / blocks.queries), total = batches * queryBlocks;
  const { calls, args, axes, mask } = prepare(call, attrs, sizes, ["q", "k", "v"]);
  Object.assign(args, argsOfBlocks(blocks), argsOfParts(call, parts(blocks), total), {
    y: call.outputs[0].ref,
    logSum: call.outputs[1].ref,
    queryBlocks,
    sumRow: 4 * panels(valueChannels),
  });
  const cost = 2 * queries * keys * (channels + valueChannels) * batches / total / OPERATIONS;
  return [...calls, {
    name: call.name,
    kernel: forwardKernel(Object.keys(args), axes, mask),
    args,
    total,
    chunk: chunkOf(total, attrs.causal ? cost / 2 : cost),
  }];
}

/** Attention of each query by itself. */
function lowerQueries(call: OpCall, attrs: AttentionAttrs, sizes: Sizes): Call[] {
  const { batches, queries, keys, channels, valueChannels } = sizes, total = batches * queries;
  const { calls, args, axes, mask } = prepare(call, attrs, sizes, ["q", "k", "v"]);
  const [y, logSum] = call.outputs.map(({ ref }) => ref);
  Object.assign(args, argsOfParts(call, { scores: keys }, total), { y, logSum });
  const kernel = queryKernel(Object.keys(args), axes, mask);
  const cost = keys * (channels + valueChannels) / QUERY_OPERATIONS;
  return [...calls, { name: call.name, kernel, args, total, chunk: chunkOf(total, cost) }];
}

/** `(q, k, v, mask?, logSum, delta, dy) -> (dq, dk, dv)`. */
export function lowerAttentionGrad(call: OpCall, attrs: AttentionAttrs): Call[] {
  const sizes = sizesOf(call);
  const { batches, queries, keys, channels, valueChannels } = sizes;
  if (batches === 0) return [];
  const parts = (blocks: Blocks): Parts => ({
    weights: blocks.queries * (blocks.keys + ROW_PADDING),
    grads: blocks.queries * (blocks.keys + ROW_PADDING),
    keyColumns: blocks.keys * channels,
    valueColumns: blocks.keys * valueChannels,
    keyRows: blocks.keys * panels(channels),
    queryRows: blocks.queries * panels(Math.max(channels, valueChannels)),
    dk: blocks.keys * panels(channels),
    dv: blocks.keys * panels(valueChannels),
  });
  const blocks = blocksOf(sizes, BACKWARD_BLOCKS, "keys", parts);
  const groups = Math.max(1, Math.min(Math.ceil(keys / blocks.keys), Math.ceil(ENOUGH_ITEMS / batches)));
  const total = batches * groups;
  const sums = dqSums(call, sizes, groups);
  const { calls, args, axes, mask } = prepare(call, attrs, sizes, ["q", "k", "v", "logSum", "delta", "dy"]);
  Object.assign(args, argsOfBlocks(blocks), argsOfParts(call, parts(blocks), total), {
    dqSums: sums.ref,
    dkOut: call.outputs[1].ref,
    dvOut: call.outputs[2].ref,
    groups,
    dqRow: 4 * panels(channels),
    dkRow: 4 * panels(channels),
    dvRow: 4 * panels(valueChannels),
  });
  const cost = 2 * queries * keys * (3 * channels + 2 * valueChannels) * batches / total / OPERATIONS;
  const kernel = backwardKernel(Object.keys(args), axes, mask);
  const chunk = chunkOf(total, attrs.causal ? cost / 2 : cost);
  return [...calls, { name: call.name, kernel, args, total, chunk }, ...sums.calls];
}

function sizesOf({ inputs: [q, , v] }: OpCall): Sizes {
  const lead = q.shape.slice(0, -2);
  const [queries, channels] = q.shape.slice(-2), [keys, valueChannels] = v.shape.slice(-2);
  return { lead, batches: size(lead), queries, keys, channels, valueChannels };
}

/** Blocks no larger than `most`, smaller `along` the axis that items share where there would be too few items. */
function blocksOf(sizes: Sizes, most: Blocks, along: keyof Blocks, parts: (blocks: Blocks) => Parts): Blocks {
  const { batches, queries, keys } = sizes;
  let blocks = { queries: even(queries, most.queries, STEP.queries), keys: even(keys, most.keys, STEP.keys) };
  while (batches * Math.ceil(sizes[along] / blocks[along]) < ENOUGH_ITEMS && blocks[along] > 2 * SMALLEST_SHARED) {
    blocks = { ...blocks, [along]: roundUp(blocks[along] / 2, STEP[along]) };
  }
  return fitting(blocks, parts);
}

/** Blocks made smaller until their working memory fits into a thread's scratch memory, if it ever does. */
function fitting(blocks: Blocks, parts: (blocks: Blocks) => Parts): Blocks {
  const { queries, keys } = blocks;
  if (bytesOf(parts(blocks)) <= SCRATCH_BYTES || (queries <= STEP.queries && keys <= STEP.keys)) return blocks;
  const smaller = keys >= queries
    ? { queries, keys: roundUp(keys / 2, STEP.keys) }
    : { queries: roundUp(queries / 2, STEP.queries), keys };
  return fitting(smaller, parts);
}

const partBytes = (floats: number) => roundUp(4 * (floats + SLACK), 64);
const bytesOf = (parts: Parts) => Object.values(parts).reduce((sum, floats) => sum + partBytes(floats), 0);

function argsOfBlocks({ queries, keys }: Blocks): Record<string, Arg> {
  return { queryBlock: queries, keyBlock: keys, scoreRow: 4 * (keys + ROW_PADDING) };
}

/** Where each part of the working memory begins; memory of the step's own where scratch memory is too small. */
function argsOfParts(call: OpCall, parts: Parts, items: number): Record<string, Arg> {
  const args: Record<string, Arg> = {};
  let bytes = 0;
  for (const [name, floats] of Object.entries(parts)) {
    args[name] = bytes;
    bytes += partBytes(floats);
  }
  if (bytes > SCRATCH_BYTES) Object.assign(args, { space: call.temporary(bytes * items), spaceStep: bytes });
  return args;
}

/** Where the items add up dq: each group of key blocks has sums of its own, in whole panels, unless there is but one. */
function dqSums(
  call: OpCall,
  { batches, queries, channels }: Sizes,
  groups: number,
): { ref: Ref; calls: Call[] } {
  const [{ ref: dq }] = call.outputs, row = panels(channels);
  if (groups === 1 && row === channels) return { ref: dq, calls: [] };
  const ref = call.temporary(4 * batches * groups * queries * row);
  const outer = [batches, queries, channels], one = groups * queries * row;
  if (size(outer) === 0) return { ref, calls: [] };
  const region: Region = {
    outer,
    inner: [groups],
    body: [
      { kind: "load", input: 0, strides: [one, row, 1, queries * row], offset: 0, dtype: "f32" },
      { kind: "reduce", op: "sum", arg: 0, dtype: "f32" },
    ],
    stores: [{ value: 1, output: 0, strides: [...stridesOf(outer), 0], offset: 0 }],
  };
  const bound: BoundRegion = { name: `${call.name} dq`, region, inputs: [ref], outputs: [dq], outputTypes: ["f32"] };
  return { ref, calls: lowerRegion(bound, call.temporary) };
}

/** Operands of both kernels, as arguments; `names` are those of the inputs without the mask. */
function prepare(call: OpCall, { masked, causal, scale }: AttentionAttrs, sizes: Sizes, names: readonly string[]) {
  const { lead, queries, keys, channels, valueChannels } = sizes;
  const inputs = [...call.inputs], calls: Call[] = [];
  const [mask] = masked === "none" ? [] : inputs.splice(3, 1);
  const read = (input: Input, axes: number) => operandOf(call, calls, input, lead.length, axes);
  const operands = new Map(names.map((name, i) => [name, read(inputs[i], inputs[i].shape.length - lead.length)]));
  if (mask) operands.set("mask", read(mask, 2));
  const shape: MaskShape = mask ? { kind: masked, step: (mask.shape.at(-1) ?? 1) === 1 ? 0 : 1 } : NO_MASK;
  const merged = mergeAxes(lead, [...operands.values()].map(({ batch }) => batch));
  const axes = merged.shape.length;
  const offset = causal ? keys - queries + 1 : ALL_SEEN;
  const args: Record<string, Arg> = { queries, keys, channels, valueChannels, scale: floatWord(scale), offset };
  merged.shape.forEach((n, axis) => args[`batch${axis}`] = n);
  [...operands].forEach(([name, { ref, row }], i) => {
    args[name] = ref;
    args[`${name}Row`] = 4 * row;
    merged.strides[i].forEach((stride, axis) => args[`${name}Batch${axis}`] = 4 * stride);
  });
  return { calls, args, axes, mask: shape };
}

/** An input with `lead` leading axes and `axes` (1 or 2) of its own; copied if it has two and the last is not contiguous. */
function operandOf(call: OpCall, calls: Call[], input: Input, lead: number, axes: number): Operand {
  const missing = lead + axes - input.shape.length;
  const shape = [...new Array(missing).fill(1), ...input.shape];
  let strides = shape.map((n, axis) => n === 1 ? 0 : input.strides[axis - missing]), { ref } = input;
  if (axes === 2 && size(shape) > 0 && shape.at(-1) !== 1 && strides.at(-1) !== 1) {
    const outer = shape.map((n, axis) => strides[axis] === 0 && axis !== shape.length - 1 ? 1 : n);
    const contiguous = stridesOf(outer), { dtype } = input;
    const from = { ref, strides };
    ref = call.temporary(4 * size(outer));
    calls.push(...lowerCopy(call, { shape: outer, from, to: { ref, strides: contiguous }, dtype }));
    strides = contiguous.map((stride, axis) => outer[axis] === 1 ? 0 : stride);
  }
  return { ref, batch: strides.slice(0, lead), row: strides[lead] };
}
