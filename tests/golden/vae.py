"""A convolutional VAE: posterior, logits, both parts of the bound, every gradient, and five Adam steps.

Weights are stored as the toolkit has them: a linear layer's weight is [in, out]. Noise is given, one for each step.
"""

import torch
import torch.nn.functional as F

from gpt import tree_map
from make import grid, pack

SIZE, CHANNELS, LATENTS, WIDTHS, HIDDEN, BETA = 12, 2, 3, [3, 4], 6, 1.5
BATCH, STEPS, LEARNING_RATE = 4, 5, 0.01
SMALLEST = SIZE // 2 ** len(WIDTHS)
FLAT = WIDTHS[-1] * SMALLEST**2


def layer(*shape, inputs, outputs):
    return {"weight": grid(*shape, scale=inputs**-0.5), "bias": grid(outputs, scale=0.2)}


def linear(rows, columns):
    return layer(rows, columns, inputs=rows, outputs=columns)


def init():
    path = [CHANNELS, *WIDTHS]
    pairs = list(zip(path, path[1:]))
    return {
        "encoder": {
            "convs": [layer(b, a, 4, 4, inputs=16 * a, outputs=b) for a, b in pairs],
            "hidden": linear(FLAT, HIDDEN),
            "posterior": linear(HIDDEN, 2 * LATENTS),
        },
        "decoder": {
            "hidden": linear(LATENTS, HIDDEN),
            "image": linear(HIDDEN, FLAT),
            "convs": [layer(b, a, 4, 4, inputs=4 * b, outputs=a) for a, b in reversed(pairs)],
        },
    }


def apply_linear(x, p):
    return x @ p["weight"] + p["bias"]


def forward(params, images, noise):
    encoder, decoder = params["encoder"], params["decoder"]
    x = images
    for p in encoder["convs"]:
        x = F.conv2d(x, p["weight"], p["bias"], stride=2, padding=1).relu()
    x = apply_linear(x.flatten(1), encoder["hidden"]).relu()
    mean, log_variance = apply_linear(x, encoder["posterior"]).chunk(2, dim=1)
    latents = mean + (log_variance / 2).exp() * noise
    x = apply_linear(apply_linear(latents, decoder["hidden"]).relu(), decoder["image"])
    x = x.view(-1, WIDTHS[-1], SMALLEST, SMALLEST)
    for p in decoder["convs"]:
        x = F.conv_transpose2d(x.relu(), p["weight"], p["bias"], stride=2, padding=1)
    return mean, log_variance, x


def bound(params, images, noise):
    mean, log_variance, logits = forward(params, images, noise)
    likelihood = torch.distributions.Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), 1)
    return likelihood, torch.distributions.kl_divergence(posterior, prior).sum(1)


def loss(params, images, noise):
    likelihood, divergence = bound(params, images, noise)
    return (BETA * divergence - likelihood).mean()


def leaves(tree):
    found = []
    tree_map(found.append, tree)
    return found


def make():
    params = tree_map(lambda p: p.requires_grad_(), init())
    initial = tree_map(pack, params)
    images = torch.randint(0, 2, (BATCH, CHANNELS, SIZE, SIZE)).double()
    noise = grid(STEPS, BATCH, LATENTS)
    mean, log_variance, logits = forward(params, images, noise[0])
    likelihood, divergence = bound(params, images, noise[0])
    optimizer = torch.optim.Adam(leaves(params), LEARNING_RATE)
    losses, grads = [], None
    for drawn in noise:
        value = loss(params, images, drawn)
        optimizer.zero_grad()
        value.backward()
        grads = grads or tree_map(lambda p: pack(p.grad), params)
        optimizer.step()
        losses.append(value.item())
    return {
        "config": {
            "size": SIZE,
            "channels": CHANNELS,
            "latents": LATENTS,
            "widths": WIDTHS,
            "hidden": HIDDEN,
            "beta": BETA,
        },
        "learningRate": LEARNING_RATE,
        "params": initial,
        "images": pack(images),
        "noise": [pack(n) for n in noise],
        "mean": pack(mean),
        "logVariance": pack(log_variance),
        "logits": pack(logits),
        "logLikelihood": pack(likelihood),
        "divergence": pack(divergence),
        "grads": grads,
        "losses": losses,
        "after": tree_map(pack, params),
    }
