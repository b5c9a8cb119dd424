/** Winograd's convolutions: every way a tile can lie, forward and both gradients, against the CPU. @module */
import { assert } from "@std/assert";
import { sizesOf } from "../backends/wasm/direct.ts";
import { createWasm } from "../backends/wasm/mod.ts";
import { paysOff } from "../backends/wasm/winograd_products.ts";
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
  readonly padding?: readonly [Pair, Pair];
  /** 1e-5 if not given, as for all ops; twice that for sums of many hundred products. */
  readonly relative?: number;
}

const NONE: Pair = [0, 0], ONE: Pair = [1, 1], TWO: Pair = [2, 2];

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
  "filters and channels in several parts": { x: [2, 70, 10, 14], filters: 67, relative: 2e-5 },
};

/** Output with and without an epilogue, and the gradients. */
async function compute({ x: shape, filters, padding = [NONE, NONE] }: Row, backend: string): Promise<Float32Array[]> {
  await tn.use(backend);
  const results = tn.scope(() => {
    const x = tensorOf(f32(shape), 1), w = tensorOf(f32([filters, shape[1], 3, 3]), 2);
    const bias = tensorOf(f32([filters]), 3);
    const run = tn.compile((x: Tensor, w: Tensor, bias: Tensor) => {
      const [y, back] = tn.vjp((x: Tensor, w: Tensor) => tn.conv(x, w, { padding }), [x, w]);
      return [y, tn.relu(tn.conv(x, w, { padding, bias })), ...back(wave(y.shape))];
    });
    return run(x, w, bias);
  });
  const data = await Promise.all(results.map((result) => result.data()));
  for (const result of results) result.dispose();
  return data as Float32Array[];
}

const NAMES = ["output", "output with bias and relu", "gradient of the input", "gradient of the filters"];

for (const [name, row] of Object.entries(rows)) {
  testOn("wasm", `wasm: winograd of ${name}`, async () => {
    const { x: [batch, channels, height, width], filters, padding = [NONE, NONE] } = row;
    const [top, left] = [padding[0][0] + padding[0][1] - 2, padding[1][0] + padding[1][1] - 2];
    const places: Pair = [height + top, width + left];
    const sizes = sizesOf(row.x, [filters, channels, 3, 3], [batch, filters, ...places], 1);
    const attrs = { stride: ONE, dilation: ONE, padding, groups: 1 };
    assert(paysOff(sizes, places, attrs) && paysOff(sizes, [height, width], attrs), "another algorithm would run");
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
  const row: Row = { x: [6, 16, 27, 22], filters: 40, padding: [ONE, ONE] };
  const [one, ...others] = [
    await compute(row, "wasm1"),
    ...[await compute(row, "wasm2"), await compute(row, "wasm3"), await compute(row, "wasm3")],
  ];
  for (const other of others) {
    one.forEach((values, i) => assert(values.every((value, k) => Object.is(value, other[i][k])), NAMES[i]));
  }
});
