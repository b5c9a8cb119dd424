"""Three steps of each optimizer on two parameters, with gradients that do not depend on them."""

import torch

from make import grid, pack

SHAPES = [(2, 3), (4,)]


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr, betas, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (b1 * m + (1 - b1) * p.grad).sign()
                p -= group["lr"] * (update + group["weight_decay"] * p)
                m.copy_(b2 * m + (1 - b2) * p.grad)


def run(name, options, make):
    params = [grid(*shape).requires_grad_() for shape in SHAPES]
    gradients = [[grid(*shape) for shape in SHAPES] for _ in range(3)]
    optimizer = make(params)
    result = {"name": name, "options": options, "params": [pack(p) for p in params], "steps": []}
    for step in gradients:
        for p, g in zip(params, step):
            p.grad = g.clone()
        optimizer.step()
        result["steps"].append({"grads": [pack(g) for g in step], "params": [pack(p) for p in params]})
    return result


def clip(name, limit):
    grads = [grid(*shape) for shape in SHAPES]
    params = [torch.zeros_like(g).requires_grad_() for g in grads]
    for p, g in zip(params, grads):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(params, limit)
    return {"name": name, "limit": limit, "grads": [pack(g) for g in grads], "clipped": [pack(p.grad) for p in params]}


def make():
    o = torch.optim
    return {
        "optimizers": [
            run("sgd", {"learningRate": 0.1}, lambda p: o.SGD(p, 0.1)),
            run("sgd", {"learningRate": 0.1, "momentum": 0.9}, lambda p: o.SGD(p, 0.1, momentum=0.9)),
            run("sgd", {"learningRate": 0.1, "momentum": 0.9, "nesterov": True}, lambda p: o.SGD(p, 0.1, momentum=0.9, nesterov=True)),
            run("adam", {"learningRate": 0.01, "betas": [0.8, 0.95], "eps": 1e-6}, lambda p: o.Adam(p, 0.01, (0.8, 0.95), 1e-6)),
            run("adamw", {"learningRate": 0.01, "betas": [0.9, 0.99], "eps": 1e-8, "weightDecay": 0.1}, lambda p: o.AdamW(p, 0.01, (0.9, 0.99), 1e-8, 0.1)),
            run("rmsprop", {"learningRate": 0.01, "decay": 0.9, "eps": 1e-8}, lambda p: o.RMSprop(p, 0.01, 0.9, 1e-8)),
            run("rmsprop", {"learningRate": 0.01, "decay": 0.9, "eps": 1e-8, "centered": True, "momentum": 0.8}, lambda p: o.RMSprop(p, 0.01, 0.9, 1e-8, momentum=0.8, centered=True)),
            run("adadelta", {"learningRate": 0.5, "decay": 0.9, "eps": 1e-6}, lambda p: o.Adadelta(p, 0.5, 0.9, 1e-6)),
            run("lion", {"learningRate": 0.01, "betas": [0.9, 0.99], "weightDecay": 0.1}, lambda p: Lion(p, 0.01, (0.9, 0.99), 0.1)),
        ],
        "clip": [clip("above the limit", 1.0), clip("below the limit", 100.0)],
    }
