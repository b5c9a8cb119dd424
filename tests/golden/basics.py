"""Elementwise arithmetic, reductions, products and changes of shape."""

import torch

from make import case, distinct, grid

# name, function, what to do to normal numbers to stay inside the domain
UNARY = [
    ("neg", torch.neg, None),
    ("abs", torch.abs, None),
    ("exp", torch.exp, None),
    ("expm1", torch.expm1, None),
    ("log", torch.log, lambda x: x.abs() + 0.25),
    ("log1p", torch.log1p, lambda x: x.abs() - 0.5),
    ("log2", torch.log2, lambda x: x.abs() + 0.25),
    ("sqrt", torch.sqrt, lambda x: x.abs() + 0.25),
    ("rsqrt", torch.rsqrt, lambda x: x.abs() + 0.25),
    ("reciprocal", torch.reciprocal, lambda x: x.abs() + 0.25),
    ("square", torch.square, None),
    ("sin", torch.sin, lambda x: x * 8),
    ("cos", torch.cos, lambda x: x * 8),
    ("tan", torch.tan, None),
    ("tanh", torch.tanh, lambda x: x * 2),
    ("sigmoid", torch.sigmoid, lambda x: x * 4),
    ("erf", torch.erf, None),
    ("relu", torch.relu, None),
]

BINARY = [
    ("add", torch.add),
    ("sub", torch.sub),
    ("mul", torch.mul),
    ("div", torch.div),
    ("max", torch.maximum),
    ("min", torch.minimum),
]

COMPARE = [
    ("equal", torch.eq),
    ("notEqual", torch.ne),
    ("less", torch.lt),
    ("lessEqual", torch.le),
    ("greater", torch.gt),
    ("greaterEqual", torch.ge),
]


def elementwise():
    result = [case(op, "values", f, [grid(3, 5) if fit is None else fit(grid(3, 5))]) for op, f, fit in UNARY]
    for op, f in BINARY:
        result.append(case(op, "broadcast [2,1,5] by [3,1]", f, [grid(2, 1, 5), grid(3, 1) + 0.125]))
    x, y = torch.tensor([1.0, 2, 3]).double(), torch.tensor([[2.0], [3]]).double()
    result += [case(op, "broadcast", f, [x, y], gradient=False) for op, f in COMPARE]
    bits = [torch.tensor([12, -7, 255, 0]), torch.tensor([[10], [-1]])]
    result += [
        case("and", "integers", torch.bitwise_and, bits, gradient=False),
        case("or", "integers", torch.bitwise_or, bits, gradient=False),
        case("xor", "integers", torch.bitwise_xor, bits, gradient=False),
        case("where", "broadcast", torch.where, [grid(4) > 0, grid(3, 4), grid(3, 1)]),
        case("clamp", "both sides", lambda t: t.clamp(-0.5, 0.75), [grid(3, 5) + 0.0078125], {"min": -0.5, "max": 0.75}),
    ]
    return result


def reductions():
    return [
        case("sum", "all", torch.sum, [grid(2, 3, 5)]),
        case("sum", "axes [0,2]", lambda x: x.sum((0, 2)), [grid(2, 3, 5)], {"axis": [0, 2]}),
        case("mean", "axis 1, keepDims", lambda x: x.mean(1, keepdim=True), [grid(2, 3, 5)], {"axis": 1, "keepDims": True}),
        case("prod", "axis -1", lambda x: x.prod(-1), [grid(3, 5)], {"axis": -1}),
        case("max", "axis 1", lambda x: x.amax(1), [distinct(2, 7, 3)], {"axis": 1}),
        case("min", "axes [0,1]", lambda x: x.amin((0, 1)), [distinct(2, 7, 3)], {"axis": [0, 1]}),
        case("argmax", "axis 1", lambda x: x.argmax(1), [distinct(2, 7, 3)], {"axis": 1}, gradient=False),
        case("argmin", "axis -1", lambda x: x.argmin(-1), [distinct(2, 3, 7)], {"axis": -1}, gradient=False),
        case("any", "axis 0", lambda x: x.any(0), [grid(2, 5) > 0.5], {"axis": 0}, gradient=False),
        case("all", "axis 0", lambda x: x.all(0), [grid(2, 5) > -0.5], {"axis": 0}, gradient=False),
    ]


def products():
    return [
        case("matmul", "[3,5] by [5,4]", torch.matmul, [grid(3, 5), grid(5, 4)]),
        case("matmul", "batches broadcast", torch.matmul, [grid(2, 1, 3, 5), grid(4, 5, 6)]),
        case("matmul", "transposed", lambda a, b: a.T @ b.T, [grid(5, 3), grid(4, 5)], {"transposeA": True, "transposeB": True}),
        case("matmul", "vector by matrix", torch.matmul, [grid(5), grid(2, 5, 4)]),
        case("matmul", "matrix by vector", torch.matmul, [grid(2, 3, 5), grid(5)]),
        case("dot", "vectors", torch.dot, [grid(7), grid(7)]),
        case("outer", "vectors", torch.outer, [grid(3), grid(5)]),
        case("linear", "bias", lambda x, w, b: x @ w + b, [grid(2, 3, 4), grid(4, 5), grid(5)]),
    ]


def shapes():
    pad = torch.nn.functional.pad
    widths = {"widths": [[0, 0], [0, 0], [1, 2], [3, 0]]}
    return [
        case("reshape", "[2,3,5]", lambda x: x.reshape(6, 5), [grid(2, 3, 5)], {"shape": [6, -1]}),
        case("transpose", "axes", lambda x: x.permute(2, 0, 1), [grid(2, 3, 5)], {"axes": [2, 0, 1]}),
        case("slice", "step 2", lambda x: x[:, 1:6:2], [grid(2, 7)], {"start": [0, 1], "stop": [2, 6], "step": [1, 2]}),
        case("slice", "negative", lambda x: x[:, -5:-1], [grid(2, 7)], {"start": [0, -5], "stop": [2, -1]}),
        case("pad", "constant", lambda x: pad(x, (3, 0, 1, 2), value=1.5), [grid(1, 2, 4, 5)], {**widths, "value": 1.5}),
        case("pad", "reflect", lambda x: pad(x, (3, 0, 1, 2), mode="reflect"), [grid(1, 2, 4, 5)], {**widths, "mode": "reflect"}),
        case("pad", "edge", lambda x: pad(x, (3, 0, 1, 2), mode="replicate"), [grid(1, 2, 4, 5)], {**widths, "mode": "edge"}),
        case("concat", "axis 1", lambda *xs: torch.cat(xs, 1), [grid(2, 3), grid(2, 1), grid(2, 4)], {"axis": 1}),
        case("stack", "axis 1", lambda *xs: torch.stack(xs, 1), [grid(2, 3), grid(2, 3)], {"axis": 1}),
        case("split", "sizes", lambda x: x.split([2, 4, 1], 1), [grid(3, 7)], {"sections": [2, 4, 1], "axis": 1}),
        case("flip", "axes", lambda x: x.flip(0, 2), [grid(2, 3, 4)], {"axis": [0, 2]}),
        case("tile", "[2,1,3]", lambda x: x.repeat(2, 1, 3), [grid(3, 2)], {"reps": [2, 1, 3]}),
        case("repeat", "axis 1", lambda x: x.repeat_interleave(3, 1), [grid(2, 4)], {"count": 3, "axis": 1}),
        case("broadcastTo", "[4,2,3]", lambda x: x.broadcast_to(4, 2, 3), [grid(2, 1)], {"shape": [4, 2, 3]}),
    ]


def make():
    return elementwise() + reductions() + products() + shapes()
