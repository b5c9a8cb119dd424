/**
 * The kernel of attention: one work item is a block of queries of one batch, which meets the keys block by block.
 *
 * ```text
 *  for blocks of keys:
 *    S = q · kᵀ                                      rows x keys, in scratch memory
 *    peak' = max(peak, max S)    P = e^(S - peak')   a row at a time
 *    total = total e^(peak - peak') + Σ P            online softmax: what was summed before is scaled down
 *    Y     = Y     e^(peak - peak') + P · v
 *  y = Y / total    logSum = peak + log total
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import {
  acrossLanes,
  type Args,
  clamp,
  clearRows,
  copyRow,
  divisor,
  eachVector,
  endRow,
  finitePeak,
  keyOf,
  type MaskShape,
  moveToBatch,
  multiply,
  NOTHING_SEEN,
  pack,
  scoresAt,
  spaceOf,
} from "./attention_block.ts";
import { i32, memory } from "./instructions.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { expOfWeight, log, type Vector } from "./math.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** Names of the working memory's parts. */
const SPACE = ["scores", "keyPanels", "valuePanels", "sums", "peaks", "totals"] as const;

/** The kernel for a number of batch axes and a kind of mask; `names` are the arguments. */
export function forwardKernel(names: readonly string[], axes: number, mask: MaskShape): Kernel {
  return kernel(keyOf("attention", names, axes, mask), names, ({ f, args, begin, end }) => {
    const writer = new ForwardWriter(f, args, axes, mask);
    f.for({ from: begin, to: end }, (item) => writer.item(item));
  });
}

/** A block of queries of one batch. */
interface Queries {
  /** Operands' pointers at this batch. */
  readonly at: Args;
  /** Index of the first query, in the batch and among all batches. */
  readonly begin: Int;
  readonly place: Int;
  readonly count: Int;
}

/** A block of keys. */
interface Keys {
  readonly begin: Int;
  readonly count: Int;
  /** What the first query sees of it. */
  readonly diagonal: Int;
}

class ForwardWriter {
  readonly #scale: Vector;
  /** Addresses of the item's working memory. */
  #space: Args = {};

  constructor(readonly f: Func, readonly args: Args, readonly axes: number, readonly mask: MaskShape) {
    this.#scale = f.let(i32x4.splat(args.scale));
  }

  item(item: Int): void {
    const { f, args } = this;
    this.#space = spaceOf(f, args, SPACE, item);
    const batch = f.let(i32.div_u(item, args.queryBlocks));
    const index = i32.sub(i32.sub(args.queryBlocks, 1), i32.rem_u(item, args.queryBlocks)); // those with most to see first
    const begin = f.let(i32.mul(index, args.queryBlock));
    const count = f.let(i32.sub(args.queries, begin));
    f.set(count, i32.min_u(count, args.queryBlock));
    const names = ["q", "k", "v", ...(this.mask.kind === "none" ? [] : ["mask"])];
    const at = moveToBatch(f, args, this.axes, names, batch);
    const place = f.let(i32.add(i32.mul(batch, args.queries), begin));
    const queries: Queries = { at, begin, place, count };
    this.#start(queries);
    const last = i32.sub(i32.add(begin, count), 1);
    const seen = clamp(f, i32.add(last, args.offset), args.keys);
    f.for({ to: seen, step: args.keyBlock }, (keyBegin) => {
      const keyCount = f.let(i32.sub(seen, keyBegin));
      f.set(keyCount, i32.min_u(keyCount, args.keyBlock));
      const diagonal = f.let(i32.sub(i32.add(begin, args.offset), keyBegin));
      this.#meet(queries, { begin: keyBegin, count: keyCount, diagonal });
    });
    this.#finish(queries);
  }

  #start({ count }: Queries): void {
    const { f, args } = this;
    const { sums, peaks, totals } = this.#space;
    clearRows(f, sums, count, args.sumRow);
    clearRows(f, totals, count, f.let(i32.const(4)));
    const bytes = f.let(i32.shl(count, 2));
    f.for({ to: bytes, step: 16 }, (at) => f.do(v128.store(i32.add(peaks, at), NOTHING_SEEN)));
  }

  #meet({ at, begin, count: rows }: Queries, keys: Keys): void {
    const { f, args } = this;
    const { scores, keyPanels, valuePanels, sums } = this.#space;
    const { channels, valueChannels, kRow, vRow, qRow, scoreRow, sumRow } = args;
    const { count, diagonal } = keys;
    const k = f.let(i32.add(at.k, i32.mul(keys.begin, kRow))), v = f.let(i32.add(at.v, i32.mul(keys.begin, vRow)));
    const q = f.let(i32.add(at.q, i32.mul(begin, qRow)));
    pack(f, { at: k, rowBytes: kRow, count, columns: channels }, keyPanels, true);
    const toScores = { panels: keyPanels, c: scores, cStride: scoreRow, columns: count, depth: channels };
    multiply(f, "scores", { ...toScores, a: q, aStride: qRow, rows, diagonal });
    const inMask = this.mask.step === 1 ? i32.shl(keys.begin, 2) : 0;
    this.#softmax(rows, keys, at.mask && f.let(i32.add(i32.add(at.mask, i32.mul(begin, args.maskRow)), inMask)));
    pack(f, { at: v, rowBytes: vRow, count, columns: valueChannels }, valuePanels, false);
    const toSums = { panels: valuePanels, c: sums, cStride: sumRow, columns: valueChannels, depth: count };
    multiply(f, "weighted", { ...toSums, a: scores, aStride: scoreRow, rows, diagonal });
  }

  /** Scores become weights, row by row. */
  #softmax(rows: Int, { begin, count, diagonal }: Keys, maskRow: Int): void {
    const { f, args } = this;
    const row = f.let(this.#space.scores), sums = f.let(this.#space.sums);
    const peakAt = f.let(this.#space.peaks), totalAt = f.let(this.#space.totals);
    f.for({ to: rows }, (r) => {
      const seen = clamp(f, i32.add(r, diagonal), count);
      const old = f.let(v128.load32_splat(peakAt));
      const top = f.let(f32x4.pmax(old, this.#scaleRow(row, seen, maskRow)));
      const peak = f.let(finitePeak(top));
      const total = f.let(v128.load32_splat(totalAt));
      f.if(i32.and(i32.ne(begin, 0), v128.any_true(f32x4.lt(old, top))), () => {
        const factor = f.let(expOfWeight(f, f.let(f32x4.sub(old, peak))));
        f.set(total, f32x4.mul(total, factor));
        f.for({ to: args.sumRow, step: 16 }, (at) => {
          const sum = f.let(i32.add(sums, at));
          f.do(v128.store(sum, f32x4.mul(v128.load(sum), factor)));
        });
      });
      f.do(v128.store32_lane(peakAt, top, 0));
      f.set(total, f32x4.add(total, this.#expRow(row, seen, peak)));
      f.do(v128.store32_lane(totalAt, total, 0));
      f.increase(row, args.scoreRow);
      f.increase(sums, args.sumRow);
      f.increase(peakAt, 4);
      f.increase(totalAt, 4);
      if (maskRow) f.increase(maskRow, args.maskRow);
    });
  }

  /** Scales and masks a row; what is past its end in the last vector becomes `-Infinity`. The result is its maximum. */
  #scaleRow(row: Int, seen: Int, maskRow: Int): Vector {
    const { f } = this;
    const top = f.let(NOTHING_SEEN);
    eachVector(f, seen, (at, lanes) => {
      const all = scoresAt(f, row, at, this.#scale, this.mask, maskRow);
      const scores = lanes ? f.let(v128.select(lanes, all, NOTHING_SEEN)) : all;
      f.do(v128.store(i32.add(row, at), scores));
      f.set(top, f32x4.pmax(top, scores));
    });
    return acrossLanes(f, top, f32x4.pmax);
  }

  /** `e^(s - peak)` in place of a row's scores; the result is their sum. */
  #expRow(row: Int, seen: Int, peak: Vector): Vector {
    const { f } = this;
    const sum = f.let(f32x4.const(0));
    f.for({ to: f.let(i32.shl(seen, 2)), step: 16 }, (at) => {
      const address = f.let(i32.add(row, at));
      const weights = f.let(expOfWeight(f, f.let(f32x4.sub(v128.load(address), peak))));
      f.do(v128.store(address, weights));
      f.set(sum, f32x4.add(sum, weights));
    });
    endRow(f, row, seen);
    return acrossLanes(f, sum, f32x4.add);
  }

  #finish({ place, count }: Queries): void {
    const { f, args } = this;
    const { peaks, totals } = this.#space;
    const sums = f.let(this.#space.sums), total = f.let(totals);
    const bytes = f.let(i32.shl(args.valueChannels, 2));
    const y = f.let(i32.add(args.y, i32.mul(place, bytes)));
    f.for({ to: count }, () => {
      const inverse = f.let(f32x4.div(f32x4.const(1), divisor(f.let(v128.load32_splat(total)))));
      copyRow(f, y, sums, args.valueChannels, inverse);
      f.increase(y, bytes);
      f.increase(sums, args.sumRow);
      f.increase(total, 4);
    });
    const size = f.let(i32.shl(count, 2));
    f.for({ to: size, step: 16 }, (at) => {
      const address = f.let(i32.add(peaks, at));
      const peak = finitePeak(f.let(v128.load(address)));
      const logTotal = log(f, f.let(divisor(f.let(v128.load(i32.add(totals, at))))));
      f.do(v128.store(address, f32x4.add(peak, logTotal)));
    });
    f.do(memory.copy(i32.add(args.logSum, i32.shl(place, 2)), peaks, size));
  }
}
