/** Rows for gathering, scattering and sorting. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { type Case, EXACT, f16, f32, i32, u32 } from "./case.ts";

/** Of five places: two counted from the front, one from the end, one beyond each end. */
const OUTSIDE = { exactly: [0, -2, 4, 5, -6] };

export const index = {
  gather: [
    {
      name: "rows",
      inputs: [f32([5, 3]), i32([7], [0, 5])],
      run: (x, i) => tn.gather(x, i),
      gives: "f32[7,3]",
      tolerance: EXACT,
    },
    {
      name: "a matrix of indices",
      inputs: [f32([2, 5]), i32([3, 4], [0, 5])],
      run: (x, i) => tn.gather(x, i, { axis: 1 }),
      gives: "f32[2,3,4]",
      tolerance: EXACT,
    },
    { name: "one index", inputs: [i32([5, 3]), i32([], [0, 5])], run: (x, i) => tn.gather(x, i), gives: "i32[3]" },
    {
      name: "outside",
      inputs: [f32([5, 2]), i32([5], OUTSIDE)],
      run: (x, i) => tn.gather(x, i),
      gives: "f32[5,2]",
      order: 0,
      tolerance: EXACT,
    },
    {
      name: "no indices",
      inputs: [f32([5, 3]), i32([0])],
      run: (x, i) => tn.gather(x, i),
      gives: "f32[0,3]",
      order: 0,
    },
    {
      name: "indices that are no integers",
      inputs: [f32([5, 3]), f32([2])],
      run: (x, i) => tn.gather(x, i),
      throws: "DTypeError: Cannot gather with indices of f32: they must be i32",
    },
  ],
  gatherElements: [
    {
      name: "axis 0",
      inputs: [f32([5, 3]), i32([2, 3], [0, 5])],
      run: (x, i) => tn.gatherElements(x, i),
      gives: "f32[2,3]",
      tolerance: EXACT,
    },
    {
      name: "axis 1",
      inputs: [f32([3, 5]), i32([3, 17], [0, 5])],
      run: (x, i) => tn.gatherElements(x, i, { axis: 1 }),
      gives: "f32[3,17]",
      tolerance: EXACT,
    },
    { name: "outside", inputs: [i32([5]), i32([5], OUTSIDE)], run: (x, i) => tn.gatherElements(x, i), gives: "i32[5]" },
  ],
  scatterAdd: [
    {
      name: "axis 0",
      inputs: [f32([5, 3]), i32([7, 3], [0, 5]), f32([7, 3])],
      run: (x, i, u) => tn.scatterAdd(x, i, u),
      gives: "f32[5,3]",
    },
    {
      name: "axis 1",
      inputs: [f32([2, 5]), i32([2, 3], [0, 5]), f32([2, 3])],
      run: (x, i, u) => tn.scatterAdd(x, i, u, { axis: 1 }),
      gives: "f32[2,5]",
    },
    {
      name: "i32",
      inputs: [i32([5]), i32([17], [0, 5]), i32([17])],
      run: (x, i, u) => tn.scatterAdd(x, i, u),
      gives: "i32[5]",
    },
    {
      name: "outside",
      inputs: [f32([5]), i32([5], OUTSIDE), f32([5])],
      run: (x, i, u) => tn.scatterAdd(x, i, u),
      gives: "f32[5]",
      order: 0,
    },
  ],
  indexAdd: [
    {
      name: "axis 0",
      inputs: [f32([5, 3]), i32([7], [0, 5]), f32([7, 3])],
      run: (x, i, u) => tn.indexAdd(x, i, u),
      gives: "f32[5,3]",
    },
    {
      name: "axis 1",
      inputs: [f32([2, 5, 3]), i32([4], [0, 5]), f32([2, 4, 3])],
      run: (x, i, u) => tn.indexAdd(x, i, u, { axis: 1 }),
      gives: "f32[2,5,3]",
    },
    {
      name: "u32",
      inputs: [u32([5]), i32([7], [0, 5]), u32([7])],
      run: (x, i, u) => tn.indexAdd(x, i, u),
      gives: "u32[5]",
    },
  ],
  updateSlice: [
    {
      name: "axis 1",
      inputs: [f32([2, 5, 3]), f32([2, 2, 3]), i32([], [1, 2])],
      run: (x, update, start) => tn.updateSlice(x, update, start, { axis: 1 }),
      gives: "f32[2,5,3]",
      order: 2,
      tolerance: EXACT,
    },
    {
      name: "counted from the end, beyond it in part",
      inputs: [f32([5, 3]), f32([4, 3]), i32([], [-2, -1])],
      run: (x, update, start) => tn.updateSlice(x, update, start),
      gives: "f32[5,3]",
      tolerance: EXACT,
    },
    {
      name: "outside",
      inputs: [i32([5]), i32([2]), u32([], [5, 6])],
      run: (x, update, start) => tn.updateSlice(x, update, start),
      gives: "i32[5]",
    },
    {
      name: "nothing",
      inputs: [f32([5, 3]), f32([0, 3]), i32([], [0, 5])],
      run: (x, update, start) => tn.updateSlice(x, update, start),
      gives: "f32[5,3]",
      order: 0,
      tolerance: EXACT,
    },
    {
      name: "half precision",
      inputs: [f16([3, 5]), f16([3, 1]), i32([], [0, 5])],
      run: (x, update, start) => tn.updateSlice(x, update, start, { axis: 1 }),
      gives: "f16[3,5]",
      order: 0,
      tolerance: EXACT,
    },
    {
      name: "an update that does not fit",
      inputs: [f32([2, 5]), f32([3, 2]), i32([], [0, 2])],
      run: (x, update, start) => tn.updateSlice(x, update, start, { axis: 1 }),
      throws: "ShapeError: Cannot update [2,5] along axis 1 by [3,2]: it does not fit",
    },
    {
      name: "several starts",
      inputs: [f32([5]), f32([2]), i32([2], [0, 3])],
      run: (x, update, start) => tn.updateSlice(x, update, start),
      throws: "ShapeError: Cannot update a slice that starts at [2]: it must be one number",
    },
  ],
  oneHot: [
    { name: "last axis", inputs: [i32([7], [0, 5])], run: (i) => tn.oneHot(i, 5), gives: "f32[7,5]" },
    {
      name: "axis 0, bool",
      inputs: [i32([2, 3], [0, 5])],
      run: (i) => tn.oneHot(i, 5, { axis: 0, dtype: "bool" }),
      gives: "bool[5,2,3]",
    },
    { name: "outside", inputs: [i32([5], OUTSIDE)], run: (i) => tn.oneHot(i, 5), gives: "f32[5,5]" },
  ],
  topK: [
    {
      name: "largest",
      inputs: [f32([3, 17], "distinct")],
      run: (x) => tn.topK(x, 5),
      gives: "f32[3,5] i32[3,5]",
      tolerance: EXACT,
    },
    {
      name: "smallest, axis 0",
      inputs: [f32([7, 2], "distinct")],
      run: (x) => tn.topK(x, 3, { axis: 0, largest: false }),
      gives: "f32[3,2] i32[3,2]",
      tolerance: EXACT,
    },
    { name: "ties", inputs: [i32([9], [0, 3])], run: (x) => tn.topK(x, 4), gives: "i32[4] i32[4]" },
    {
      name: "more than there are",
      inputs: [f32([2, 3])],
      run: (x) => tn.topK(x, 4),
      throws: "ArgumentError: Cannot find the top 4 along axis 1 of [2,3]: it holds 3 elements",
    },
  ],
  sort: [
    {
      name: "last axis",
      inputs: [f32([3, 17], "distinct")],
      run: (x) => tn.sort(x),
      gives: "f32[3,17]",
      tolerance: EXACT,
    },
    {
      name: "descending, axis 0",
      inputs: [f32([33, 2], "distinct")],
      run: (x) => tn.sort(x, { axis: 0, descending: true }),
      gives: "f32[33,2]",
      tolerance: EXACT,
    },
    {
      name: "infinities and NaN",
      inputs: [f32([7], { exactly: [NaN, 1, -Infinity, 3, NaN, Infinity, -0.5] })],
      run: (x) => tn.sort(x),
      gives: "f32[7]",
      order: 0,
      tolerance: EXACT,
    },
    {
      name: "u32 above 2^31",
      inputs: [u32([5], { exactly: [4294967295, 0, 2147483648, 7, 2147483647] })],
      run: (x) => tn.sort(x),
      gives: "u32[5]",
    },
    { name: "empty", inputs: [f32([2, 0])], run: (x) => tn.sort(x), gives: "f32[2,0]", order: 0 },
  ],
  argsort: [
    { name: "stable", inputs: [i32([3, 17], [0, 4])], run: (x) => tn.argsort(x), gives: "i32[3,17]" },
    {
      name: "descending stays stable",
      inputs: [i32([17, 3], [0, 4])],
      run: (x) => tn.argsort(x, { axis: 0, descending: true }),
      gives: "i32[17,3]",
    },
    { name: "f32", inputs: [f32([65], "distinct")], run: (x) => tn.argsort(x), gives: "i32[65]" },
    {
      name: "NaN comes last",
      inputs: [f32([5], { exactly: [NaN, 1, -Infinity, NaN, 0] })],
      run: (x) => tn.argsort(x, { descending: true }),
      gives: "i32[5]",
    },
  ],
} satisfies Record<string, (Case & { run(...xs: Tensor[]): unknown })[]>;
