"""A whole GPT-2 (nanoGPT's model: pre-norm, tied embeddings, biases) and a whole Llama (RMS norms, rotary positions, shared
heads of keys and values, SwiGLU): forward, loss, every gradient, and five steps of AdamW.

Weights are stored as the toolkit has them: a linear layer's weight is [in, out].
"""

import math

import torch
import torch.nn.functional as F

from make import grid, pack

BATCH, TIME = 3, 7
GPT2 = {"vocabSize": 11, "context": 8, "layers": 2, "heads": 2, "channels": 8}
LLAMA = {
    "vocabSize": 11,
    "context": 8,
    "layers": 2,
    "heads": 3,
    "keyValueHeads": 1,
    "channels": 12,
    "hidden": 9,
    "mlp": "swiglu",
    "norm": "rms",
    "normEps": 1e-6,
    "positions": "rotary halves",
    "rotaryBase": 100,
    "tied": False,
    "bias": False,
}


def init(config):
    C, H = config["channels"], config["heads"]
    G, hidden, bias = config.get("keyValueHeads", H), config.get("hidden", 4 * C), config.get("bias", True)
    norm = lambda: {"scale": 1 + grid(C, scale=0.2), **({"shift": grid(C, scale=0.2)} if bias else {})}

    def linear(rows, columns):
        weight = grid(rows, columns, scale=1 / math.sqrt(rows))
        return {"weight": weight, **({"bias": grid(columns, scale=0.2)} if bias else {})}

    def block():
        gate = {"gate": linear(C, hidden)} if config.get("mlp") == "swiglu" else {}
        return {
            "norm1": norm(),
            "attention": {"qkv": linear(C, (H + 2 * G) * (C // H)), "out": linear(C, C)},
            "norm2": norm(),
            "mlp": {**gate, "up": linear(C, hidden), "down": linear(hidden, C)},
        }

    rotary = "positions" in config
    return {
        "token": grid(config["vocabSize"], C),
        **({} if rotary else {"position": grid(config["context"], C, scale=0.5)}),
        "blocks": [block() for _ in range(config["layers"])],
        "norm": norm(),
        **({} if config.get("tied", True) else {"output": grid(config["vocabSize"], C, scale=1 / math.sqrt(C))}),
    }


def tree_map(f, tree):
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_map(f, value) for value in tree]
    return f(tree)


def leaves(tree):
    result = []
    tree_map(result.append, tree)
    return result


def apply_linear(x, p):
    return x @ p["weight"] + p.get("bias", 0)


def apply_norm(x, p, config):
    if config.get("norm") == "rms":
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["normEps"]) * p["scale"]
    return F.layer_norm(x, x.shape[-1:], p["scale"], p["shift"], 1e-5)


def turn(x, config):
    """Rotary positions of x [B, heads, T, D]: as in Hugging Face's Llama, or as in Meta's."""
    t, d = x.shape[-2:]
    speed = 1.0 / config["rotaryBase"] ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = torch.outer(torch.arange(t, dtype=torch.float64), speed)
    if config["positions"] == "rotary halves":
        angle = torch.cat([angle, angle], -1)
        rotated = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
        return x * angle.cos() + rotated * angle.sin()
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], d // 2, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


def attend(x, p, config):
    (b, t, c), h = x.shape, config["heads"]
    g, d = config.get("keyValueHeads", h), c // h
    heads = lambda y: y.view(b, t, -1, d).transpose(1, 2)
    q, k, v = (heads(y) for y in apply_linear(x, p["qkv"]).split([c, g * d, g * d], dim=-1))
    if "positions" in config:
        q, k = turn(q, config), turn(k, config)
    k, v = (y.repeat_interleave(h // g, dim=1) for y in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(d)
    scores = scores.masked_fill(~torch.ones(t, t, dtype=torch.bool).tril(), -math.inf)
    return apply_linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c), p["out"])


def feed_forward(x, p, config):
    up = apply_linear(x, p["up"])
    inside = F.silu(apply_linear(x, p["gate"])) * up if "gate" in p else F.gelu(up, approximate=config.get("gelu", "none"))
    return apply_linear(inside, p["down"])


def forward(params, tokens, config):
    x = params["token"][tokens]
    if "position" in params:
        x = x + params["position"][: tokens.shape[1]]
    for p in params["blocks"]:
        x = x + attend(apply_norm(x, p["norm1"], config), p["attention"], config)
        x = x + feed_forward(apply_norm(x, p["norm2"], config), p["mlp"], config)
    return apply_norm(x, params["norm"], config) @ params.get("output", params["token"]).T


def record(config, variants):
    params = init(config)
    tokens = torch.randint(0, config["vocabSize"], (BATCH, TIME))
    targets = torch.randint(0, config["vocabSize"], (BATCH, TIME))
    result = {"config": config, "params": tree_map(pack, params), "tokens": pack(tokens), "targets": pack(targets)}
    result["variants"] = [
        {"config": {**config, **variant}, "logits": pack(forward(params, tokens, {**config, **variant}))}
        for variant in variants
    ]
    params = tree_map(lambda p: p.requires_grad_(), params)
    optimizer = torch.optim.AdamW(leaves(params), lr=1e-2, eps=1e-3, weight_decay=0.1)
    losses = []
    for step in range(5):
        optimizer.zero_grad()
        logits = forward(params, tokens, config)
        loss = F.cross_entropy(logits.reshape(-1, config["vocabSize"]), targets.reshape(-1))
        loss.backward()
        if step == 0:
            result["logits"] = pack(logits)
            result["grads"] = tree_map(lambda p: pack(p.grad), params)
        optimizer.step()
        losses.append(loss.item())
    return {**result, "losses": losses, "after": tree_map(pack, params)}


def make():
    return {
        "gpt2": record(GPT2, [{"gelu": "tanh"}]),
        "llama": record(LLAMA, [{"positions": "rotary neighbours"}]),
    }
