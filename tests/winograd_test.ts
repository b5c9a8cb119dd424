/** Winograd's convolutions: every way a tile can lie, forward and both gradients, against the CPU. @module */
import { assert, assertEquals } from "@std/assert";
import { inputWindows } from "../backends/wasm/conv.ts";
import { sizesOf } from "../backends/wasm/direct.ts";
import { createWasm } from "../backends/wasm/mod.ts";
import { planConv } from "../backends/wasm/winograd_conv.ts";
import { filterGradScheme, planFilterGrad } from "../backends/wasm/winograd_filter_grad.ts";
import { schemeOf } from "../backends/wasm/winograd_products.ts";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { f32, tensorOf } from "./cases/case.ts";
import { difference } from "./compare.ts";
import { testOn } from "./devices.ts";
import { wave } from "./random_graphs.ts";

type Pair = readonly [number, number];

interface Row {
  readonly x: readonly [batch: number, channels: number, height: number, width: number];
  readonly filters: number;
  /** 1 and 3 if not given. */
  readonly stride?: Pair;
  readonly kernel?: Pair;
  readonly padding?: readonly [Pair, Pair];
  /** 1e-5 if not given, as for all ops; twice that for sums of many hundred products. */
  readonly relative?: number;
  /** Whether the output and the filters' gradient are computed in stages. */
  readonly stages?: true;
}

const NONE: Pair = [0, 0], ONE: Pair = [1, 1], TWO: Pair = [2, 2], FOUR: Pair = [4, 4];
/** Here with sums of many hundred products. */
const STRIDE_TWO = { kernel: FOUR, stride: TWO, relative: 2e-5 };

const rows: Record<string, Row> = {
  "whole tiles": { x: [1, 8, 14, 18], filters: 8 },
  "part of a tile at both ends": { x: [3, 9, 13, 17], filters: 13, padding: [ONE, ONE] },
  "one place in the last tile": { x: [2, 16, 21, 13], filters: 12, padding: [ONE, ONE] },
  "padding on one side": { x: [2, 11, 12, 15], filters: 8, padding: [[2, 0], [0, 1]] },
  "all the padding there can be": { x: [2, 8, 11, 14], filters: 9, padding: [TWO, TWO] },
  "images of one tile": { x: [37, 16, 4, 4], filters: 24, padding: [ONE, ONE] },
  "blocks that end inside of an image": { x: [5, 16, 24, 12], filters: 16, padding: [ONE, ONE] },
  "filters in several parts": { x: [1, 8, 18, 18], filters: 101 },
  "channels in several parts": { x: [2, 101, 12, 16], filters: 10, padding: [ONE, NONE] },
  "rows of tiles too long for it": { x: [1, 8, 6, 5001], filters: 8 },
  "2x2 filters": { x: [2, 24, 16, 18], filters: 32, kernel: TWO, padding: [ONE, NONE] },
  "stride 2": { x: [10, 33, 14, 30], filters: 41, ...STRIDE_TWO, padding: [ONE, ONE] },
  "stride 2 of odd images": { x: [16, 33, 15, 15], filters: 41, ...STRIDE_TWO, padding: [ONE, TWO] },
  "stride 2 without a border": { x: [10, 33, 16, 32], filters: 41, ...STRIDE_TWO },
  "stride 2 of small images": { x: [40, 33, 8, 8], filters: 41, ...STRIDE_TWO, padding: [ONE, ONE] },
  "stride 2 and phases of 3x3": { x: [4, 20, 17, 20], filters: 24, kernel: [6, 6], stride: TWO, padding: [TWO, ONE] },
  "unequal strides": {
    x: [8, 33, 15, 25],
    filters: 41,
    kernel: [2, 6],
    stride: [1, 3],
    padding: [ONE, ONE],
    relative: 2e-5,
  },
  "filters and channels in several parts": { x: [2, 70, 10, 14], filters: 67, relative: 2e-5 },
  "many channels of small images": {
    x: [3, 132, 5, 7],
    filters: 137,
    padding: [ONE, ONE],
    relative: 2e-5,
    stages: true,
  },
  "stride 2 and many channels": { x: [40, 60, 8, 8], filters: 71, ...STRIDE_TWO, padding: [ONE, ONE], stages: true },
};

/** Output with and without an epilogue, and the gradients. */
async function compute(
  { x: shape, filters, kernel = [3, 3], stride = ONE, padding = [NONE, NONE] }: Row,
  backend: string,
): Promise<Float32Array[]> {
  await tn.use(backend);
  const results = tn.scope(() => {
    const x = tensorOf(f32(shape), 1), w = tensorOf(f32([filters, shape[1], ...kernel]), 2);
    const bias = tensorOf(f32([filters]), 3);
    const run = tn.compile((x: Tensor, w: Tensor, bias: Tensor) => {
      const [y, back] = tn.vjp((x: Tensor, w: Tensor) => tn.conv(x, w, { stride, padding }), [x, w]);
      return [y, tn.relu(tn.conv(x, w, { stride, padding, bias })), ...back(wave(y.shape))];
    });
    return run(x, w, bias);
  });
  const data = await Promise.all(results.map((result) => result.data()));
  for (const result of results) result.dispose();
  return data as Float32Array[];
}

/** Asserts that forward and both gradients of the row are by Winograd's algorithm. */
function assertWinograd({ x, filters, kernel = [3, 3], stride = ONE, padding = [NONE, NONE], stages }: Row): void {
  const [batch, channels, ...image] = x;
  const places = [0, 1].map((i) => {
    const [before, after] = padding[i];
    return Math.floor((image[i] + before + after - kernel[i]) / stride[i]) + 1;
  });
  const sizes = sizesOf(x, [filters, channels, ...kernel], [batch, filters, ...places], 1);
  const windows = inputWindows(sizes, { stride, dilation: ONE, padding, groups: 1 });
  const taps: Pair = [kernel[0] / stride[0], kernel[1] / stride[1]];
  const phase = {
    ...windows,
    places: [Math.floor(image[0] / stride[0]), Math.floor(image[1] / stride[1])] as const,
    kernel: taps,
    step: ONE,
    start: [1 - taps[0], 1 - taps[1]] as const,
  };
  const back = { ...sizes, channels: filters, filters: channels, input: sizes.output };
  const scheme = schemeOf({ sizes, windows }), gradScheme = filterGradScheme({ sizes, windows });
  assert(scheme, "another algorithm would run");
  assert(gradScheme, "another algorithm would compute the filters' gradient");
  const plans = [planConv({ sizes, windows }, scheme), planFilterGrad({ sizes, windows }, gradScheme)];
  if (stages) assertEquals(plans.map((plan) => plan!.stages.length), [3, 3]);
  assert(schemeOf({ sizes: back, windows: phase }), "another algorithm would compute the input's gradient");
}

const NAMES = ["output", "output with bias and relu", "gradient of the input", "gradient of the filters"];

for (const [name, row] of Object.entries(rows)) {
  testOn("wasm", `wasm: winograd of ${name}`, async () => {
    assertWinograd(row);
    const expected = await compute(row, "cpu"), actual = await compute(row, "wasm");
    for (const [i, values] of expected.entries()) {
      const problem = difference(actual[i], values, { relative: row.relative ?? 1e-5 });
      if (problem) throw new Error(`${NAMES[i]}: ${problem}`);
    }
  });
}

for (const threads of [1, 2, 3]) {
  tn.registerBackend(`wasm${threads}`, () => ({ ...createWasm({ threads }), name: `wasm${threads}` }));
}

testOn("wasm", "wasm: winograd computes the same bits on 1, 2 and 3 threads", async () => {
  const ofThree: Row = { x: [6, 16, 27, 22], filters: 40, padding: [ONE, ONE] };
  const ofStrideTwo: Row = { ...ofThree, x: [6, 33, 28, 24], ...STRIDE_TWO };
  const ofStages = rows["stride 2 and many channels"];
  for (const row of [ofThree, ofStrideTwo, ofStages]) {
    assertWinograd(row);
    const one = await compute(row, "wasm1");
    for (const backend of ["wasm2", "wasm3", "wasm3"]) {
      const other = await compute(row, backend);
      one.forEach((values, i) => assert(values.every((value, k) => Object.is(value, other[i][k])), NAMES[i]));
    }
  }
});
