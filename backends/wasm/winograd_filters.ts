/**
 * `U = G g Gᵀ` of all filters: `[filters, positions, phases, channels]`.
 *
 * @module
 */
import type { Func, Int, Local } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import { type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import { loadLanes, v128 } from "./simd.ts";
import { both, type Scheme } from "./winograd.ts";
import type { ConvShape } from "./winograd_products.ts";

/** Where filters are. */
export interface Filters {
  /** The first filter's tap for the first pixel of a window. */
  readonly ref: Ref;
  /** Elements from filter to filter and from channel to channel. */
  readonly filterStride: number;
  readonly channelStride: number;
  /** Elements from tap to tap of a phase, down and across; negative where taps run backwards. */
  readonly tapStride: Pair;
}

type Pair = readonly [number, number];

/** Elements from the first to each of `count` rows by columns that are `stride` elements apart. */
export function offsetsOf(count: Pair, stride: Pair): number[] {
  const rows = Array.from({ length: count[0] }, (_, row) => row * stride[0]);
  return rows.flatMap((row) => Array.from({ length: count[1] }, (_, column) => row + column * stride[1]));
}

const ARGS = ["w", "u", "channels", "filterBytes", "channelBytes", "rowBytes", "positionBytes"] as const;
type Args = Readonly<Record<typeof ARGS[number], Int>>;

/** Nanoseconds that one filter of one channel takes. */
const COST = 20;

/** The calls that transform filters to `u`, whose rows and positions are so many bytes apart. */
export function transformFilters(
  name: string,
  scheme: Scheme,
  { sizes: { filters, channels }, windows: { step }, filters: { ref, filterStride, channelStride, tapStride } }:
    & ConvShape
    & { readonly filters: Filters },
  u: Ref,
  { rowBytes, positionBytes }: { readonly rowBytes: number; readonly positionBytes: number },
): Call[] {
  const bytes = { filterBytes: 4 * filterStride, channelBytes: 4 * channelStride, rowBytes, positionBytes };
  const taps = offsetsOf([scheme.taps, scheme.taps], tapStride), lowest = Math.min(...taps);
  const phases = offsetsOf(step, [tapStride[0] / step[0], tapStride[1] / step[1]]);
  // in order: the last vector of a phase may reach into the next
  return phases.map((first, phase) => ({
    name,
    kernel: filterKernel(scheme, taps.map((tap) => tap - lowest)),
    args: {
      w: { ...ref, offset: ref.offset + 4 * (first + lowest) },
      u: { ...u, offset: u.offset + 4 * phase * channels },
      channels,
      ...bytes,
    },
    total: filters,
    chunk: chunkOf(filters, COST * channels),
  }));
}

/** One item is one filter, four channels at once. */
function filterKernel({ taps: count, filter: transform }: Scheme, taps: readonly number[]): Kernel {
  return kernel(`winograd filters ${taps}`, ARGS, ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (filter) => {
      const from = f.let(i32.add(args.w, i32.mul(filter, args.filterBytes)));
      const row = f.let(i32.add(args.u, i32.mul(filter, args.rowBytes)));
      f.for({ to: args.channels, step: 4 }, (channel) => {
        const values = fourChannels(f, args, taps, from, channel);
        const square = Array.from({ length: count }, (_, u) => values.slice(u * count, (u + 1) * count));
        const to = f.let(i32.add(row, i32.shl(channel, 2)));
        for (const value of both(f, transform, square).flat()) {
          f.do(v128.store(to, value));
          f.increase(to, args.positionBytes);
        }
      });
    });
  });
}

/** The taps of four channels; past the last channel those of the last again. */
function fourChannels(
  f: Func,
  args: Args,
  taps: readonly number[],
  filter: Int,
  channel: Int,
): Local<"v128">[] {
  const last = f.let(i32.sub(args.channels, 1));
  const lanes = [0, 1, 2, 3].map((lane) => {
    const index = i32.min_u(f.let(i32.add(channel, lane)), last);
    return f.let(i32.add(filter, i32.mul(index, args.channelBytes)));
  });
  return taps.map((tap) => loadLanes(f, lanes, () => 4 * tap));
}
