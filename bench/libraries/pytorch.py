"""PyTorch in a contest: answers the requests of contestant.ts, one JSON line each. Argument: number of threads."""

import json
import math
import re
import sys
import time

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit()


def hashes(count, seed):
    """The lines of values.ts."""
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        return h ^ (h >> np.uint32(16))


def uniform(shape, seed, scale):
    values = (hashes(math.prod(shape), seed) / 2**31 - 1) * scale
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def integers(shape, seed, below):
    return torch.from_numpy((hashes(math.prod(shape), seed) % below).astype(np.int64).reshape(shape))


def sample(values):
    """The lines of values.ts."""
    return values[:: max(1, math.ceil(len(values) / 499))].tolist()


def since(start):
    return (time.perf_counter() - start) * 1e3


OPS = {
    "matmul": lambda a, b: a @ b,
    "conv": lambda x, w: F.conv2d(x, w, padding=1),
    "softmax": lambda x: x.softmax(-1),
    "layerNorm": lambda x, scale, shift: F.layer_norm(x, scale.shape, scale, shift),
    "gelu": F.gelu,
    "exp": torch.exp,
    "add": torch.add,
    "sum": lambda x: x.sum(1),
    "maxPool": lambda x: F.max_pool2d(x, 2),
}


def op_job(work):
    f = OPS[work["op"]]
    inputs = [uniform(shape, i + 1, work["scale"]) for i, shape in enumerate(work["shapes"])]

    def values():
        start = time.perf_counter()
        with torch.no_grad():
            output = f(*inputs)
        return {"values": sample(output.flatten()), "first": since(start)}

    def run():
        with torch.no_grad():
            f(*inputs)

    return values, run


def gpt_loss(work, params, tokens, targets):
    B, T, C, H = work["batch"], work["context"], work["channels"], work["heads"]
    past = torch.ones(T, T, dtype=torch.bool).tril()
    x = params["token"][tokens] + params["position"]  # [B, T, C]
    for i in range(work["layers"]):
        own = lambda name: params[f"blocks.{i}.{name}"]
        qkv = F.layer_norm(x, (C,), own("norm1")) @ own("qkv")
        q, k, v = (part.view(B, T, H, C // H).transpose(1, 2) for part in qkv.split(C, 2))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(C // H)  # [B, H, T, T]
        attended = scores.masked_fill(~past, -math.inf).softmax(-1) @ v
        x = x + attended.transpose(1, 2).reshape(B, T, C) @ own("out")
        x = x + F.gelu(F.layer_norm(x, (C,), own("norm2")) @ own("up")) @ own("down")
    logits = F.layer_norm(x, (C,), params["norm"]) @ params["token"].T
    return F.cross_entropy(logits.view(B * T, -1), targets.view(-1))


def gpt_job(work):
    params = {}
    for i, parameter in enumerate(work["parameters"]):
        shape, scale = parameter["shape"], parameter["scale"]
        value = torch.ones(shape) if scale is None else uniform(shape, i + 1, scale)
        params[parameter["name"]] = value.requires_grad_()
    shape, below = (work["batch"], work["context"]), work["vocabSize"]
    batches = [
        (integers(shape, 1000 + 2 * i, below), integers(shape, 1001 + 2 * i, below)) for i in range(work["batches"])
    ]
    every = list(params.values())
    groups = [
        {"params": [p for p in every if p.dim() > 1], "weight_decay": work["weightDecay"]},
        {"params": [p for p in every if p.dim() == 1], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, work["learningRate"], work["betas"], work["eps"])
    steps = 0

    def run():
        nonlocal steps
        tokens, targets = batches[steps % len(batches)]
        steps += 1
        optimizer.zero_grad(set_to_none=True)
        loss = gpt_loss(work, params, tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, work["clip"])
        optimizer.step()
        return loss.item()

    def values():
        start = time.perf_counter()
        losses = [run()]
        first = since(start)
        return {"values": losses + [run(), run()], "first": first}

    return values, run


def blas_path():
    """The BLAS library in use: matrix products are as fast as it is."""
    with open("/proc/self/maps") as maps:
        found = sorted(set(re.findall(r"/\S*blas\S*", maps.read())))
    return next(iter([path for path in found if "openblas" in path] + found), "built in")


def main():
    torch.set_num_threads(int(sys.argv[1]))
    path = blas_path()
    blas = "OpenBLAS" if "openblas" in path else "reference BLAS" if "/blas/" in path else path
    print(json.dumps({"description": f"PyTorch {torch.__version__} ({blas})"}), flush=True)
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                work = request["prepare"]
                values, run = op_job(work) if work["kind"] == "op" else gpt_job(work)
                answer = values()
            else:
                answer = {"times": []}
                for _ in range(request["run"]):
                    start = time.perf_counter()
                    run()
                    answer["times"].append(since(start))
        except Exception as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
