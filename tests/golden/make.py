"""Writes the golden values that tests/golden_test.ts and tests/gpt_test.ts hold the toolkit to.

    python3 tests/golden/make.py        (PyTorch 1.13 on the CPU; the seeds are fixed)

Inputs are multiples of 1/64, so that every dtype holds them exactly; everything is computed in float64 and written with
nine significant digits. A case is {op, name, inputs, options, outputs} and, where a gradient is checked,
{cotangents, gradients}: the gradients of sum(outputs * cotangents) by each input, null for an input without one.
"""

import json
import math
import os

import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def number(value):
    """A value as JSON holds it."""
    if isinstance(value, (bool, int)):
        return int(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    short = float(f"{value:.9g}")
    return int(short) if short == int(short) and not (short == 0 and math.copysign(1, short) < 0) else short


def pack(tensor):
    dtype = "f32" if tensor.is_floating_point() else "bool" if tensor.dtype == torch.bool else "i32"
    return {"shape": list(tensor.shape), "dtype": dtype, "data": [number(v) for v in tensor.detach().flatten().tolist()]}


def grid(*shape, scale=1.0):
    """Normal numbers, rounded to multiples of 1/64."""
    return (torch.randn(shape, dtype=torch.float64) * scale * 64).round() / 64


def distinct(*shape):
    """Numbers without ties, in a random order."""
    count = math.prod(shape)
    return ((torch.randperm(count) - count // 2) * 5).double().reshape(shape) / 64


def case(op, name, f, inputs, options=None, gradient=True):
    """One golden case: runs `f(*inputs)` and, unless told otherwise, differentiates it."""
    inputs = [x.detach().clone().requires_grad_(gradient and x.is_floating_point()) for x in inputs]
    outputs = f(*inputs)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    result = {
        "op": op,
        "name": name,
        "inputs": [pack(x) for x in inputs],
        "options": options or {},
        "outputs": [pack(y) for y in outputs],
    }
    if gradient:
        cotangents = [grid(*y.shape) if y.is_floating_point() else None for y in outputs]
        sum((y * c).sum() for y, c in zip(outputs, cotangents) if c is not None).backward()
        result["cotangents"] = [None if c is None else pack(c) for c in cotangents]
        result["gradients"] = [None if x.grad is None else pack(x.grad) for x in inputs]
    return result


def write(name, content):
    with open(os.path.join(HERE, f"{name}.json"), "w") as file:
        if isinstance(content, list):
            file.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in content) + "\n]\n")
        else:
            file.write(json.dumps(content, separators=(",", ":")) + "\n")


def main():
    import basics
    import cnn
    import gan
    import gpt
    import images
    import layers
    import lstm
    import optimizers
    import recurrent
    import resnet
    import selection
    import threefry
    import vae

    for module in [basics, images, layers, recurrent, selection, optimizers, threefry, cnn, gan, gpt, lstm, resnet, vae]:
        torch.manual_seed(7)
        write(module.__name__, module.make())


if __name__ == "__main__":
    main()
