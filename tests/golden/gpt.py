"""A whole GPT-2 (nanoGPT's model: pre-norm, tied embeddings, biases), its loss and every gradient.

Weights are stored as the toolkit has them: a linear layer's weight is [in, out].
"""

import math

import torch
import torch.nn.functional as F

from make import grid, pack

VOCAB, CONTEXT, LAYERS, HEADS, CHANNELS = 11, 8, 2, 2, 12
BATCH, TIME = 3, 7


def linear(rows, columns):
    return {"weight": grid(rows, columns, scale=1 / math.sqrt(rows)), "bias": grid(columns, scale=0.2)}


def norm():
    return {"scale": 1 + grid(CHANNELS, scale=0.2), "shift": grid(CHANNELS, scale=0.2)}


def block():
    return {
        "norm1": norm(),
        "attention": {"qkv": linear(CHANNELS, 3 * CHANNELS), "out": linear(CHANNELS, CHANNELS)},
        "norm2": norm(),
        "mlp": {"up": linear(CHANNELS, 4 * CHANNELS), "down": linear(4 * CHANNELS, CHANNELS)},
    }


def init():
    return {
        "token": grid(VOCAB, CHANNELS),
        "position": grid(CONTEXT, CHANNELS, scale=0.5),
        "blocks": [block() for _ in range(LAYERS)],
        "norm": norm(),
    }


def tree_map(f, tree):
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_map(f, value) for value in tree]
    return f(tree)


def apply_linear(x, p):
    return x @ p["weight"] + p["bias"]


def apply_norm(x, p):
    return F.layer_norm(x, (CHANNELS,), p["scale"], p["shift"], 1e-5)


def attend(x, p):
    b, t, c = x.shape
    q, k, v = (h.view(b, t, HEADS, c // HEADS).transpose(1, 2) for h in apply_linear(x, p["qkv"]).split(c, dim=-1))
    scores = q @ k.transpose(-1, -2) / math.sqrt(c // HEADS)
    scores = scores.masked_fill(~torch.ones(t, t, dtype=torch.bool).tril(), -math.inf)
    return apply_linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c), p["out"])


def forward(params, tokens, gelu):
    x = params["token"][tokens] + params["position"][: tokens.shape[1]]
    for p in params["blocks"]:
        x = x + attend(apply_norm(x, p["norm1"]), p["attention"])
        hidden = F.gelu(apply_linear(apply_norm(x, p["norm2"]), p["mlp"]["up"]), approximate=gelu)
        x = x + apply_linear(hidden, p["mlp"]["down"])
    return apply_norm(x, params["norm"]) @ params["token"].T


def run(params, tokens, targets, gelu):
    params = tree_map(lambda p: p.detach().clone().requires_grad_(), params)
    logits = forward(params, tokens, gelu)
    loss = F.cross_entropy(logits.reshape(-1, VOCAB), targets.reshape(-1))
    loss.backward()
    return logits, loss, tree_map(lambda p: pack(p.grad), params)


def make():
    params = init()
    tokens = torch.randint(0, VOCAB, (BATCH, TIME))
    targets = torch.randint(0, VOCAB, (BATCH, TIME))
    logits, loss, grads = run(params, tokens, targets, "none")
    tanh_logits, tanh_loss, _ = run(params, tokens, targets, "tanh")
    return {
        "config": {"vocabSize": VOCAB, "context": CONTEXT, "layers": LAYERS, "heads": HEADS, "channels": CHANNELS},
        "params": tree_map(pack, params),
        "tokens": pack(tokens),
        "targets": pack(targets),
        "exact": {"logits": pack(logits), "loss": loss.item(), "grads": grads},
        "tanh": {"logits": pack(tanh_logits), "loss": tanh_loss.item()},
    }
