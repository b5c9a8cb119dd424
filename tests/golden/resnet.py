"""Residual networks, written as torchvision's: how many parameters they have, and two small ones in training."""

import torch
import torch.nn.functional as F
from torch import nn

from cnn import BATCH, Linear, norm_params, record, roughen, statistics
from make import grid


class Unit(nn.Module):
    """A convolution without a bias, and its norm."""

    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))

    def params(self):
        return {"weight": self.conv.weight, "norm": norm_params(self.norm)}


class Block(nn.Module):
    """torchvision.models.resnet.BasicBlock and Bottleneck."""

    def __init__(self, kind, inputs, width, stride):
        super().__init__()
        outputs = width if kind == "basic" else 4 * width
        self.units = nn.ModuleList(
            [Unit(inputs, width, 3, stride), Unit(width, width, 3)]
            if kind == "basic"
            else [Unit(inputs, width, 1), Unit(width, width, 3, stride), Unit(width, outputs, 1)]
        )
        self.downsample = Unit(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None
        self.outputs = outputs

    def forward(self, x):
        y = x
        for unit in self.units[:-1]:
            y = F.relu(unit(y))
        return F.relu(self.units[-1](y) + (x if self.downsample is None else self.downsample(x)))

    def map(self, f):
        shortcut = {} if self.downsample is None else {"shortcut": f(self.downsample)}
        return {"units": [f(unit) for unit in self.units], **shortcut}


class ResNet(nn.Module):
    def __init__(self, stem, block, stages, classes, channels=3, width=64):
        super().__init__()
        large = stem == "imagenet"
        self.stem = Unit(channels, width, 7, 2) if large else Unit(channels, width, 3)
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.stages = nn.ModuleList()
        features = width
        for stage, count in enumerate(stages):
            blocks = nn.ModuleList()
            for i in range(count):
                blocks.append(Block(block, features, width * 2**stage, 2 if i == 0 and stage > 0 else 1))
                features = blocks[-1].outputs
            self.stages.append(blocks)
        self.head = Linear(features, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.stem(x)))
        for blocks in self.stages:
            for block in blocks:
                x = block(x)
        return self.head(x.mean((2, 3)))

    def trees(self):
        params = {
            "stem": self.stem.params(),
            "stages": [[block.map(Unit.params) for block in blocks] for blocks in self.stages],
            "head": self.head.params(),
        }
        averages = lambda unit: statistics(unit.norm)
        state = {
            "stem": averages(self.stem),
            "stages": [[block.map(averages) for block in blocks] for blocks in self.stages],
        }
        return params, state


def run(name, size, config):
    model = ResNet(**config).double()
    roughen(model)
    images = grid(BATCH, config.get("channels", 3), *size)
    labels = torch.tensor([1, 0, 1, 2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    return {"name": name, "config": config, **record(model, model.trees, images, labels, optimizer)}


def count(**config):
    return sum(p.numel() for p in ResNet(**config).parameters())


def make():
    small = {"stem": "cifar", "block": "basic", "stages": [1, 1], "width": 3, "channels": 2, "classes": 3}
    large = {"stem": "imagenet", "block": "bottleneck", "stages": [2, 1], "width": 2, "classes": 4}
    return {
        "counts": {
            "resnet18": count(stem="imagenet", block="basic", stages=[2, 2, 2, 2], classes=1000),
            "resnet34": count(stem="imagenet", block="basic", stages=[3, 4, 6, 3], classes=1000),
            "resnet50": count(stem="imagenet", block="bottleneck", stages=[3, 4, 6, 3], classes=1000),
            "cifar-resnet20": count(stem="cifar", block="basic", stages=[3, 3, 3], width=16, classes=10),
        },
        "cases": [run("basic blocks, CIFAR stem", (6, 7), small), run("bottlenecks, ImageNet stem", (14, 13), large)],
    }
