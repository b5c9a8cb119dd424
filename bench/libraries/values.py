"""Numbers that every library is given alike: the lines of values.ts."""

import math
import time

import numpy as np
import torch


def hashes(count, seed):
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
        return h ^ (h >> np.uint32(16))


def uniform(shape, seed, scale=1):
    values = (hashes(math.prod(shape), seed) / 2**31 - 1) * scale
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def integers(shape, seed, below):
    return torch.from_numpy((hashes(math.prod(shape), seed) % below).astype(np.int64).reshape(shape))


def sample(values):
    """At most 499 of a list or a vector."""
    values = values[:: max(1, math.ceil(len(values) / 499))]
    return values if isinstance(values, list) else values.tolist()


def parameters(work):
    """The first value of every parameter, by name."""
    return {
        name: torch.ones(shape) if scale is None else uniform(shape, i + 1, scale)
        for i, (name, shape, scale) in enumerate((p["name"], p["shape"], p["scale"]) for p in work["parameters"])
    }


def batches(work, make):
    """Of each batch, what `make` makes of two seeds; as a function of the step's number."""
    made = [make(1000 + 2 * i, 1001 + 2 * i) for i in range(work["batches"])]
    return lambda number: made[number % len(made)]


def since(start):
    return (time.perf_counter() - start) * 1e3


def step_job(step):
    """How a step is compared and run; `step(number)` gives numbers."""
    count = 0

    def run():
        nonlocal count
        count += 1
        return step(count - 1)

    def values():
        start = time.perf_counter()
        found = run()
        first = since(start)
        return {"values": sample(found + run() + run()), "first": first}

    return values, run
