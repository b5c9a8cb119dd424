"""Random numbers as JAX draws them (jax_threefry_partitionable=True, its default), by Random123's published function.

The documentation of JAX prints three values, which assertions check: uniform(key(0)) = 0.947667,
uniform(split(key(0))[1]) = 0.00729382, normal(key(42)) = -0.028304616.
"""

import math

import numpy as np
import torch

from make import pack

ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]]


def threefry(key, x0, x1):
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011)."""
    with np.errstate(over="ignore"):
        ks = [np.uint32(key[0]), np.uint32(key[1]), np.uint32(key[0]) ^ np.uint32(key[1]) ^ np.uint32(0x1BD11BDA)]
        x0, x1 = x0 + ks[0], x1 + ks[1]
        for i in range(5):
            for r in ROTATIONS[i % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))) ^ x0
            x0, x1 = x0 + ks[(i + 1) % 3], x1 + ks[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def counted(key, shape):
    count = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    return threefry(key, np.zeros_like(count), count)


def split(key, n=2):
    return np.stack(counted(key, (n,)), -1)


def bits(key, shape):
    a, b = counted(key, shape)
    return a ^ b


def uniform(key, shape, low=0.0, high=1.0):
    low, high = np.float32(low), np.float32(high)
    unit = ((bits(key, shape) >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    return np.maximum(low, unit * (high - low) + low)


def erfinv(u):
    return math.sqrt(2) * torch.erfinv(torch.as_tensor(u, dtype=torch.float64)).numpy()


def normal(key, shape):
    return erfinv(uniform(key, shape, np.nextafter(np.float32(-1), np.float32(0)), 1))


def truncated_normal(key, lower, upper, shape):
    a, b = (math.erf(limit / math.sqrt(2)) for limit in [lower, upper])
    return erfinv(uniform(key, shape, a, b))


def randint(key, shape, low, high):
    span = np.uint32(high - low)
    a, b = (bits(k, shape) for k in split(key))
    with np.errstate(over="ignore"):
        multiplier = np.uint32(2**16) % span
        multiplier = multiplier * multiplier % span  # of 32 bits, as in JAX
        return (((a % span) * multiplier + b % span) % span).astype(np.int64) + low


def gumbel(key, shape):
    return -np.log(-np.log(uniform(key, shape, np.finfo(np.float32).tiny, 1).astype(np.float64)))


def permutation(key, n):
    x = np.arange(n)
    for _ in range(math.ceil(3 * math.log(max(1, n)) / math.log(2**32 - 1))):
        key, sub = split(key)
        x = x[np.argsort(bits(sub, (n,)), kind="stable")]
    return x


def u32(array):
    return {"shape": list(array.shape), "dtype": "u32", "data": [int(v) for v in array.flatten()]}


def tensor(array):
    return pack(torch.as_tensor(np.ascontiguousarray(array)))


def key(seed):
    return np.array([0, seed], dtype=np.uint32)


def make():
    zero = np.zeros((), np.uint32)
    assert [hex(int(v)) for v in threefry((0, 0), zero, zero)] == ["0x6b200159", "0x99ba4efe"]  # Random123's own vector
    assert abs(uniform(key(0), ()) - 0.947667) < 1e-6
    assert abs(uniform(split(key(0))[1], ()) - 0.00729382) < 1e-8
    assert abs(normal(key(42), ()) + 0.028304616) < 1e-8
    logits = np.round(np.linspace(-2, 2, 15).reshape(3, 5) * 64) / 64
    choice = (gumbel(key(9), (3, 5)) + logits).argmax(-1)
    return {
        "key": u32(key(1234567)),
        "split": u32(split(key(42), 3)),
        "randomBits": u32(bits(key(7), (2, 5))),
        "uniform": tensor(uniform(key(1), (3, 3))),
        "uniformRange": tensor(uniform(key(1), (4,), -2, 5)),
        "normal": tensor(normal(key(2), (3, 5))),
        "bernoulli": tensor(uniform(key(3), (9,)) < 0.3),
        "randint": tensor(randint(key(4), (2, 6), -5, 17)),
        "randintWide": tensor(randint(key(4), (5,), -(2**31), 2**31 - 1)),
        "truncatedNormal": tensor(truncated_normal(key(5), -1, 2, (7,))),
        "permutation": tensor(permutation(key(6), 13)),
        "categorical": {"logits": tensor(logits), "choice": tensor(choice)},
    }
