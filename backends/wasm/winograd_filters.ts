/**
 * `U = G g Gᵀ` of all filters: `[36, filters, channels]`.
 *
 * @module
 */
import type { Func, Local } from "./assembler.ts";
import { i32 } from "./instructions.ts";
import { type Call, chunkOf, type Kernel, kernel, type Ref } from "./kernel.ts";
import { v128 } from "./simd.ts";
import { both, filterTransform, TAPS } from "./winograd.ts";

/** 3x3 filters in memory. */
export interface Filters {
  readonly ref: Ref;
  readonly filters: number;
  readonly channels: number;
  /** Elements from filter to filter and from channel to channel. */
  readonly filterStride: number;
  readonly channelStride: number;
  /** Whether the taps run backwards. */
  readonly backwards: boolean;
}

const ARGS = ["w", "u", "channels", "filterBytes", "channelBytes", "rowBytes", "positionBytes"] as const;
type Args = Readonly<Record<typeof ARGS[number], Local<"i32">>>;

/** Nanoseconds that one filter of one channel takes. */
const COST = 20;

/** The call that transforms filters to `u`, whose rows and positions are so many bytes apart. */
export function transformFilters(
  name: string,
  { ref, filters, channels, filterStride, channelStride, backwards }: Filters,
  u: Ref,
  { rowBytes, positionBytes }: { readonly rowBytes: number; readonly positionBytes: number },
): Call {
  const bytes = { filterBytes: 4 * filterStride, channelBytes: 4 * channelStride, rowBytes, positionBytes };
  return {
    name,
    kernel: backwards ? backwardsKernel : forwardsKernel,
    args: { w: ref, u, channels, ...bytes },
    total: filters,
    chunk: chunkOf(filters, COST * channels),
  };
}

const forwardsKernel = filterKernel(false), backwardsKernel = filterKernel(true);

/** One item is one filter, four channels at once. */
function filterKernel(backwards: boolean): Kernel {
  return kernel(`winograd filters${backwards ? " backwards" : ""}`, ARGS, ({ f, args, begin, end }) => {
    f.for({ from: begin, to: end }, (filter) => {
      const from = f.let(i32.add(args.w, i32.mul(filter, args.filterBytes)));
      const row = f.let(i32.add(args.u, i32.mul(filter, args.rowBytes)));
      f.for({ to: args.channels, step: 4 }, (channel) => {
        const taps = fourChannels(f, args, from, channel);
        if (backwards) taps.reverse();
        const square = [0, 1, 2].map((u) => taps.slice(u * TAPS, (u + 1) * TAPS));
        const to = f.let(i32.add(row, i32.shl(channel, 2)));
        for (const value of both(f, filterTransform, square).flat()) {
          f.do(v128.store(to, value));
          f.increase(to, args.positionBytes);
        }
      });
    });
  });
}

/** The taps of four channels; past the last channel those of the last again. */
function fourChannels(f: Func, args: Args, filter: Local<"i32">, channel: Local<"i32">): Local<"v128">[] {
  const last = f.let(i32.sub(args.channels, 1));
  const lanes = [0, 1, 2, 3].map((lane) => {
    const index = i32.min_u(f.let(i32.add(channel, lane)), last);
    return f.let(i32.add(filter, i32.mul(index, args.channelBytes)));
  });
  return Array.from({ length: TAPS * TAPS }, (_, tap) => {
    const taps = f.let(v128.load32_zero(lanes[0], 4 * tap));
    for (let lane = 1; lane < 4; lane++) f.set(taps, v128.load32_lane(lanes[lane], taps, lane, 4 * tap));
    return taps;
  });
}
