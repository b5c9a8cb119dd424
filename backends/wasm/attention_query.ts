/**
 * The kernel of attention for a few queries, as when a text is written token by token: one work item is one query, and
 * keys and values are read where they are. Keys that a boolean mask hides are not read at all.
 *
 * ```text
 *  s_j = scale · q·k_j      for keys j, into scratch memory
 *  p = e^(s - max s)        y = Σ p_j v_j / Σ p      logSum = max s + log Σ p
 * ```
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import {
  acrossLanes,
  type Args,
  clamp,
  divisor,
  finitePeak,
  keyOf,
  type MaskShape,
  moveToBatch,
  NOTHING_SEEN,
  spaceOf,
} from "./attention_block.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { expOfWeight, log, type Vector } from "./math.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

/** Vectors of a dot product, and of a sum of values, that are under way at once. */
const DOT_VECTORS = 4, SUM_VECTORS = 8;

/** The kernel for a number of batch axes and a kind of mask; `names` are the arguments. */
export function queryKernel(names: readonly string[], axes: number, mask: MaskShape): Kernel {
  return kernel(keyOf("attention of a query", names, axes, mask), names, ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (item) => writeQuery(f, args, axes, mask, item));
  });
}

/** One query of one batch: where its operands are. */
interface Query {
  readonly q: Int;
  readonly k: Int;
  readonly v: Int;
  readonly mask: Int;
  /** How many keys it may see, and where their scores go. */
  readonly seen: Int;
  readonly scores: Int;
}

function writeQuery(f: Func, args: Args, axes: number, mask: MaskShape, item: Int): void {
  const batch = f.let(i32.div_u(item, args.queries)), row = f.let(i32.rem_u(item, args.queries));
  const names = ["q", "k", "v", ...(mask.kind === "none" ? [] : ["mask"])];
  const at = moveToBatch(f, args, axes, names, batch);
  const query: Query = {
    q: f.let(i32.add(at.q, i32.mul(row, args.qRow))),
    k: at.k,
    v: at.v,
    mask: f.let(mask.kind === "none" ? i32.const(0) : i32.add(at.mask, i32.mul(row, args.maskRow))),
    seen: clamp(f, i32.add(row, args.offset), args.keys),
    scores: spaceOf(f, args, ["scores"], item).scores,
  };
  const { top, last } = writeScores(f, args, mask, query);
  const peak = f.let(finitePeak(top));
  const total = writeWeights(f, query.scores, last, peak);
  const sum = f.let(divisor(total));
  const y = f.let(i32.add(args.y, i32.shl(i32.mul(item, args.valueChannels), 2)));
  writeValues(f, args, query, last, y, f.let(f32x4.div(f32x4.const(1), sum)));
  const logSum = f.let(f32x4.add(peak, log(f, sum)));
  f.do(v128.store32_lane(i32.add(args.logSum, i32.shl(item, 2)), logSum, 0));
}

/** The scores of all keys, `-Infinity` for the hidden ones; their maximum, and the end of the keys that are not hidden. */
function writeScores(f: Func, args: Args, mask: MaskShape, query: Query): { top: Vector; last: Int } {
  const { k, scores, seen } = query;
  const top = f.let(NOTHING_SEEN), last = f.let(i32.const(0)), score = f.local("v128");
  const scale = f.let(i32x4.splat(args.scale));
  f.for({ to: seen }, (j) => {
    const masked = f.let(mask.step === 1 ? i32.add(query.mask, i32.shl(j, 2)) : query.mask);
    const visible = mask.kind === "bool" ? i32.load(masked) : i32.const(1);
    f.set(score, NOTHING_SEEN);
    f.if(visible, () => {
      f.set(score, f32x4.mul(writeDot(f, query.q, f.let(i32.add(k, i32.mul(j, args.kRow))), args.channels), scale));
      if (mask.kind === "add") f.set(score, f32x4.add(score, v128.load32_splat(masked)));
      f.set(top, f32x4.pmax(top, score));
      f.set(last, i32.add(j, 1));
    });
    f.do(v128.store32_lane(i32.add(scores, i32.shl(j, 2)), score, 0));
  });
  return { top, last };
}

/** The dot product of `count` floats at `a` and `b`, in each lane. */
function writeDot(f: Func, a: Int, b: Int, count: Int): V128 {
  const sums = Array.from({ length: DOT_VECTORS }, () => f.let(f32x4.const(0)));
  const at = f.let(i32.const(0));
  const both = (load: (address: Expr<"i32">, offset?: number) => V128, sum: Vector, offset = 0) =>
    f.set(sum, f.madd(load(i32.add(a, at), offset), load(i32.add(b, at), offset), sum));
  f.count(at, { to: f.let(i32.shl(i32.and(count, -4 * DOT_VECTORS), 2)), step: 16 * DOT_VECTORS }, () => {
    sums.forEach((sum, i) => both(v128.load, sum, 16 * i));
  });
  f.count(at, { to: f.let(i32.shl(i32.and(count, -4), 2)), step: 16 }, () => both(v128.load, sums[0]));
  f.count(at, { to: f.let(i32.shl(count, 2)), step: 4 }, () => both(v128.load32_zero, sums[1]));
  return acrossLanes(f, f.let(sums.reduce<V128>((sum, next) => f32x4.add(sum, next), f32x4.const(0))), f32x4.add);
}

/** Weights in place of the first `last` scores; the result is their sum. */
function writeWeights(f: Func, scores: Int, last: Int, peak: Vector): Vector {
  const sum = f.let(f32x4.const(0)), bytes = f.let(i32.shl(last, 2));
  f.do(v128.store(i32.add(scores, bytes), NOTHING_SEEN)); // the last vector may not be whole
  f.for({ to: bytes, step: 16 }, (at) => {
    const address = f.let(i32.add(scores, at));
    const weights = f.let(expOfWeight(f, f.let(f32x4.sub(v128.load(address), peak))));
    f.do(v128.store(address, weights));
    f.set(sum, f32x4.add(sum, weights));
  });
  return acrossLanes(f, sum, f32x4.add);
}

/** `y = factor · Σ p_j v_j`, a few vectors of channels at a time. */
function writeValues(f: Func, { vRow, valueChannels }: Args, query: Query, last: Int, y: Int, factor: Vector): void {
  const at = f.let(i32.const(0));
  const columns = (vectors: number, one: boolean) => {
    const sums = Array.from({ length: vectors }, () => f.let(f32x4.const(0)));
    const weight = f.let(query.scores), v = f.let(i32.add(query.v, at));
    f.for({ to: last }, () => {
      const p = f.let(v128.load32_splat(weight));
      sums.forEach((sum, i) => f.set(sum, f.madd(p, one ? v128.load32_zero(v) : v128.load(v, 16 * i), sum)));
      f.increase(weight, 4);
      f.increase(v, vRow);
    });
    sums.forEach((sum, i) => {
      const to = i32.add(y, at), result = f.let(f32x4.mul(sum, factor));
      f.do(one ? v128.store32_lane(to, result, 0) : v128.store(to, result, 16 * i));
    });
  };
  const step = 4 * SUM_VECTORS;
  f.count(
    at,
    { to: f.let(i32.shl(i32.and(valueChannels, -step), 2)), step: 4 * step },
    () => columns(SUM_VECTORS, false),
  );
  f.count(at, { to: f.let(i32.shl(i32.and(valueChannels, -4), 2)), step: 16 }, () => columns(1, false));
  f.count(at, { to: f.let(i32.shl(valueChannels, 2)), step: 4 }, () => columns(1, true));
}
