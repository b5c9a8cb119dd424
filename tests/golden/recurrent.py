"""LSTM and GRU layers."""

import torch

from make import case, grid

TIME, BATCH, INPUTS, HIDDEN = 5, 2, 3, 4


def layer(op, name, start, biases, reverse=False):
    """Inputs: x, both weights transposed, what to start from (hidden and, for an LSTM, cell; or nothing), both biases."""
    gates = {"lstm": 4, "gru": 3}[op] * HIDDEN
    states = {"lstm": 2, "gru": 1}[op]
    turn = (lambda t: t.flip(0)) if reverse else (lambda t: t)

    def f(x, input, hidden, *rest):
        state = rest[:states] if start else [torch.zeros(BATCH, HIDDEN, dtype=x.dtype)] * states
        state = [s.unsqueeze(0) for s in state]
        weights = [input.T, hidden.T, *(rest[-2:] if biases else [])]
        run, state = (torch.lstm, state) if op == "lstm" else (torch.gru, state[0])
        # one layer, no dropout, not training, one direction, time first
        outputs, *last = run(turn(x), state, weights, biases, 1, 0.0, False, False, False)
        return [turn(outputs), *(s.squeeze(0) for s in last)]

    shapes = [(TIME, BATCH, INPUTS), (INPUTS, gates), (HIDDEN, gates)]
    shapes += [(BATCH, HIDDEN)] * states * start + [(gates,)] * 2 * biases
    return case(op, name, f, [grid(*shape) for shape in shapes], {"reverse": True} if reverse else {})


def make():
    return [
        layer("lstm", "from zeros, no biases", start=False, biases=False),
        layer("lstm", "from a state, with biases", start=True, biases=True),
        layer("lstm", "from a state, with biases, reverse", start=True, biases=True, reverse=True),
        layer("gru", "from zeros, no biases", start=False, biases=False),
        layer("gru", "from a state, with biases", start=True, biases=True),
        layer("gru", "from a state, with biases, reverse", start=True, biases=True, reverse=True),
    ]
