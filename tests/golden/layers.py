"""Activations, norms, softmax, attention and losses."""

import math

import torch
import torch.nn.functional as F

from make import case, grid


def rms_norm(x, scale, eps):
    """Zhang and Sennrich 2019."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * scale


def attend(q, k, v, mask=None, causal=False, scale=None):
    """Vaswani et al. 2017; a boolean mask says who may look, a float mask is added."""
    scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ v


def attention(name, q, k, v, mask=None, **options):
    inputs = [q, k, v] if mask is None else [q, k, v, mask]
    return case("attention", name, lambda *t: attend(*t, **options), inputs, options)


def cross_entropy(name, logits, labels, **options):
    names = {"ignoreIndex": "ignore_index", "labelSmoothing": "label_smoothing"}
    torch_options = {names.get(k, k): v for k, v in options.items()}
    f = lambda x, y: F.cross_entropy(x.movedim(-1, 1), y, **torch_options)
    return case("crossEntropy", name, f, [logits, labels], options)


def kl(name, x, target, log_target=False, reduction="mean"):
    f = lambda a, b: F.kl_div(a, b, log_target=log_target, reduction=reduction.lower())
    return case("klDivergence", name, f, [x, target], {"logTarget": log_target, "reduction": reduction})


def activations():
    x = lambda: grid(3, 7, scale=2)
    wide = torch.tensor([-30.0, -8.0, -1.0, 0.0, 1.0, 8.0, 30.0], dtype=torch.float64)
    return [
        case("gelu", "exact", F.gelu, [x()], {"approximate": "none"}),
        case("gelu", "tanh", lambda t: F.gelu(t, approximate="tanh"), [x()], {"approximate": "tanh"}),
        case("gelu", "exact, wide", F.gelu, [wide], {"approximate": "none"}),
        case("gelu", "tanh, wide", lambda t: F.gelu(t, approximate="tanh"), [wide], {"approximate": "tanh"}),
        case("elu", "alpha 1", F.elu, [x()]),
        case("elu", "alpha 0.7", lambda t: F.elu(t, alpha=0.7), [x()], {"alpha": 0.7}),
        case("silu", "plain", F.silu, [x()]),
        case("silu", "wide", F.silu, [wide]),
        case("softplus", "plain", F.softplus, [x()]),
        case("softplus", "wide", lambda t: F.softplus(t, threshold=1000), [wide]),
        case("leakyRelu", "slope 0.2", lambda t: F.leaky_relu(t, 0.2), [x()], {"slope": 0.2}),
    ]


def norms():
    statistics = lambda: [grid(5, scale=0.3), grid(5, scale=0.3).abs() + 0.5]
    bn = lambda x, scale, shift, eps=1e-5: F.batch_norm(x, None, None, scale, shift, training=True, eps=eps)
    given = lambda x, scale, shift, mean, variance: F.batch_norm(x, mean, variance, scale, shift, training=False, eps=1e-5)
    gn = lambda x, scale, shift: F.group_norm(x, 3, scale, shift, eps=1e-5)
    return [
        case("layerNorm", "[2,3,7]", lambda x, a, b: F.layer_norm(x, (7,), a, b, 1e-5), [grid(2, 3, 7), grid(7), grid(7)], {"eps": 1e-5}),
        case("layerNorm", "eps 0.1, no affine", lambda x: F.layer_norm(x, (9,), eps=0.1), [grid(4, 9)], {"eps": 0.1}),
        case("rmsNorm", "[3,8]", lambda x, a: rms_norm(x, a, 1e-6), [grid(3, 8), grid(8)], {"eps": 1e-6}),
        case("batchNorm", "images", bn, [grid(3, 5, 2, 4), grid(5), grid(5)], {"eps": 1e-5}),
        case("batchNorm", "rows, eps 0.01", lambda *t: bn(*t, eps=0.01), [grid(7, 5), grid(5), grid(5)], {"eps": 0.01}),
        case("batchNorm", "given statistics", given, [grid(2, 5, 3), grid(5), grid(5), *statistics()], {"eps": 1e-5}, gradient=False),
        case("groupNorm", "3 groups", gn, [grid(2, 6, 4, 5), grid(6), grid(6)], {"groups": 3, "eps": 1e-5}),
    ]


def attentions():
    t, s, d, e = 5, 7, 4, 3
    mask = torch.rand(t, s) > 0.4
    mask[:, 0] = True
    return [
        attention("two heads", grid(2, t, d), grid(2, s, d), grid(2, s, e)),
        attention("causal", grid(2, 3, 6, d), grid(2, 3, 6, d), grid(2, 3, 6, d), causal=True),
        attention("boolean mask", grid(2, t, d), grid(2, s, d), grid(2, s, e), mask),
        attention("added mask, scale 0.3", grid(2, t, d), grid(2, s, d), grid(2, s, e), grid(t, s), scale=0.3),
        attention("causal, rank 2", grid(6, d), grid(6, d), grid(6, e), causal=True),
    ]


def losses():
    probabilities = lambda *shape: grid(*shape).softmax(-1)
    bce, huber = F.binary_cross_entropy_with_logits, F.huber_loss
    result = []
    for reduction in ["mean", "sum", "none"]:
        r = {"reduction": reduction}
        labels = torch.tensor([3, 0, -1, 6, 2])
        result += [
            cross_entropy(reduction, grid(5, 7), torch.tensor([3, 0, 5, 6, 2]), **r),
            cross_entropy(f"{reduction}, ignored and smoothed", grid(5, 7), labels, ignoreIndex=-1, labelSmoothing=0.1, **r),
            case("binaryCrossEntropyWithLogits", reduction, lambda x, y: bce(x, y, **r), [grid(3, 4, scale=4), torch.rand(3, 4).double().mul(64).round() / 64], r),
            case("huber", f"{reduction}, delta 0.75", lambda x, y: huber(x, y, delta=0.75, **r), [grid(3, 5), grid(3, 5)], {"delta": 0.75, **r}),
            case("meanSquaredError", reduction, lambda x, y: F.mse_loss(x, y, **r), [grid(3, 5), grid(3, 5)], r),
        ]
    result += [
        cross_entropy("smoothed", grid(4, 6), torch.tensor([0, 5, 2, 2]), labelSmoothing=0.3),
        cross_entropy("ignored, rank 3", grid(2, 3, 5), torch.tensor([[1, 4, 2], [0, 1, 4]]), ignoreIndex=4),
        cross_entropy("large logits", grid(3, 4, scale=300), torch.tensor([1, 3, 0])),
    ]
    for reduction in ["mean", "sum", "none", "batchMean"]:
        result.append(kl(reduction, grid(3, 5).log_softmax(-1), probabilities(3, 5), reduction=reduction))
    result.append(kl("logTarget", grid(3, 5).log_softmax(-1), grid(3, 5).log_softmax(-1), log_target=True))
    result.append(kl("zero in the target", grid(3).log_softmax(-1), torch.tensor([0, 0.25, 0.75]).double()))
    result[-1]["gradients"][1] = None  # infinite at 0
    return result


def soft():
    masked = torch.tensor([[-math.inf, 1.0, 2.0], [80.0, -80.0, 80.0]], dtype=torch.float64)
    return [
        case("softmax", "last axis", lambda x: x.softmax(-1), [grid(3, 9, scale=3)], {"axis": -1}),
        case("softmax", "axis 1", lambda x: x.softmax(1), [grid(2, 5, 3)], {"axis": 1}),
        case("softmax", "minus infinity", lambda x: x.softmax(-1), [masked], {"axis": -1}),
        case("logSoftmax", "last axis", lambda x: x.log_softmax(-1), [grid(3, 9, scale=3)], {"axis": -1}),
        case("logSoftmax", "axis 0", lambda x: x.log_softmax(0), [grid(4, 5)], {"axis": 0}),
        case("logSumExp", "axis 1", lambda x: x.logsumexp(1), [grid(2, 5, 3, scale=4)], {"axis": 1}),
        case("logSumExp", "two axes, keepDims", lambda x: x.logsumexp((0, 2), keepdim=True), [grid(2, 5, 3)], {"axis": [0, 2], "keepDims": True}),
        case("logSumExp", "large", lambda x: x.logsumexp(-1), [grid(2, 4) + 100], {"axis": -1}),
    ]


def make():
    return activations() + norms() + attentions() + soft() + losses()
