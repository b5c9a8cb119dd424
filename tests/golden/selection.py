"""Reductions, sorting, gathering, einsum, and arithmetic at its edges."""

import math

import torch

from make import case, distinct, grid


def einsum(equation, *operands):
    return case("einsum", equation, lambda *t: torch.einsum(equation, *t), list(operands), {"equation": equation})


def edges():
    inf, nan = math.inf, math.nan
    vector = lambda *values: torch.tensor(values, dtype=torch.float64)
    base, exponent = torch.meshgrid(
        vector(-inf, -2.5, -1, -0.0, 0, 0.5, 1, 3, inf, nan), vector(-inf, -3, -0.5, 0, 0.5, 2, 3, inf, nan), indexing="ij"
    )
    halves = vector(-2.5, -1.5, -0.5, -0.25, 0, 0.5, 1.5, 2.5, 3.5, -3.75, 1e9)
    a, b = torch.meshgrid(vector(-7, -4.5, -1, 0, 1, 4.5, 7), vector(-3, -2.25, 2.25, 3), indexing="ij")
    i, j = torch.meshgrid(torch.tensor([-7, -3, 0, 3, 7]), torch.tensor([-3, -2, 2, 3]), indexing="ij")
    plain = {"gradient": False}
    return [
        case("pow", "edges", torch.pow, [base.contiguous(), exponent.contiguous()], **plain),
        case("pow", "gradient of both", torch.pow, [grid(3, 4).abs() + 0.5, grid(3, 4)]),
        case("pow", "gradient at base 0 and below", lambda x: x ** vector(2, 3, 1, 2, 3), [vector(0, 0, 0, -2, -1.5)], {"exponents": [2, 3, 1, 2, 3]}),
        case("mod", "floored", torch.remainder, [a.contiguous(), b.contiguous()], **plain),
        case("mod", "integers", torch.remainder, [i.contiguous(), j.contiguous()], **plain),
        case("div", "integers truncate", lambda x, y: torch.div(x, y, rounding_mode="trunc"), [i.contiguous(), j.contiguous()], **plain),
        case("sign", "edges", torch.sign, [vector(-inf, -2, -0.0, 0, 3, inf)], **plain),
        case("round", "half to even", torch.round, [halves], **plain),
        case("floor", "halves", torch.floor, [halves], **plain),
        case("ceil", "halves", torch.ceil, [halves], **plain),
        case("erf", "wide", torch.erf, [vector(-4, -1, -0.001, 0, 0.3, 1, 2.5, 6)]),
        case("expm1", "near 0", torch.expm1, [vector(-20, -1, -1e-6, 0, 1e-6, 0.5, 3)]),
        case("log1p", "near 0", torch.log1p, [vector(-0.75, -1e-6, 0, 1e-6, 0.5, 100)]),
    ]


def reductions():
    cumulative = lambda axis: lambda x: x.cumsum(axis)
    backward = lambda x: x.flip(1).cumsum(1).flip(1)
    exclusive = lambda x: x.cumsum(1) - x
    zeros = torch.tensor([[2.0, 0, 3], [0, 0, 5], [1, 2, 4]], dtype=torch.float64)
    return [
        case("variance", "axis 1", lambda x: x.var(1, unbiased=False), [grid(3, 5, 2)], {"axis": 1}),
        case("variance", "correction 1, keepDims", lambda x: x.var((0, 2), unbiased=True, keepdim=True), [grid(3, 5, 2)], {"axis": [0, 2], "correction": 1, "keepDims": True}),
        case("cumulativeSum", "axis 0", cumulative(0), [grid(4, 3)], {"axis": 0}),
        case("cumulativeSum", "axis 1", cumulative(1), [grid(2, 5, 3)], {"axis": 1}),
        case("cumulativeSum", "reverse", backward, [grid(3, 6)], {"axis": 1, "reverse": True}),
        case("cumulativeSum", "exclusive", exclusive, [grid(3, 6)], {"axis": 1, "exclusive": True}),
        case("prod", "with zeros", lambda x: x.prod(1), [zeros], {"axis": 1}),
        case("norm", "2", lambda x: x.norm(2, 1), [grid(3, 5)], {"axis": 1, "ord": 2}),
        case("norm", "1", lambda x: x.norm(1, 1), [grid(3, 5) + 0.01], {"axis": 1, "ord": 1}),
    ]


def sorting():
    ties = torch.tensor([[3, 1, 3, 0, 1, 2, 3], [0, 0, 5, 5, -1, 5, 0]], dtype=torch.float64)
    order = lambda down: lambda x: x.sort(dim=-1, descending=down, stable=True).indices
    return [
        case("sort", "ascending", lambda x: x.sort(dim=1).values, [distinct(3, 9)], {"axis": 1}),
        case("sort", "descending, axis 0", lambda x: x.sort(dim=0, descending=True).values, [distinct(5, 4)], {"axis": 0, "descending": True}),
        case("argsort", "stable with ties", order(False), [ties], {"axis": -1}, gradient=False),
        case("argsort", "descending, stable with ties", order(True), [ties], {"axis": -1, "descending": True}, gradient=False),
        case("topK", "largest", lambda x: tuple(x.topk(3, 1)), [distinct(2, 7)], {"k": 3, "axis": 1, "largest": True}),
        case("topK", "smallest, axis 0", lambda x: tuple(x.topk(2, 0, largest=False)), [distinct(6, 3)], {"k": 2, "axis": 0, "largest": False}),
    ]


def gathering():
    rows = torch.tensor([[2, 0, 2], [4, 1, 1]])
    columns = torch.tensor([[0, 3, 3], [2, 2, 1]])
    whole, tall = torch.tensor([[2, 0, 2, 4], [4, 1, 1, 3]]), torch.tensor([[0, 3], [2, 2], [1, 0]])
    scatter = lambda axis: lambda x, i, u: x.scatter_add(axis, i, u)
    add = lambda axis: lambda x, i, u: x.index_add(axis, i, u)
    return [
        case("gather", "rows by a matrix", lambda x, i: x[i], [grid(5, 4), rows], {"axis": 0}),
        case("gather", "axis 1", lambda x, i: x.index_select(1, i), [grid(3, 5, 2), torch.tensor([4, 0, 0, 1])], {"axis": 1}),
        case("gatherElements", "axis 0", lambda x, i: x.gather(0, i), [grid(5, 4), whole], {"axis": 0}),
        case("gatherElements", "axis 1", lambda x, i: x.gather(1, i), [grid(3, 4), tall], {"axis": 1}),
        case("scatterAdd", "axis 0", scatter(0), [grid(5, 3), rows, grid(2, 3)], {"axis": 0}),
        case("scatterAdd", "axis 1", scatter(1), [grid(2, 4), columns, grid(2, 3)], {"axis": 1}),
        case("indexAdd", "axis 0", add(0), [grid(5, 3), torch.tensor([4, 0, 4, 1]), grid(4, 3)], {"axis": 0}),
        case("indexAdd", "axis 1", add(1), [grid(2, 5, 3), torch.tensor([3, 3]), grid(2, 2, 3)], {"axis": 1}),
    ]


def einsums():
    return [
        einsum("ij,jk->ik", grid(2, 3), grid(3, 4)),
        einsum("ij,kj", grid(2, 3), grid(4, 3)),
        einsum("bij,bkj->bik", grid(2, 3, 4), grid(2, 5, 4)),
        einsum("i,j->ij", grid(3), grid(4)),
        einsum("ii->i", grid(4, 4)),
        einsum("ii", grid(3, 3)),
        einsum("ijk->kj", grid(2, 3, 4)),
        einsum("i,i->", grid(6), grid(6)),
        einsum("...ij,...jk->...ik", grid(2, 5, 3, 4), grid(4, 2)),
        einsum("abc,cd,bde->ae", grid(2, 3, 4), grid(4, 5), grid(3, 5, 6)),
        einsum("bthd,bshd->bhts", grid(2, 3, 4, 5), grid(2, 6, 4, 5)),
    ]


def make():
    return edges() + reductions() + sorting() + gathering() + einsums()
