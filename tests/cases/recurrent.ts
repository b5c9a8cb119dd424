/** Rows for recurrent cells and layers. @module */
import * as tn from "../../mod.ts";
import type { Tensor } from "../../mod.ts";
import { type Case, f32 } from "./case.ts";

const lstmCell: readonly Case[] = [
  {
    name: "[2,3] to [2,5]",
    inputs: [f32([2, 3]), f32([2, 5]), f32([2, 5]), f32([3, 20]), f32([5, 20]), f32([20])],
    run(x, hidden, cell, input, recurrent, bias) {
      const next = tn.lstmCell(x, { hidden, cell }, { input, hidden: recurrent, bias });
      return [next.hidden, next.cell];
    },
    gives: "f32[2,5] f32[2,5]",
    order: 2,
  },
  {
    name: "gates of another size",
    inputs: [f32([2, 3]), f32([2, 5]), f32([3, 15]), f32([5, 15])],
    run: (x, state, input, hidden) => tn.lstmCell(x, { hidden: state, cell: state }, { input, hidden }),
    throws: "ShapeError: Cannot update a state of lstmCell of shape [2,5] with gates [2,15]: they must be [2,20]",
  },
];

const gruCell: readonly Case[] = [
  {
    name: "[2,3] to [2,5]",
    inputs: [f32([2, 3]), f32([2, 5]), f32([3, 15]), f32([5, 15]), f32([15])],
    run: (x, state, input, hidden, hiddenBias) => tn.gruCell(x, state, { input, hidden, hiddenBias }),
    gives: "f32[2,5]",
    order: 2,
  },
  {
    name: "gates of another size",
    inputs: [f32([2, 3]), f32([2, 5]), f32([3, 20]), f32([5, 20])],
    run: (x, state, input, hidden) => tn.gruCell(x, state, { input, hidden }),
    throws: "ShapeError: Cannot update a state of gruCell of shape [2,5] with gates [2,20]: they must be [2,15]",
  },
];

const rnnCell: readonly Case[] = [
  {
    name: "[2,3] to [2,5]",
    inputs: [f32([2, 3]), f32([2, 5]), f32([3, 5]), f32([5, 5]), f32([5]), f32([5])],
    run: (x, state, input, hidden, bias, hiddenBias) => tn.rnnCell(x, state, { input, hidden, bias, hiddenBias }),
    gives: "f32[2,5]",
    order: 2,
  },
  {
    name: "weights of another size",
    inputs: [f32([2, 3]), f32([2, 5]), f32([4, 5]), f32([5, 5])],
    run: (x, state, input, hidden) => tn.rnnCell(x, state, { input, hidden }),
    throws: "ShapeError: Cannot map [2,3] by a weight of shape [4,5]: it must be [3,out]",
  },
];

const lengths = () => tn.tensor([3, 1], { dtype: "i32" });

function layer(gates: number, run: (xs: Tensor, params: tn.RecurrentParams) => readonly Tensor[], gives: string): Case {
  return {
    name: "[4,2,3], with biases",
    inputs: [f32([4, 2, 3]), f32([3, gates * 5]), f32([5, gates * 5]), f32([gates * 5]), f32([gates * 5])],
    run: (xs, input, hidden, bias, hiddenBias) => run(xs, { input, hidden, bias, hiddenBias }),
    gives,
  };
}

/** Recurrent cells and layers. */
export const recurrent = {
  lstmCell,
  gruCell,
  rnnCell,
  lstm: [
    layer(4, (xs, params) => {
      const [outputs, { hidden, cell }] = tn.lstm(xs, params, { reverse: true });
      return [outputs, hidden, cell];
    }, "f32[4,2,5] f32[2,5] f32[2,5]"),
    {
      name: "a sequence without a batch",
      inputs: [f32([4, 3]), f32([3, 20]), f32([5, 20])],
      run: (xs, input, hidden) => tn.lstm(xs, { input, hidden }),
      throws: "ShapeError: Cannot run lstm over [4,3] with input weights [3,20]: it takes [time, batch, inputs]",
    },
  ],
  gru: [layer(3, tn.gru, "f32[4,2,5] f32[2,5]")],
  rnn: [
    layer(1, (xs, params) => tn.rnn(xs, params, { lengths: lengths(), reverse: true }), "f32[4,2,5] f32[2,5]"),
    {
      name: "lengths of another batch",
      inputs: [f32([4, 3, 3]), f32([3, 5]), f32([5, 5])],
      run: (xs, input, hidden) => tn.rnn(xs, { input, hidden }, { lengths: lengths() }),
      throws: "ShapeError: Cannot run rnn over [4,3,3] with lengths [2]: they must be [3]",
    },
  ],
} satisfies Record<string, readonly Case[]>;
