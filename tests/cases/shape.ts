/** Rows for making tensors and changing their shape. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { bool, type Case, EXACT, f16, f32, i32, type Input, u32 } from "./case.ts";

/** What moves elements without touching them: bit-equal, and its own gradient is exact too. */
function move(name: string, input: Input, run: (x: Tensor) => Tensor | Tensor[], gives: string): Case {
  return { name, inputs: [input], run, gives, tolerance: EXACT };
}

function make(name: string, run: () => Tensor, gives: string): Case {
  return { name, inputs: [], run, gives, tolerance: EXACT };
}

function refuse(name: string, inputs: Input[], run: (...xs: Tensor[]) => unknown, throws: string): Case {
  return { name, inputs, run, throws };
}

export const shape = {
  tensor: [
    make("nested", () => tn.tensor([[1, 2, 3], [4, 5, 6]]), "f32[2,3]"),
    make("booleans", () => tn.tensor([true, false]), "bool[2]"),
    make("a number", () => tn.tensor(7), "f32[]"),
    make("typed array", () => tn.tensor(new Int32Array([1, -2, 3, 4, 5, 6]), { shape: [3, 2] }), "i32[3,2]"),
    make("f16", () => tn.tensor([1 / 3, 2], { dtype: "f16" }), "f16[2]"),
    make("empty", () => tn.tensor([[], []]), "f32[2,0]"),
    refuse(
      "ragged",
      [],
      () => tn.tensor([[1, 2], [3]]),
      "ShapeError: Cannot make a tensor of ragged arrays: expected 2 entries, found 1 entries",
    ),
    refuse(
      "a shape that holds another number",
      [],
      () => tn.tensor(new Float32Array(5), { shape: [2, 3] }),
      "ShapeError: Cannot make a tensor of shape [2,3] from 5 elements: it holds 6",
    ),
  ],
  zeros: [
    make("[2,3]", () => tn.zeros([2, 3]), "f32[2,3]"),
    make("bool", () => tn.zeros([3], { dtype: "bool" }), "bool[3]"),
  ],
  ones: [make("scalar", () => tn.ones([]), "f32[]"), make("u32", () => tn.ones([3], { dtype: "u32" }), "u32[3]")],
  full: [
    make("[2,3]", () => tn.full([2, 3], 2.5), "f32[2,3]"),
    make("i32", () => tn.full([3], -7, { dtype: "i32" }), "i32[3]"),
    make("infinity", () => tn.full([3], -Infinity), "f32[3]"),
    make("empty", () => tn.full([0, 2], 1), "f32[0,2]"),
    refuse(
      "a size below 0",
      [],
      () => tn.full([2, -1], 0),
      "ShapeError: Cannot make a tensor of shape [2,-1]: every size must be a whole number of at least 0",
    ),
  ],
  arange: [
    make("stop", () => tn.arange(17), "i32[17]"),
    make("start, stop, step", () => tn.arange(10, 1, { step: -3, dtype: "i32" }), "i32[3]"),
    make("fractions", () => tn.arange(0, 1, { step: 0.25 }), "f32[4]"),
    make("empty", () => tn.arange(3, 3), "i32[0]"),
  ],
  linspace: [
    {
      name: "7 steps",
      inputs: [],
      run: () => tn.linspace(-1, 2, { steps: 7 }),
      gives: "f32[7]",
      tolerance: { relative: 1e-6 },
    },
    make("one step", () => tn.linspace(3, 9, { steps: 1 }), "f32[1]"),
  ],
  eye: [
    make("square", () => tn.eye(3), "f32[3,3]"),
    make("wide i32", () => tn.eye(2, { columns: 5, dtype: "i32" }), "i32[2,5]"),
  ],
  zerosLike: [move("i32", i32([2, 3]), tn.zerosLike, "i32[2,3]")],
  onesLike: [move("u32", u32([2, 3]), tn.onesLike, "u32[2,3]")],
  reshape: [
    move("[2,3,5] to [6,-1]", f32([2, 3, 5]), (x) => tn.reshape(x, [6, -1]), "f32[6,5]"),
    move("to a scalar", i32([1, 1]), (x) => tn.reshape(x, []), "i32[]"),
    move("empty", f32([0, 3]), (x) => tn.reshape(x, [3, 0, 2]), "f32[3,0,2]"),
    refuse(
      "another size",
      [f32([2, 3])],
      (x) => tn.reshape(x, [4]),
      "ShapeError: Cannot reshape [2,3] to [4]: 6 elements do not fill 4 places",
    ),
    refuse(
      "two unknowns",
      [f32([2, 3])],
      (x) => tn.reshape(x, [-1, -1]),
      "ShapeError: Cannot reshape [2,3] to [-1,-1]: only one size may be -1",
    ),
  ],
  transpose: [
    move("reversed", f32([2, 3, 5]), (x) => tn.transpose(x), "f32[5,3,2]"),
    move("[2,0,1]", f32([2, 3, 5]), (x) => tn.transpose(x, [2, 0, 1]), "f32[5,2,3]"),
    move("off the tiles", f32([33, 65]), (x) => tn.transpose(x), "f32[65,33]"),
    move("f16", f16([2, 3]), (x) => tn.transpose(x), "f16[3,2]"),
    move("bool", bool([2, 3]), (x) => tn.transpose(x), "bool[3,2]"),
    refuse(
      "an axis twice",
      [f32([2, 3])],
      (x) => tn.transpose(x, [0, 0]),
      "ShapeError: Cannot transpose [2,3] by [0,0]: every axis from 0 to 1 must appear once",
    ),
  ],
  broadcastTo: [
    move("[3,1] to [2,3,5]", f32([3, 1]), (x) => tn.broadcastTo(x, [2, 3, 5]), "f32[2,3,5]"),
    move("scalar", u32([]), (x) => tn.broadcastTo(x, [4]), "u32[4]"),
    move("to nothing", f32([1, 3]), (x) => tn.broadcastTo(x, [0, 3]), "f32[0,3]"),
    refuse(
      "a size that is not 1",
      [f32([2, 3])],
      (x) => tn.broadcastTo(x, [4, 3]),
      "ShapeError: Cannot broadcast [2,3] to [4,3]: only axes of size 1 and missing leading axes repeat",
    ),
  ],
  expandDims: [
    move("front", f32([2, 3]), (x) => tn.expandDims(x, 0), "f32[1,2,3]"),
    move("two", f32([2, 3]), (x) => tn.expandDims(x, [0, -1]), "f32[1,2,3,1]"),
  ],
  squeeze: [
    move("all", f32([1, 2, 1]), (x) => tn.squeeze(x), "f32[2]"),
    move("one", f32([1, 2, 1]), (x) => tn.squeeze(x, -1), "f32[1,2]"),
    refuse(
      "a size that is not 1",
      [f32([1, 2])],
      (x) => tn.squeeze(x, 1),
      "ShapeError: Cannot squeeze axis 1 of [1,2]: its size is 2, not 1",
    ),
  ],
  slice: [
    move("rows", f32([7, 3]), (x) => tn.slice(x, 2, 5), "f32[3,3]"),
    move("to the end", f32([7, 3]), (x) => tn.slice(x, -2), "f32[2,3]"),
    move("an axis", f32([2, 7]), (x) => tn.slice(x, 1, -1, { axis: 1 }), "f32[2,5]"),
    move("steps", f32([5, 17]), (x) => tn.slice(x, [0, 1], [5, 17], { step: [2, 5] }), "f32[3,4]"),
    move("backwards", f32([2, 7]), (x) => tn.slice(x, 5, 0, { axis: 1, step: -2 }), "f32[2,3]"),
    move("past the end", i32([5]), (x) => tn.slice(x, 3, 99), "i32[2]"),
    move("empty", f32([5]), (x) => tn.slice(x, 3, 3), "f32[0]"),
    move("a view of a view", f32([3, 8]), (x) => tn.slice(tn.transpose(tn.slice(x, 1)), 2, 7, { step: 2 }), "f32[3,2]"),
  ],
  pad: [
    move("constant", f32([2, 3]), (x) => tn.pad(x, [[1, 0], [2, 3]], { value: 1.5 }), "f32[3,8]"),
    move("one number", i32([2, 3]), (x) => tn.pad(x, 1), "i32[4,5]"),
    move("reflect", f32([2, 5]), (x) => tn.pad(x, [[1, 1], [3, 2]], { mode: "reflect" }), "f32[4,10]"),
    move("edge", f32([2, 5]), (x) => tn.pad(x, [[0, 2], [3, 1]], { mode: "edge" }), "f32[4,9]"),
    move("empty", f32([0, 2]), (x) => tn.pad(x, [[1, 2], [0, 1]]), "f32[3,3]"),
    refuse(
      "widths for another rank",
      [f32([2, 3])],
      (x) => tn.pad(x, [[1, 1]]),
      "ShapeError: Cannot pad [2,3] by 1 pairs: the tensor has 2 axes",
    ),
  ],
  concat: [
    {
      name: "axis 1",
      inputs: [f32([2, 3]), f32([2, 1]), f32([2, 5])],
      run: (...xs: Tensor[]) => tn.concat(xs, 1),
      gives: "f32[2,9]",
      tolerance: EXACT,
    },
    {
      name: "axis 0 with nothing",
      inputs: [i32([2, 3]), i32([0, 3])],
      run: (...xs: Tensor[]) => tn.concat(xs),
      gives: "i32[2,3]",
    },
    {
      name: "the same twice",
      inputs: [f32([3])],
      run: (x: Tensor) => tn.concat([x, x]),
      gives: "f32[6]",
      tolerance: EXACT,
    },
    refuse(
      "another size",
      [f32([2, 3]), f32([2, 4])],
      (...xs) => tn.concat(xs),
      "ShapeError: Cannot concatenate [2,3] and [2,4] along axis 0: the other axes differ",
    ),
  ],
  stack: [
    {
      name: "front",
      inputs: [f32([2, 3]), f32([2, 3])],
      run: (...xs: Tensor[]) => tn.stack(xs),
      gives: "f32[2,2,3]",
      tolerance: EXACT,
    },
    {
      name: "last",
      inputs: [f32([2, 3]), f32([2, 3])],
      run: (...xs: Tensor[]) => tn.stack(xs, -1),
      gives: "f32[2,3,2]",
      tolerance: EXACT,
    },
  ],
  split: [
    move("3 parts", f32([2, 9]), (x) => tn.split(x, 3, { axis: 1 }), "f32[2,3] f32[2,3] f32[2,3]"),
    move("sizes", f32([6, 2]), (x) => tn.split(x, [1, 3, 2]), "f32[1,2] f32[3,2] f32[2,2]"),
    {
      name: "a key",
      inputs: [],
      run: () => tn.split(tn.key(42), 3).map((k) => k.threefry),
      gives: "u32[2] u32[2] u32[2]",
    },
    refuse(
      "parts that do not divide",
      [f32([7])],
      (x) => tn.split(x, 3),
      "ShapeError: Cannot split axis 0 of [7] into 3 pieces: 7 is not a multiple of 3",
    ),
  ],
  flip: [
    move("all", f32([2, 3]), (x) => tn.flip(x), "f32[2,3]"),
    move("one axis", i32([2, 3, 5]), (x) => tn.flip(x, 1), "i32[2,3,5]"),
    move("two axes", f32([2, 3, 5]), (x) => tn.flip(x, [0, -1]), "f32[2,3,5]"),
  ],
  tile: [
    move("[2,3] by [3,2]", f32([2, 3]), (x) => tn.tile(x, [3, 2]), "f32[6,6]"),
    move("more axes", f32([3]), (x) => tn.tile(x, [2, 2]), "f32[2,6]"),
  ],
  repeat: [
    move("axis 0", f32([2, 3]), (x) => tn.repeat(x, 3), "f32[6,3]"),
    move("axis 1", i32([2, 3]), (x) => tn.repeat(x, 2, { axis: 1 }), "i32[2,6]"),
  ],
} satisfies Record<string, Case[]>;
