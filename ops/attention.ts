/**
 * Scaled dot-product attention as one op, with its gradient as another (Vaswani et al. 2017, arXiv:1706.03762).
 *
 * Besides its value, the op gives every row's `log Σ eˢ` of the scores `s`: with it the gradient op computes the weights
 * again piece by piece, so that a backend's kernels need never hold the `[T, S]` matrix (Dao 2023, arXiv:2307.08691).
 * Shapes: q `[..., T, D]`, k `[..., S, D]`, v `[..., S, E]`; T queries, S keys, D and E channels.
 *
 * @module
 */
import { FLOATS, requireDType } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { bindAll, type Op, requireSameDType } from "../core/op.ts";
import { scope } from "../core/scope.ts";
import { broadcastShapes, sameShape, show, type Spec } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { iota } from "./create.ts";
import { add, div, equal, exp, greaterEqual, log, mul, sub, where } from "./elementwise.ts";
import { max } from "./extremum.ts";
import { matmul } from "./matmul.ts";
import { sum, sumTo } from "./reduce.ts";
import { broadcastTo, expandDims, reshape, slice, squeeze } from "./shape.ts";

/** Attributes of {@linkcode attentionOp} and {@linkcode attentionGradOp}. */
export interface AttentionAttrs {
  /** Query i sees the keys up to `i + S - T`: the last query sees all. */
  readonly causal: boolean;
  /** Factor of `q·kᵀ`. */
  readonly scale: number;
  /** What the fourth input is: absent, true where a query may look, or added to the scores. */
  readonly masked: "none" | "bool" | "add";
}

/** `scale · q·kᵀ`, plus the mask: `[..., T, S]`, `-Infinity` where a query may not look. */
function scoresOf(q: Tensor, k: Tensor, mask: Tensor | null, { causal, scale }: AttentionAttrs): Tensor {
  let scores = mul(matmul(q, k, { transposeB: true }), scale);
  if (mask) scores = mask.dtype === "bool" ? where(mask, scores, -Infinity) : add(scores, mask);
  return causal ? where(causalMask(scores), scores, -Infinity) : scores;
}

/** Where key j is at most `i + S - T` for query i, in the shape of the scores: a comparison of two views of one count. */
function causalMask({ shape, backend }: Tensor): Tensor {
  const [T, S] = shape.slice(-2), count = iota([Math.max(T, S)], 0, "i32", backend);
  const row = reshape(slice(count, Math.max(S - T, 0), Math.max(T, S)), [T, 1]);
  const column = slice(count, Math.max(T - S, 0), Math.max(T, S));
  return greaterEqual(broadcastTo(row, shape), broadcastTo(column, shape));
}

const ROW = { axis: -1, keepDims: true } as const;

/** `(q, k, v, mask?) -> (y, logSum)` with `y = softmax(scores)·v` and `logSum [..., T]`, both 0 where all is masked. */
export const attentionOp: Op<number, AttentionAttrs, 2> = {
  name: "attention",
  infer(inputs, attrs) {
    const [q, , v] = inputs;
    validate(inputs, attrs);
    const rows = q.shape.slice(0, -1);
    return [{ shape: [...rows, v.shape[v.shape.length - 1]], dtype: q.dtype }, { shape: rows, dtype: q.dtype }];
  },
  body([q, k, v, mask = null], attrs) {
    const scores = scoresOf(q, k, mask, attrs);
    const top = max(scores, ROW);
    const peak = where(equal(top, -Infinity), 0, top); // a row with nothing to see has weights of 0, not NaN
    const weights = exp(sub(scores, peak)), total = sum(weights, ROW);
    const divisor = where(equal(total, 0), 1, total);
    return [matmul(div(weights, divisor), v), squeeze(add(peak, log(divisor)), -1)];
  },
  // with p = softmax(s), s = scores:  ds = p · (dp - Σ dp·p + dlogSum) and dp = dy·vᵀ, so that Σ dp·p = Σ dy·y
  vjp({ inputs, output: [y, logSum], grad: [dy, dlogSum], attrs, wanted }) {
    const [q, k, v, mask = null] = inputs;
    const delta = sub(sum(mul(dy, y), { axis: -1 }), dlogSum);
    const [dq, dk, dv] = bindAll(attentionGradOp, [...inputs, logSum, delta, dy], attrs);
    if (!mask) return [dq, dk, dv];
    if (!wanted[3]) return [dq, dk, dv, null];
    const { ds } = weightGrad(q, k, v, mask, logSum, delta, dy, attrs);
    return [dq, dk, dv, sumTo(ds, mask.shape)];
  },
};

/** The weights `p` again, and the gradient of the scores. */
function weightGrad(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | null,
  logSum: Tensor,
  delta: Tensor,
  dy: Tensor,
  attrs: AttentionAttrs,
): { p: Tensor; ds: Tensor } {
  const p = exp(sub(scoresOf(q, k, mask, attrs), expandDims(logSum, -1))); // [..., T, S]
  const dp = matmul(dy, v, { transposeB: true }); // [..., T, S]
  return { p, ds: mul(p, sub(dp, expandDims(delta, -1))) };
}

/**
 * `(q, k, v, mask?, logSum, delta, dy) -> (dq, dk, dv)`, where `delta [..., T]` is `Σ dy·y`: with
 * `ds = p · (dy·vᵀ - delta)`, `dq = scale · ds·k`, `dk = scale · dsᵀ·q` and `dv = pᵀ·dy`.
 */
export const attentionGradOp: Op<number, AttentionAttrs, 3> = {
  name: "attentionGrad",
  infer: ([q, k, v]) => [q, k, v].map(({ shape, dtype }) => ({ shape, dtype })) as [Spec, Spec, Spec],
  body(inputs, attrs) {
    const [q, k, v] = inputs, mask = attrs.masked === "none" ? null : inputs[3];
    const [logSum, delta, dy] = inputs.slice(-3);
    const { p, ds } = weightGrad(q, k, v, mask, logSum, delta, dy, attrs);
    return [
      mul(matmul(ds, k), attrs.scale),
      mul(matmul(ds, q, { transposeA: true }), attrs.scale),
      matmul(p, dy, { transposeA: true }),
    ];
  },
};

function validate([q, k, v, mask]: readonly Spec[], { masked }: AttentionAttrs): void {
  requireDType("attention", q.dtype, FLOATS);
  requireSameDType("attend with", q, k);
  requireSameDType("attend with", q, v);
  const shapes = `Cannot attend with queries ${show(q.shape)}, keys ${show(k.shape)} and values ${show(v.shape)}`;
  if ([q, k, v].some(({ shape }) => shape.length < 2)) throw new ShapeError(`${shapes}: each needs at least 2 axes`);
  const lead = q.shape.slice(0, -2), [T, D] = q.shape.slice(-2), [S, channels] = k.shape.slice(-2);
  if (channels !== D) throw new ShapeError(`${shapes}: queries have ${D} channels, keys ${channels}`);
  if (v.shape[v.shape.length - 2] !== S) {
    throw new ShapeError(`${shapes}: there are ${S} keys and ${v.shape[v.shape.length - 2]} values`);
  }
  if (!sameShape(k.shape.slice(0, -2), lead) || !sameShape(v.shape.slice(0, -2), lead)) {
    throw new ShapeError(`${shapes}: their leading axes differ`);
  }
  if (!mask) return;
  const full = [...lead, T, S];
  const fits = mask.shape.length <= full.length &&
    mask.shape.every((n, i) => n === 1 || n === full[full.length - mask.shape.length + i]);
  if (!fits) {
    throw new ShapeError(`Cannot attend with a mask of shape ${show(mask.shape)}: it must broadcast to ${show(full)}`);
  }
  if (masked === "add" && mask.dtype !== q.dtype) {
    throw new DTypeError(`Cannot attend with a mask of ${mask.dtype}: it must be bool, or ${q.dtype} to be added`);
  }
}

/** How to attend. */
export interface AttentionOptions {
  /** Query i sees the keys up to `i + S - T` only, so that the last query sees all; false by default. */
  readonly causal?: boolean;
  /** Broadcasts to `[..., T, S]`: bool, true where a query may look; or of the queries' dtype, added to the scores. */
  readonly mask?: Tensor;
  /** Factor of `q·kᵀ`; `1 / √D` by default. */
  readonly scale?: number;
}

/**
 * Scaled dot-product attention: `softmax(scale · q·kᵀ + mask)·v`. Heads are leading axes.
 *
 * @param q Queries, `[..., T, D]`, f32 or f16.
 * @param k Keys, `[..., S, D]`; leading axes broadcast.
 * @param v Values, `[..., S, E]`; leading axes broadcast.
 * @returns `[..., T, E]`. A query that may look nowhere gets 0.
 * @throws {ShapeError} If shapes do not fit.
 * @throws {DTypeError} If the mask is neither bool nor of the queries' dtype.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * const q = tn.zeros([1, 3, 2]), k = tn.zeros([1, 3, 2]); // all scores are equal
 * const v = tn.tensor([[[2], [4], [6]]]);
 * assertEquals([...await tn.attention(q, k, v, { causal: true }).data()].map(Math.round), [2, 3, 4]);
 * ```
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const { causal = false, mask, scale = 1 / Math.sqrt(q.shape[q.rank - 1] ?? 1) } = options;
  const masked = !mask ? "none" : mask.dtype === "bool" ? "bool" : "add";
  const leads = [q, k, v].map(({ shape }) => shape.slice(0, -2));
  const lead = broadcastShapes("attend with leading axes", ...leads);
  return scope(() => {
    const wide = [q, k, v].map((x, i) => {
      return sameShape(leads[i], lead) || x.rank < 2 ? x : broadcastTo(x, [...lead, ...x.shape.slice(-2)]);
    });
    return bindAll(attentionOp, mask ? [...wide, mask] : wide, { causal, scale, masked })[0];
  });
}
