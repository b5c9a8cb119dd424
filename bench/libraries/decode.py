"""One token through a GPT-2, in PyTorch; run as a program, as an ONNX file: `decode.py <file>`, the workload on stdin."""

import json
import math
import sys

import torch
import torch.nn.functional as F

from values import parameters, sample, step_job, uniform


def decode(work, params, linear, token, position, remember):
    """Logits `[1, V]` of what follows `token` `[1]` at `position` `[1]`."""
    C, H = work["channels"], work["heads"]
    norm = lambda x, name: F.layer_norm(x, (C,), params[f"{name}.scale"], params[f"{name}.shift"])
    x = params["token"][token] + params["position"][position]  # [1, C]
    for i in range(work["layers"]):
        own = f"blocks.{i}."
        q, k, v = linear(norm(x, own + "norm1"), own + "qkv").view(3, H, 1, C // H)
        keys, values = remember(i, k, v)  # [H, S, C / H]
        attended = (q @ keys.transpose(1, 2) / math.sqrt(C // H)).softmax(-1) @ values  # [H, 1, C / H]
        x = x + linear(attended.view(1, C), own + "out")
        x = x + linear(F.gelu(linear(norm(x, own + "norm2"), own + "up"), approximate="tanh"), own + "down")
    return linear(norm(x, "norm"), "token")


def token_at(work, number):
    """The line of library.ts."""
    return 7919 * number % work["vocabSize"], work["filled"] + number % (work["context"] - work["filled"])


def first_cache(work):
    """Keys and values `[2, H, filled, C / H]` of every block."""
    shape = (2, work["heads"], work["filled"], work["channels"] // work["heads"])
    return [uniform(shape, 1000 + i) for i in range(work["layers"])]


def weights_of(work):
    """Parameters, those of linear layers as nn.Linear keeps them: `[out, in]`."""
    params = parameters(work)
    for name in [name for name in params if name.endswith(".weight")]:
        params[name] = params[name].t().contiguous()
    return {**params, "token.weight": params["token"], "token.bias": torch.zeros(work["vocabSize"])}


def decode_job(work):
    """Style `linear` multiplies by `linear`, `addmv` by `addmv`, which is faster for one row."""
    params = weights_of(work)
    by_linear = lambda x, name: F.linear(x, params[name + ".weight"], params[name + ".bias"])
    by_addmv = lambda x, name: torch.addmv(params[name + ".bias"], params[name + ".weight"], x[0])[None]
    linear = by_addmv if work["style"] == "addmv" else by_linear
    free = work["context"] - work["filled"]
    cache = [F.pad(block, (0, 0, 0, free)) for block in first_cache(work)]  # [2, H, context, C / H]

    @torch.no_grad()
    def step(number):
        token, position = token_at(work, number)

        def remember(i, k, v):
            cache[i][0, :, position] = k[:, 0]
            cache[i][1, :, position] = v[:, 0]
            return cache[i][:, :, : position + 1]

        logits = decode(work, params, linear, torch.tensor([token]), torch.tensor([position]), remember)
        return sample(logits[0])

    return step_job(step)


class Decoder(torch.nn.Module):
    """As it is exported: `past` and `present`, `[2, H, S, C / H]`, of each block go in and come out."""

    def __init__(self, work):
        super().__init__()
        self.work = work
        self.weights = torch.nn.ParameterDict({key.replace(".", "_"): value for key, value in weights_of(work).items()})

    def forward(self, token, position, *past):
        present = []

        def remember(i, k, v):
            present.append(torch.cat([past[i], torch.stack([k, v])], 2))
            return present[i].unbind(0)

        params = {name: self.weights[name.replace(".", "_")] for name in weights_names(self.work)}
        linear = lambda x, name: F.linear(x, params[name + ".weight"], params[name + ".bias"])
        return (decode(self.work, params, linear, token, position, remember), *present)


def weights_names(work):
    return [p["name"] for p in work["parameters"]] + ["token.weight", "token.bias"]


def export(work, path):
    blocks = range(work["layers"])
    past, present = [f"past{i}" for i in blocks], [f"present{i}" for i in blocks]
    axes = {**{name: {2: "past"} for name in past}, **{name: {2: "present"} for name in present}}
    inputs = (torch.tensor([0]), torch.tensor([work["filled"]]), *first_cache(work))
    torch.onnx.export(
        Decoder(work),
        inputs,
        path,
        input_names=["token", "position", *past],
        output_names=["logits", *present],
        dynamic_axes=axes,
        opset_version=14,
    )


if __name__ == "__main__":
    export(json.load(sys.stdin), sys.argv[1])
