/**
 * The kernel of attention's gradient: one work item is every n-th block of keys of one batch, which meets all queries
 * that see it, block by block. The weights are computed again from the scores and their `logSum`.
 *
 * ```text
 *  for blocks of keys:                   k and v packed once
 *    for blocks of queries:
 *      S = q · kᵀ      dP = dy · vᵀ      rows x keys, in scratch memory
 *      P = e^(S - logSum)      dS = P · (dP - delta) · scale
 *      dv += Pᵀ · dy   dk += dSᵀ · q     in scratch memory
 *      dq += dS · k                      in memory of this item's own
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import {
  type Args,
  clamp,
  clearRows,
  copyRow,
  eachVector,
  endRow,
  keyOf,
  type MaskShape,
  moveToBatch,
  multiply,
  pack,
  scoresAt,
  spaceOf,
} from "./attention_block.ts";
import { i32 } from "./instructions.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { expOfWeight, type Vector } from "./math.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** Names of the working memory's parts. */
const SPACE = ["weights", "grads", "keyColumns", "valueColumns", "keyRows", "queryRows", "dk", "dv"] as const;

/** The kernel for a number of batch axes and a kind of mask; `names` are the arguments. */
export function backwardKernel(names: readonly string[], axes: number, mask: MaskShape): Kernel {
  return kernel(keyOf("attentionGrad", names, axes, mask), names, ({ f, args, begin, end }) => {
    const writer = new BackwardWriter(f, args, axes, mask);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}

/** A block of keys, and what it meets. */
interface Keys {
  /** Operands' pointers at this batch. */
  readonly at: Args;
  readonly begin: Int;
  readonly count: Int;
  /** Where this item's dq begins. */
  readonly dq: Int;
}

/** A block of queries. */
interface Queries {
  readonly begin: Int;
  readonly count: Int;
  /** What the first query sees of the keys. */
  readonly diagonal: Int;
}

class BackwardWriter {
  readonly #scale: Vector;
  #space: Args = {};

  constructor(readonly f: Func, readonly args: Args, readonly axes: number, readonly mask: MaskShape) {
    this.#scale = f.let(i32x4.splat(args.scale));
  }

  item(item: Int): void {
    const { f, args } = this;
    this.#space = spaceOf(f, args, SPACE, item);
    const batch = f.let(i32.div_u(item, args.groups)), group = f.let(i32.rem_u(item, args.groups));
    const names = ["q", "k", "v", "logSum", "delta", "dy", ...(this.mask.kind === "none" ? [] : ["mask"])];
    const at = moveToBatch(f, args, this.axes, names, batch);
    const dq = f.let(i32.add(args.dqSums, i32.mul(item, i32.mul(args.queries, args.dqRow))));
    clearRows(f, dq, args.queries, args.dqRow);
    const first = i32.mul(group, args.keyBlock), step = f.let(i32.mul(args.groups, args.keyBlock));
    f.for({ from: first, to: args.keys, step }, (begin) => {
      const count = f.let(i32.sub(args.keys, begin));
      f.set(count, i32.min_u(count, args.keyBlock));
      this.#startKeys({ at, begin, count, dq });
      const seenFrom = clamp(f, i32.sub(i32.add(begin, 1), args.offset), args.queries);
      f.for({ from: seenFrom, to: args.queries, step: args.queryBlock }, (queryBegin) => {
        const queries = f.let(i32.sub(args.queries, queryBegin));
        f.set(queries, i32.min_u(queries, args.queryBlock));
        const diagonal = f.let(i32.sub(i32.add(queryBegin, args.offset), begin));
        this.#meet({ at, begin, count, dq }, { begin: queryBegin, count: queries, diagonal });
      });
      const place = f.let(i32.add(i32.mul(batch, args.keys), begin));
      this.#finish("dk", place, count, args.dkRow, args.channels);
      this.#finish("dv", place, count, args.dvRow, args.valueChannels);
    });
  }

  #startKeys({ at, begin, count }: Keys): void {
    const { f, args } = this;
    const { keyColumns, valueColumns, keyRows, dk, dv } = this.#space;
    const k = f.let(i32.add(at.k, i32.mul(begin, args.kRow))), v = f.let(i32.add(at.v, i32.mul(begin, args.vRow)));
    const keys = { at: k, rowBytes: args.kRow, count, columns: args.channels };
    pack(f, keys, keyColumns, true);
    pack(f, keys, keyRows, false);
    pack(f, { at: v, rowBytes: args.vRow, count, columns: args.valueChannels }, valueColumns, true);
    clearRows(f, dk, count, args.dkRow);
    clearRows(f, dv, count, args.dvRow);
  }

  #meet({ at, begin: keyBegin, count: keys, dq }: Keys, { begin, count: rows, diagonal }: Queries): void {
    const { f, args } = this;
    const { weights, grads, keyColumns, valueColumns, keyRows, queryRows, dk, dv } = this.#space;
    const row = (name: string) => f.let(i32.add(at[name], i32.mul(begin, args[`${name}Row`])));
    const q = row("q"), dy = row("dy");
    const scores = { rows, columns: keys, cStride: args.scoreRow, diagonal };
    const { channels, valueChannels } = args;
    multiply(f, "scores", { ...scores, a: q, aStride: args.qRow, panels: keyColumns, c: weights, depth: channels });
    multiply(f, "scores", {
      ...scores,
      a: dy,
      aStride: args.dyRow,
      panels: valueColumns,
      c: grads,
      depth: valueChannels,
    });
    const pointers: Record<string, Int> = { weights: f.let(weights), grads: f.let(grads) };
    for (const name of ["logSum", "delta"]) pointers[name] = row(name);
    if (at.mask) {
      const inRow = this.mask.step === 1 ? i32.shl(keyBegin, 2) : 0;
      pointers.mask = f.let(i32.add(row("mask"), inRow));
    }
    this.#gradients(pointers, keys, { begin, count: rows, diagonal });
    const shared = { aStride: args.scoreRow, diagonal };
    const transposed = { ...shared, panels: queryRows, rows: keys, depth: rows };
    pack(f, { at: dy, rowBytes: args.dyRow, count: rows, columns: valueChannels }, queryRows, false);
    multiply(f, "transposed", { ...transposed, a: weights, c: dv, cStride: args.dvRow, columns: valueChannels });
    pack(f, { at: q, rowBytes: args.qRow, count: rows, columns: channels }, queryRows, false);
    multiply(f, "transposed", { ...transposed, a: grads, c: dk, cStride: args.dkRow, columns: channels });
    const c = f.let(i32.add(dq, i32.mul(begin, args.dqRow)));
    const weighted = { ...shared, a: grads, panels: keyRows, c, cStride: args.dqRow };
    multiply(f, "weighted", { ...weighted, rows, columns: channels, depth: keys });
  }

  /** Scores become weights, and `dP` becomes `dS`, row by row. */
  #gradients(at: Record<string, Int>, keys: Int, { count, diagonal }: Queries): void {
    const { f, args } = this;
    const scale = this.#scale;
    f.for({ to: count }, (r) => {
      const seen = clamp(f, i32.add(r, diagonal), keys);
      const logSum = f.let(v128.load32_splat(at.logSum)), delta = f.let(v128.load32_splat(at.delta));
      eachVector(f, seen, (j, lanes) => {
        const scores = scoresAt(f, at.weights, j, scale, this.mask, at.mask);
        const counted = (x: Vector) => lanes ? f.let(v128.and(x, lanes)) : x;
        const weights = counted(f.let(expOfWeight(f, f.let(f32x4.sub(scores, logSum)))));
        const grads = f.let(f32x4.sub(v128.load(i32.add(at.grads, j)), delta));
        const scaled = counted(f.let(f32x4.mul(f32x4.mul(weights, grads), scale)));
        f.do(v128.store(i32.add(at.weights, j), weights));
        f.do(v128.store(i32.add(at.grads, j), scaled));
      });
      endRow(f, at.weights, seen);
      endRow(f, at.grads, seen);
      f.increase(at.weights, args.scoreRow);
      f.increase(at.grads, args.scoreRow);
      f.increase(at.logSum, args.logSumRow);
      f.increase(at.delta, args.deltaRow);
      if (at.mask) f.increase(at.mask, args.maskRow);
    });
  }

  /** Rows of `dk` or `dv`, at `place` among those of all batches. */
  #finish(name: "dk" | "dv", place: Int, count: Int, rowBytes: Int, columns: Int): void {
    const { f, args } = this;
    const from = f.let(this.#space[name]), one = f.let(f32x4.const(1));
    const bytes = f.let(i32.shl(columns, 2));
    const to = f.let(i32.add(args[`${name}Out`], i32.mul(place, bytes)));
    f.for({ to: count }, () => {
      copyRow(f, to, from, columns, one);
      f.increase(to, bytes);
      f.increase(from, rowBytes);
    });
  }
}
