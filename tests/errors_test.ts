/** What the ops refuse, and the exact words; the table of cases holds more, on every backend. @module */
import { assertEquals } from "@std/assert";
import * as tn from "../mod.ts";
import type { OpName } from "./conformance.ts";

await tn.use("cpu");
const f32 = (...shape: number[]) => tn.zeros(shape);
const i32 = (...shape: number[]) => tn.zeros(shape, { dtype: "i32" });
const bool = (...shape: number[]) => tn.zeros(shape, { dtype: "bool" });
const key = tn.key(0);
/** A value that TypeScript would refuse. */
const wrong = (value: unknown) => value as never;

type Refusal = readonly [call: () => unknown, text: string];

const refusals: Partial<Record<OpName, Refusal[]>> = {
  tensor: [
    [() => tn.tensor(wrong(["a"])), 'ArgumentError: Cannot make a tensor: element 0 is "a", not a number'],
    [() => tn.tensor(wrong(null)), "ArgumentError: Cannot make a tensor from [object Null]: give numbers"],
  ],
  full: [[
    () => tn.full([2], 1, { dtype: wrong("f64") }),
    'DTypeError: Cannot make a tensor of dtype "f64": it must be one of f32, f16, i32, u32, bool',
  ]],
  arange: [[
    () => tn.arange(0, 5, { step: 0 }),
    "ArgumentError: Cannot count from 0 to 5 in steps of 0: the end is never reached",
  ]],
  exp: [[() => tn.exp(i32(2)), "DTypeError: Cannot compute exp of i32: it takes f32, f16"]],
  neg: [[() => tn.neg(bool(2)), "DTypeError: Cannot compute neg of bool: it takes f32, f16, i32, u32"]],
  add: [
    [() => tn.add(bool(2), bool(2)), "DTypeError: Cannot compute add of bool: it takes f32, f16, i32, u32"],
    [
      () => tn.add(i32(2), 0.5),
      "DTypeError: Cannot add i32 and 0.5: it is not a whole number, cast the tensor to f32",
    ],
    [() => tn.add(f32(2), wrong("x")), "ArgumentError: Cannot add x: expected a tensor or a number"],
  ],
  and: [[() => tn.and(f32(2), f32(2)), "DTypeError: Cannot compute and of f32: it takes bool, i32, u32"]],
  shiftLeft: [[() => tn.shiftLeft(f32(2), f32(2)), "DTypeError: Cannot compute shiftLeft of f32: it takes i32, u32"]],
  where: [
    [() => tn.where(f32(2), f32(2), f32(2)), "DTypeError: Cannot choose by a condition of f32: it must be bool"],
    [() => tn.where(bool(2), f32(2), i32(2)), "DTypeError: Cannot choose between f32 and i32: cast one of them"],
  ],
  clamp: [[
    () => tn.clamp(f32(2), { min: 2, max: 1 }),
    "ArgumentError: Cannot clamp between 2 and 1: the lower bound is above the upper one",
  ]],
  cast: [[
    () => tn.cast(f32(2), wrong("f64")),
    'DTypeError: Cannot cast f32 to "f64": it must be one of f32, f16, i32, u32, bool',
  ]],
  mean: [[() => tn.mean(i32(2)), "DTypeError: Cannot compute mean of i32: it takes f32, f16"]],
  argmax: [[() => tn.argmax(f32(0)), "ShapeError: Cannot compute argmax of [0]: axis 0 is empty"]],
  norm: [[
    () => tn.norm(f32(2), { ord: wrong(3) }),
    "ArgumentError: Cannot compute the norm of order 3: it must be 1, 2 or Infinity",
  ]],
  matmul: [
    [() => tn.matmul(f32(), f32(2)), "ShapeError: Cannot multiply [] by [2]: a scalar has no axes, use mul"],
    [() => tn.matmul(i32(2, 2), i32(2, 2)), "DTypeError: Cannot compute matmul of i32: it takes f32, f16"],
    [
      () => tn.matmul(f32(2, 3, 4), f32(5, 4, 6)),
      "ShapeError: Cannot multiply [2,3,4] by [5,4,6]: batch sizes 2 and 5 do not broadcast",
    ],
    [() => tn.matmul(f32(3), f32(4, 5)), "ShapeError: Cannot multiply [3] by [4,5]: inner sizes are 3 and 4"],
  ],
  einsum: [
    [
      () => tn.einsum("ij,jk->ik", f32(2, 3)),
      'ArgumentError: Cannot compute einsum "ij,jk->ik": it names 2 operands, 1 were given',
    ],
    [
      () => tn.einsum("ij,jk->ik", f32(2, 3), f32(4, 5)),
      'ShapeError: Cannot compute einsum "ij,jk->ik" of [2,3] and [4,5]: label "j" has sizes 3 and 4',
    ],
    [
      () => tn.einsum("ij->ijk", f32(2, 3)),
      'ArgumentError: Cannot compute einsum "ij->ijk": no input has the output\'s label "k"',
    ],
  ],
  slice: [
    [
      () => tn.slice(f32(5), 0, 3, { step: 0 }),
      "ArgumentError: Cannot slice in steps of 0: a step must be a whole number other than 0",
    ],
    [() => tn.slice(f32(5), [0, 0], [1, 1]), "ShapeError: Cannot slice [5] along 2 axes: the tensor has 1"],
  ],
  pad: [
    [
      () => tn.pad(f32(2), [[-1, 0]]),
      "ShapeError: Cannot pad axis 0 of [2] by [-1,0]: widths must be whole numbers of at least 0",
    ],
    [
      () => tn.pad(f32(3), [[3, 0]], { mode: "reflect" }),
      "ShapeError: Cannot mirror 3 elements along axis 0 of [3]: at most 2",
    ],
    [
      () => tn.pad(f32(2), 1, { mode: wrong("wrap") }),
      'ArgumentError: Cannot pad in mode "wrap": it must be "constant", "reflect" or "edge"',
    ],
  ],
  concat: [
    [() => tn.concat([]), "ArgumentError: Cannot concatenate no tensors: give at least one"],
    [() => tn.concat([f32(2), i32(2)]), "DTypeError: Cannot concatenate f32 and i32: cast one of them"],
  ],
  stack: [[() => tn.stack([f32(2), f32(3)]), "ShapeError: Cannot stack [2] and [3]: their shapes differ"]],
  split: [[
    () => tn.split(f32(7), [3, 3]),
    "ShapeError: Cannot split axis 0 of [7] into sizes [3,3]: they must add up to 7",
  ]],
  repeat: [[
    () => tn.repeat(f32(2), -1),
    "ArgumentError: Cannot repeat -1 times: it must be a whole number of at least 0",
  ]],
  gather: [[
    () => tn.gather(f32(2), i32(1), { axis: 1 }),
    "ShapeError: Cannot gather along axis 1: the tensor has 1 axes",
  ]],
  scatterAdd: [[
    () => tn.scatterAdd(f32(3), i32(2), f32(4)),
    "ShapeError: Cannot scatter updates [4] at indices [2]: their shapes differ",
  ]],
  indexAdd: [[
    () => tn.indexAdd(f32(3, 2), i32(2), f32(3, 2)),
    "ShapeError: Cannot add [3,2] along axis 0 at indices [2]: one axis of 3 indices is needed",
  ]],
  oneHot: [[
    () => tn.oneHot(f32(2), 3),
    "DTypeError: Cannot make one-hot vectors with indices of f32: they must be i32",
  ]],
  sort: [[() => tn.sort(f32(2), { axis: 1 }), "ShapeError: Cannot sort along axis 1: the tensor has 1 axes"]],
  conv: [
    [
      () => tn.conv(f32(2, 3), f32(2, 3)),
      "ShapeError: Cannot convolve [2,3]: it needs [batch, channels, length] or [.., height, width]",
    ],
    [
      () => tn.conv(f32(1, 1, 2, 2), f32(1, 1, 3, 3)),
      "ShapeError: Cannot convolve the height with a window of 3: the padded input has 2",
    ],
    [
      () => tn.conv(f32(1, 4, 5, 5), f32(3, 2, 3, 3), { groups: 2 }),
      "ShapeError: Cannot convolve in 2 groups: 3 output channels do not divide",
    ],
    [
      () => tn.conv(f32(1, 1, 5, 5), f32(1, 1, 3, 3), { stride: 0 }),
      "ArgumentError: Cannot convolve with stride 0: it must be a whole number of at least 1",
    ],
  ],
  convTranspose: [[
    () => tn.convTranspose(f32(1, 2, 5), f32(2, 1, 3), { outputPadding: 1 }),
    "ArgumentError: Cannot transpose-convolve with outputPadding 1: it must be less than the stride, 1",
  ]],
  maxPool: [[
    () => tn.maxPool(f32(1, 1, 4, 4), 2, { padding: 2 }),
    "ArgumentError: Cannot pool with padding 2: a window of 2 would miss the input",
  ]],
  upsample: [
    [
      () => tn.upsample(f32(1, 1, 2, 2), { scale: 0 }),
      "ArgumentError: Cannot upsample [1,1,2,2] by [0,0]: it takes 2 positive numbers",
    ],
    [
      () => tn.upsample(f32(1, 1, 2, 2), { scale: 2, mode: wrong("cubic") }),
      'ArgumentError: Cannot upsample in mode "cubic": it must be "nearest" or "bilinear"',
    ],
  ],
  gelu: [[
    () => tn.gelu(f32(2), { approximate: wrong("sigmoid") }),
    'ArgumentError: Cannot approximate gelu by "sigmoid": it must be "none" or "tanh"',
  ]],
  softmax: [[
    () => tn.softmax(f32(2), { axis: 3 }),
    "ShapeError: Cannot take the softmax along axis 3: the tensor has 1 axes",
  ]],
  groupNorm: [[
    () => tn.groupNorm(f32(2, 5, 3), {}, { groups: 2 }),
    "ArgumentError: Cannot normalize [2,5,3] in 2 groups: there are 5 channels",
  ]],
  dropout: [[
    () => tn.dropout(f32(2), key, { rate: 1.5 }),
    "ArgumentError: Cannot drop out a share of 1.5: it must be at least 0 and less than 1",
  ]],
  linear: [[
    () => tn.linear(f32(2, 3), { weight: f32(4, 5) }),
    "ShapeError: Cannot map [2,3] by a weight of shape [4,5]: it must be [3,out]",
  ]],
  attention: [
    [
      () => tn.attention(f32(2, 3, 4), f32(2, 5, 6), f32(2, 5, 4)),
      "ShapeError: Cannot attend with queries [2,3,4], keys [2,5,6] and values [2,5,4]: queries have 4 channels, keys 6",
    ],
    [
      () => tn.attention(f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 4), { mask: bool(3, 4) }),
      "ShapeError: Cannot attend with a mask of shape [3,4]: it must broadcast to [2,3,5]",
    ],
  ],
  crossEntropy: [
    [
      () => tn.crossEntropy(f32(2, 3), f32(2)),
      "DTypeError: Cannot compute crossEntropy with labels of f32: it takes i32, u32",
    ],
    [
      () => tn.crossEntropy(f32(2, 3), i32(2), { labelSmoothing: 2 }),
      "ArgumentError: Cannot smooth labels by 2: it must be from 0 to 1",
    ],
  ],
  meanSquaredError: [
    [
      () => tn.meanSquaredError(f32(2), f32(3)),
      "ShapeError: Cannot take the squared error of [2] and [3]: the shapes must be equal",
    ],
    [
      () => tn.meanSquaredError(f32(2), f32(2), { reduction: wrong("max") }),
      'ArgumentError: Cannot reduce a loss by "max": it must be one of mean, sum, none',
    ],
  ],
  key: [[
    () => tn.key(1.5),
    "ArgumentError: Cannot make a key from 1.5: a seed is a whole number of at most 53 bits, or a bigint",
  ]],
  bernoulli: [[
    () => tn.bernoulli(key, [2], { probability: 2 }),
    "ArgumentError: Cannot toss a coin with probability 2: it must be from 0 to 1",
  ]],
  randint: [[
    () => tn.randint(key, [2], { min: 5, max: 5 }),
    "ArgumentError: Cannot draw whole numbers from 5 to 5: the bounds must be i32, the first less than the second",
  ]],
};

for (const [op, list] of Object.entries(refusals)) {
  Deno.test(`refusals of ${op}`, () => {
    for (const [call, text] of list) {
      let thrown: unknown = "nothing";
      try {
        call();
      } catch (error) {
        thrown = error;
      }
      assertEquals(String(thrown), text);
    }
  });
}
