"""Convolution, pooling and upsampling."""

import torch.nn.functional as F

from make import case, distinct, grid


def conv(name, x, w, b=None, **options):
    f = F.conv2d if x.dim() == 4 else F.conv1d
    inputs = [x, w] if b is None else [x, w, b]
    return case("conv", name, lambda *t: f(*t, **options), inputs, options)


def conv_transpose(name, x, w, b=None, **options):
    f = F.conv_transpose2d if x.dim() == 4 else F.conv_transpose1d
    torch_options = {"output_padding" if k == "outputPadding" else k: v for k, v in options.items()}
    inputs = [x, w] if b is None else [x, w, b]
    return case("convTranspose", name, lambda *t: f(*t, **torch_options), inputs, options)


def max_pool(name, x, size, **options):
    f = F.max_pool2d if x.dim() == 4 else F.max_pool1d
    torch_options = {"ceil_mode" if k == "ceilMode" else k: v for k, v in options.items()}
    return case("maxPool", name, lambda t: f(t, size, **torch_options), [x], {"size": size, **options})


def avg_pool(name, x, size, **options):
    f = F.avg_pool2d if x.dim() == 4 else F.avg_pool1d
    names = {"ceilMode": "ceil_mode", "countIncludePad": "count_include_pad"}
    torch_options = {names.get(k, k): v for k, v in options.items()}
    return case("avgPool", name, lambda t: f(t, size, **torch_options), [x], {"size": size, **options})


def upsample(name, x, scale, mode):
    torch_scale = tuple(map(float, scale)) if isinstance(scale, list) else float(scale)
    options = {"mode": mode, **({"align_corners": False} if mode == "bilinear" else {})}
    f = lambda t: F.interpolate(t, scale_factor=torch_scale, **options)
    return case("upsample", name, f, [x], {"scale": scale, "mode": mode})


def make():
    return [
        conv("1d", grid(2, 3, 11), grid(4, 3, 5)),
        conv("1d stride 3, dilation 2, padding 4, bias", grid(2, 3, 13), grid(5, 3, 4), grid(5), stride=3, dilation=2, padding=4),
        conv("1d depthwise", grid(1, 4, 9), grid(8, 1, 3), groups=4, padding=1),
        conv("2d", grid(2, 3, 7, 8), grid(4, 3, 2, 5)),
        conv("2d 1x1", grid(2, 5, 3, 4), grid(6, 5, 1, 1), grid(6)),
        conv("2d stride [2,3], padding [1,2]", grid(2, 3, 9, 10), grid(4, 3, 3, 5), stride=[2, 3], padding=[1, 2]),
        conv("2d stride leaves a rest", grid(1, 2, 8, 11), grid(3, 2, 3, 2), stride=[3, 4]),
        conv("2d dilation [2,3]", grid(1, 2, 9, 11), grid(3, 2, 3, 4), dilation=[2, 3], padding=[2, 1]),
        conv("2d groups 2, all options", grid(2, 4, 10, 9), grid(6, 2, 3, 2), grid(6), stride=[3, 2], padding=[2, 1], dilation=[2, 3], groups=2),
        conv("2d depthwise", grid(1, 5, 6, 7), grid(5, 1, 3, 3), stride=2, padding=1, groups=5),
        conv_transpose("1d", grid(2, 3, 5), grid(3, 4, 2)),
        conv_transpose("1d stride 3, outputPadding 2", grid(2, 3, 5), grid(3, 2, 4), stride=3, padding=1, outputPadding=2),
        conv_transpose("2d stride [2,3], padding [1,2]", grid(1, 3, 4, 5), grid(3, 2, 3, 6), grid(2), stride=[2, 3], padding=[1, 2], outputPadding=[1, 2]),
        conv_transpose("2d dilation, groups", grid(2, 4, 3, 5), grid(4, 3, 2, 3), grid(6), stride=2, dilation=[3, 2], outputPadding=[1, 0], groups=2),
        max_pool("1d", distinct(2, 3, 11), 3),
        max_pool("1d padding, ceil", distinct(2, 3, 10), 4, stride=3, padding=2, ceilMode=True),
        max_pool("2d overlapping, padding [1,2]", distinct(2, 3, 7, 9), [3, 4], stride=[2, 3], padding=[1, 2]),
        max_pool("2d dilation", distinct(1, 2, 9, 10), [2, 3], stride=[2, 1], dilation=[3, 2], padding=[1, 0]),
        max_pool("2d ceil", distinct(1, 2, 6, 7), 3, stride=2, ceilMode=True),
        max_pool("2d ceil, last window outside is dropped", distinct(1, 2, 4, 5), 2, stride=3, padding=1, ceilMode=True),
        avg_pool("1d padding", grid(2, 3, 10), 3, stride=2, padding=1),
        avg_pool("2d", grid(2, 3, 6, 8), [2, 3]),
        avg_pool("2d padding counted", grid(1, 2, 7, 9), [3, 4], stride=[2, 3], padding=[1, 2]),
        avg_pool("2d padding not counted", grid(1, 2, 7, 9), [3, 4], stride=[2, 3], padding=[1, 2], countIncludePad=False),
        avg_pool("2d ceil", grid(1, 2, 6, 7), 3, stride=2, ceilMode=True),
        avg_pool("2d ceil, padding counted", grid(1, 2, 7, 8), [3, 4], stride=[3, 3], padding=1, ceilMode=True),
        avg_pool("2d ceil, padding not counted", grid(1, 2, 7, 8), [3, 4], stride=[3, 3], padding=1, ceilMode=True, countIncludePad=False),
        upsample("nearest 1d", grid(2, 3, 5), 2, "nearest"),
        upsample("nearest [2,3]", grid(1, 2, 3, 4), [2, 3], "nearest"),
        upsample("bilinear 2", grid(1, 2, 3, 4), 2, "bilinear"),
        upsample("bilinear [3,2]", grid(2, 1, 4, 3), [3, 2], "bilinear"),
    ]
