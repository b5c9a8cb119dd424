"""Recurrent layers and models of tokens by torch.nn: forward, loss, all gradients, five steps of SGD with momentum.

Weights keep PyTorch's names and layout, except that the last linear layer's is stored as the toolkit has it: [in, out].
"""

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from make import grid, pack

TIME, BATCH, INPUTS, HIDDEN, VOCAB, CLASSES = 5, 3, 3, 4, 6, 2
LENGTHS = torch.tensor([3, 5, 1])
KINDS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
RATE, MOMENTUM, STEPS = 0.2, 0.9, 5


def fresh(module):
    """The module in float64, its parameters multiples of 1/64."""
    module = module.double()
    for parameter in module.parameters():
        parameter.data = grid(*parameter.shape, scale=0.5)
    return module


def run(layers, x, state, lengths):
    """Outputs and last state; with lengths by way of packed sequences."""
    if lengths is None:
        return layers(x, state)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    outputs, last = layers(packed, state)
    return pad_packed_sequence(outputs, total_length=TIME)[0], last


def stored(name, value):
    return pack(value.T if name == "head.weight" else value)


def train(module, loss):
    """The loss, its gradients, and the parameters after some steps."""
    names = dict(module.named_parameters())
    result = {"params": {name: stored(name, p) for name, p in names.items()}}
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM)
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if step == 0:
            result["loss"] = value.item()
            result["gradients"] = {name: stored(name, p.grad) for name, p in names.items()}
        optimizer.step()
    result["after"] = {name: stored(name, p) for name, p in names.items()}
    return result


def layers(cell, name, start=False, lengths=None, **options):
    """Layers alone, with a loss of everything that they return."""
    module = fresh(KINDS[cell](INPUTS, HIDDEN, **options))
    x = grid(TIME, BATCH, INPUTS)
    states = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    hidden, remembered = (grid(states, BATCH, HIDDEN, scale=0.5) for _ in range(2))
    state = ((hidden, remembered) if cell == "lstm" else hidden) if start else None

    def parts():
        outputs, last = run(module, x, state, lengths)
        return outputs, (last if cell == "lstm" else (last,))

    outputs, last = parts()
    weights = [grid(*t.shape) for t in (outputs, *last)]

    def loss():
        outputs, last = parts()
        return sum((t * w + t * t).mean() for t, w in zip((outputs, *last), weights))

    config = {
        "cell": cell,
        "inputs": INPUTS,
        "hidden": HIDDEN,
        "layers": options.get("num_layers", 1),
        "bidirectional": options.get("bidirectional", False),
        "bias": options.get("bias", True),
    }
    return {
        "name": f"{cell}, {name}",
        "config": config,
        "x": pack(x),
        "lengths": None if lengths is None else pack(lengths),
        "state": [pack(hidden), pack(remembered)][: 2 if cell == "lstm" else 1] if start else None,
        "results": [pack(t) for t in (outputs, *last)],
        "weights": [pack(w) for w in weights],
        **train(module, loss),
    }


class Tokens(torch.nn.Module):
    def __init__(self, cell, channels, outputs, pool, **options):
        super().__init__()
        if channels:
            self.embedding = torch.nn.Embedding(VOCAB, channels)
        self.layers = KINDS[cell](channels or VOCAB, HIDDEN, **options)
        self.head = torch.nn.Linear(HIDDEN * (2 if options.get("bidirectional") else 1), outputs)
        self.channels, self.pool = channels, pool

    def forward(self, tokens, lengths):
        ids = tokens.T
        x = self.embedding(ids) if self.channels else F.one_hot(ids, VOCAB).double()
        y, _ = run(self.layers, x, None, lengths)
        if self.pool == "mean":
            y = y.sum(0) / lengths[:, None]
        if self.pool == "max":
            past = torch.arange(TIME)[:, None, None] >= lengths[None, :, None]
            y = y.masked_fill(past, -torch.inf).amax(0)
        logits = self.head(y)
        return logits if self.pool else logits.transpose(0, 1)


def tokens(cell, name, channels=None, pool=None, **options):
    outputs = CLASSES if pool else VOCAB
    module = fresh(Tokens(cell, channels, outputs, pool, **options))
    ids = torch.randint(0, VOCAB, (BATCH, TIME))
    if pool:
        targets = torch.randint(0, CLASSES, (BATCH,))
    else:
        targets = torch.randint(0, VOCAB, (BATCH, TIME)).masked_fill(torch.arange(TIME) >= LENGTHS[:, None], -1)

    def loss():
        return F.cross_entropy(module(ids, LENGTHS).reshape(-1, outputs), targets.reshape(-1), ignore_index=-1)

    config = {
        "cell": cell,
        "vocabSize": VOCAB,
        "hidden": HIDDEN,
        "layers": options.get("num_layers", 1),
        "bidirectional": options.get("bidirectional", False),
        "outputs": outputs,
    }
    config.update({"channels": channels} if channels else {})
    config.update({"pool": pool} if pool else {})
    return {
        "name": f"{cell}, {name}",
        "config": config,
        "tokens": pack(ids),
        "targets": pack(targets),
        "lengths": pack(LENGTHS),
        "logits": pack(module(ids, LENGTHS)),
        **train(module, loss),
    }


def make():
    deep = {"num_layers": 2, "bidirectional": True, "start": True, "lengths": LENGTHS}
    return {
        "optimizer": {"learningRate": RATE, "momentum": MOMENTUM, "steps": STEPS},
        "layers": [layers(cell, "one layer", bias=cell != "gru") for cell in KINDS]
        + [layers(cell, "two layers both ways, from a state, with lengths", **deep) for cell in KINDS],
        "tokens": [
            tokens("lstm", "one-hot tokens", num_layers=2),
            tokens("gru", "an embedding", channels=3),
            tokens("lstm", "both ways, the largest outputs", channels=3, pool="max", bidirectional=True),
            tokens("rnn", "both ways, the mean outputs", channels=3, pool="mean", bidirectional=True),
        ],
    }
