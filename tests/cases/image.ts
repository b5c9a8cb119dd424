/** Rows for convolution, pooling and upsampling. @module */
import * as tn from "../../mod.ts";
import { type Case, EXACT, f32 } from "./case.ts";

function conv(name: string, x: number[], w: number[], out: string, options: tn.ConvOptions = {}, order?: 2): Case {
  return { name, inputs: [f32(x), f32(w)], run: (a, b) => tn.conv(a, b, options), gives: `f32[${out}]`, order };
}

function convTranspose(
  name: string,
  x: number[],
  w: number[],
  out: string,
  options: tn.ConvTransposeOptions = {},
): Case {
  return { name, inputs: [f32(x), f32(w)], run: (a, b) => tn.convTranspose(a, b, options), gives: `f32[${out}]` };
}

function maxPool(
  name: string,
  x: number[],
  size: number | number[],
  out: string,
  options: tn.MaxPoolOptions = {},
): Case {
  return {
    name,
    inputs: [f32(x, "distinct")],
    run: (a) => tn.maxPool(a, size, options),
    gives: `f32[${out}]`,
    tolerance: EXACT,
  };
}

function avgPool(
  name: string,
  x: number[],
  size: number | number[],
  out: string,
  options: tn.AvgPoolOptions = {},
): Case {
  return { name, inputs: [f32(x)], run: (a) => tn.avgPool(a, size, options), gives: `f32[${out}]` };
}

function upsample(name: string, x: number[], options: tn.UpsampleOptions, out: string): Case {
  return { name, inputs: [f32(x)], run: (a) => tn.upsample(a, options), gives: `f32[${out}]` };
}

export const image = {
  conv: [
    conv("1d", [2, 3, 11], [4, 3, 5], "2,4,7"),
    conv("1d strided, dilated, padded", [2, 3, 13], [5, 3, 4], "2,5,5", { stride: 3, dilation: 2, padding: 4 }),
    conv("2d", [2, 3, 7, 8], [5, 3, 2, 4], "2,5,6,5", {}, 2),
    conv("2d 1x1", [2, 3, 5, 7], [4, 3, 1, 1], "2,4,5,7"),
    conv("2d same", [1, 2, 5, 7], [3, 2, 3, 4], "1,3,5,7", { padding: "same" }),
    conv("2d stride [2,3]", [2, 3, 9, 10], [4, 3, 3, 5], "2,4,5,4", { stride: [2, 3], padding: [1, 2] }, 2),
    conv("2d one-sided padding, dilation", [1, 2, 6, 9], [3, 2, 2, 3], "1,3,6,7", {
      padding: [[2, 0], [1, 1]],
      dilation: [2, 2],
    }),
    conv("2d groups 2", [2, 4, 5, 7], [6, 2, 3, 2], "2,6,3,6", { groups: 2 }),
    conv("2d depthwise", [1, 5, 6, 7], [5, 1, 3, 3], "1,5,3,4", { stride: 2, padding: 1, groups: 5 }),
    conv("off the tiles", [1, 17, 9, 11], [33, 17, 3, 3], "1,33,9,11", { padding: 1 }),
    {
      name: "bias",
      inputs: [f32([2, 3, 5, 4]), f32([6, 3, 2, 2]), f32([6])],
      run: (x, w, bias) => tn.conv(x, w, { bias }),
      gives: "f32[2,6,4,3]",
    },
    {
      name: "channels differ",
      inputs: [f32([2, 3, 5, 5]), f32([4, 2, 3, 3])],
      run: (x, w) => tn.conv(x, w),
      throws: "ShapeError: Cannot convolve [2,3,5,5] with [4,2,3,3]: the input has 3 channels, the filter takes 2",
    },
  ],
  convTranspose: [
    convTranspose("1d", [2, 3, 5], [3, 4, 2], "2,4,6"),
    convTranspose("1d strided", [2, 3, 5], [3, 2, 4], "2,2,16", { stride: 3, padding: 1, outputPadding: 2 }),
    convTranspose("2d", [1, 3, 4, 5], [3, 2, 3, 6], "1,2,8,16", {
      stride: [2, 3],
      padding: [1, 2],
      outputPadding: [1, 2],
    }),
    convTranspose("2d groups, dilation", [2, 4, 3, 5], [4, 3, 2, 3], "2,6,8,13", {
      stride: 2,
      dilation: [3, 2],
      groups: 2,
    }),
  ],
  maxPool: [
    maxPool("1d", [2, 3, 11], 3, "2,3,3"),
    maxPool("2d", [1, 2, 6, 8], 2, "1,2,3,4"),
    maxPool("overlapping, padded", [2, 3, 7, 9], [3, 4], "2,3,4,4", { stride: [2, 3], padding: [1, 2] }),
    maxPool("dilated", [1, 2, 9, 10], [2, 3], "1,2,4,6", { stride: [2, 1], dilation: [3, 2], padding: [1, 0] }),
    maxPool("ceil", [1, 2, 6, 7], 3, "1,2,3,3", { stride: 2, ceilMode: true }),
  ],
  avgPool: [
    avgPool("1d padded", [2, 3, 10], 3, "2,3,5", { stride: 2, padding: 1 }),
    avgPool("2d", [1, 2, 6, 8], [2, 3], "1,2,3,2"),
    avgPool("padding not counted", [1, 2, 7, 9], [3, 4], "1,2,4,4", {
      stride: [2, 3],
      padding: [1, 2],
      countIncludePad: false,
    }),
    avgPool("ceil", [1, 2, 7, 8], [3, 4], "1,2,3,3", { stride: [3, 3], padding: 1, ceilMode: true }),
  ],
  globalAvgPool: [{ name: "2d", inputs: [f32([2, 3, 5, 7])], run: (x) => tn.globalAvgPool(x), gives: "f32[2,3,1,1]" }],
  upsample: [
    upsample("nearest 1d", [2, 3, 5], { scale: 2 }, "2,3,10"),
    upsample("nearest [2,3]", [1, 2, 3, 4], { scale: [2, 3], mode: "nearest" }, "1,2,6,12"),
    upsample("bilinear", [1, 2, 3, 4], { scale: [3, 2], mode: "bilinear" }, "1,2,9,8"),
  ],
} satisfies Record<string, Case[]>;
