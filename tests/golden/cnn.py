"""Convolutional classifiers, in training and after it: forward, loss, gradients, and five steps of an optimizer.

Weights are stored as the toolkit has them: a linear layer's weight is [in, out].
"""

import torch
import torch.nn.functional as F
from torch import nn

from make import grid, pack

BATCH = 4


def tree_map(f, tree):
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_map(f, value) for value in tree]
    return f(tree)


def norm_params(norm):
    return {"scale": norm.weight, "shift": norm.bias}


def statistics(norm):
    return {"mean": norm.running_mean, "variance": norm.running_var}


def roughen(model):
    """Parameters and running averages that no initialization would give, exact in every dtype."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            fan_in = p[0].numel() if p.dim() > 1 else 1
            p.copy_(grid(*p.shape, scale=fan_in**-0.5 if p.dim() > 1 else 0.25))
            if p.dim() == 1 and name.endswith("weight"):
                p.add_(1)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(grid(*b.shape, scale=0.5))
            elif name.endswith("running_var"):
                b.copy_(1 + grid(*b.shape).abs())


def record(model, trees, images, labels, optimizer):
    """`trees` gives parameters and state of `model` as the toolkit has them, with tensors that share its memory."""
    params, state = trees()
    snapshot = lambda: {"params": tree_map(pack, params), "state": tree_map(pack, state)}
    result = {"images": pack(images), "labels": pack(labels), "before": snapshot()}
    result["inference"] = pack(model.eval()(images))
    model.train()
    losses = []
    for step in range(5):
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        if step == 0:
            result["logits"] = pack(logits)
            result["state"] = tree_map(pack, state)
            result["grads"] = tree_map(lambda p: pack(p.grad), params)
        optimizer.step()
        losses.append(loss.item())
    return {**result, "losses": losses, "after": {**snapshot(), "inference": pack(model.eval()(images))}}


class Linear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias

    def params(self):
        return {"weight": self.weight, "bias": self.bias}


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 4, 5, stride=2, padding=1)
        self.conv3 = nn.Conv2d(4, 5, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(5)
        self.dense = Linear(5, 6)
        self.head = Linear(6, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.gelu(self.conv2(x))
        x = F.avg_pool2d(F.silu(self.norm3(self.conv3(x))), 2)
        return self.head(torch.tanh(self.dense(x.flatten(1))))

    def trees(self):
        params = {
            "blocks": [
                {"conv": {"weight": self.conv1.weight}, "norm": norm_params(self.norm1)},
                {"conv": {"weight": self.conv2.weight, "bias": self.conv2.bias}},
                {"conv": {"weight": self.conv3.weight}, "norm": norm_params(self.norm3)},
            ],
            "dense": [self.dense.params(), self.head.params()],
        }
        return params, [statistics(self.norm1), statistics(self.norm3)]


CONFIG = {
    "input": {"channels": 2, "height": 10, "width": 11},
    "blocks": [
        {"channels": 3, "norm": "batch", "pool": {"kind": "max", "size": 2}},
        {"channels": 4, "kernel": 5, "stride": 2, "padding": 1, "activation": "gelu"},
        {"channels": 5, "norm": "batch", "activation": "silu", "pool": {"kind": "average", "size": 2}},
    ],
    "dense": [{"features": 6, "activation": "tanh"}],
    "classes": 3,
}


def make():
    model = Cnn().double()
    roughen(model)
    images = grid(BATCH, 2, 10, 11)
    labels = torch.tensor([2, 0, 1, 2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    return {"config": CONFIG, **record(model, model.trees, images, labels, optimizer)}
