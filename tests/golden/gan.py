"""Three tiny GANs (logistic, class-conditional, Wasserstein with gradient penalty): pictures, scores, losses, every
gradient, and what five alternating updates of Adam make of the weights and of the generator's running averages.

A linear layer's weight is stored as the toolkit has it, [in, out]; convolutions are PyTorch's.
"""

import math

import torch
import torch.nn.functional as F

from make import grid, pack

SIZE, LATENT, CHANNELS, CLASSES, BATCH, STEPS = 8, 5, [4, 3], 3, 4, 5
LEARNING_RATE, BETAS, PENALTY = 0.01, (0.5, 0.9), 10
SIDE = SIZE // 2 ** len(CHANNELS)


def norm(channels):
    return {"scale": 1 + grid(channels, scale=0.2), "shift": grid(channels, scale=0.2)}


def init(classes, critic):
    features = CHANNELS[0] * SIDE * SIDE
    conv = lambda *shape: grid(*shape, scale=1 / math.sqrt(shape[1] * 8))
    return {
        "generator": {
            "project": grid(LATENT + (classes or 0), features, scale=0.6),
            "blocks": [
                {"norm": norm(c), "up": conv(c, n, 4, 4)} for c, n in zip(CHANNELS, CHANNELS[1:] + [1])
            ],
            "bias": grid(1, scale=0.2),
        },
        "discriminator": {
            "blocks": [
                {"down": conv(c, p, 4, 4), **({"bias": grid(c, scale=0.2)} if critic or i == 0 else {"norm": norm(c)})}
                for i, (p, c) in enumerate(zip([1] + CHANNELS[::-1], CHANNELS[::-1]))
            ],
            "score": {"weight": grid(features, 1, scale=0.4), "bias": grid(1, scale=0.2)},
            **({"classes": grid(classes, features, scale=0.4)} if classes else {}),
        },
    }


def tree_map(f, tree):
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_map(f, value) for value in tree]
    return f(tree)


def leaves(tree):
    found = []
    tree_map(found.append, tree)
    return found


def generate(p, latent, labels, state=None, training=True):
    if labels is not None:
        latent = torch.cat([latent, F.one_hot(labels, CLASSES).double()], 1)
    x = (latent @ p["project"]).view(-1, CHANNELS[0], SIDE, SIDE)
    for i, block in enumerate(p["blocks"]):
        running = (None, None) if state is None else (state[i]["mean"], state[i]["variance"])
        x = F.batch_norm(x, *running, block["norm"]["scale"], block["norm"]["shift"], training, 0.1, 1e-5)
        x = F.conv_transpose2d(F.relu(x), block["up"], stride=2, padding=1)
    return torch.tanh(x + p["bias"].view(-1, 1, 1))


def discriminate(p, x, labels):
    for block in p["blocks"]:
        x = F.conv2d(x, block["down"], block.get("bias"), stride=2, padding=1)
        if "norm" in block:
            x = F.batch_norm(x, None, None, block["norm"]["scale"], block["norm"]["shift"], True, 0.1, 1e-5)
        x = F.leaky_relu(x, 0.2)
    features = x.flatten(1)
    scores = (features @ p["score"]["weight"] + p["score"]["bias"]).squeeze(1)
    return scores if labels is None else scores + (features * p["classes"][labels]).sum(1)


def discriminator_loss(p, real, fake, labels, mix, critic):
    on_real, on_fake = discriminate(p, real, labels), discriminate(p, fake, labels)
    if not critic:
        cost = F.binary_cross_entropy_with_logits
        return cost(on_real, torch.ones_like(on_real)) + cost(on_fake, torch.zeros_like(on_fake))
    between = (fake + (real - fake) * mix.view(-1, 1, 1, 1)).requires_grad_()
    (slopes,) = torch.autograd.grad(discriminate(p, between, labels).sum(), between, create_graph=True)
    return on_fake.mean() - on_real.mean() + PENALTY * ((slopes.flatten(1).norm(dim=1) - 1) ** 2).mean()


def generator_loss(p, discriminator, latent, labels, state, critic):
    scores = discriminate(discriminator, generate(p, latent, labels, state), labels)
    return -scores.mean() if critic else F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))


def fresh_state():
    return [{"mean": torch.zeros(c).double(), "variance": torch.ones(c).double()} for c in CHANNELS]


def gradients(loss, params):
    grads = iter(torch.autograd.grad(loss, leaves(params)))
    return tree_map(lambda _: pack(next(grads)), params)


def network(classes, critic):
    params = tree_map(lambda p: p.requires_grad_(), init(classes, critic))
    generator, discriminator = params["generator"], params["discriminator"]
    real, latents = torch.tanh(grid(BATCH, 1, SIZE, SIZE)), grid(STEPS, BATCH, LATENT)
    labels = torch.randint(0, CLASSES, (BATCH,)) if classes else None
    mix = torch.rand(STEPS, BATCH).double()
    result = {
        "config": {
            "size": SIZE,
            "latent": LATENT,
            "channels": CHANNELS,
            **({"classes": classes} if classes else {}),
            "objective": "wasserstein" if critic else "logistic",
        },
        "adam": {"learningRate": LEARNING_RATE, "betas": BETAS},
        "params": tree_map(pack, params),
        "real": pack(real),
        "latents": [pack(z) for z in latents],
        "labels": None if labels is None else pack(labels),
        "mix": [pack(m) for m in mix],
    }
    fake = generate(generator, latents[0], labels).detach()
    d_loss = discriminator_loss(discriminator, real, fake, labels, mix[0], critic)
    g_loss = generator_loss(generator, discriminator, latents[0], labels, fresh_state(), critic)
    result["fake"] = pack(fake)
    result["scores"] = pack(discriminate(discriminator, real, labels))
    result["discriminator"] = {"loss": d_loss.item(), "grads": gradients(d_loss, discriminator)}
    result["generator"] = {"loss": g_loss.item(), "grads": gradients(g_loss, generator)}
    result["after"] = train(params, real, latents, labels, mix, critic)
    return result


def train(params, real, latents, labels, mix, critic):
    generator, discriminator = params["generator"], params["discriminator"]
    adam = lambda network: torch.optim.Adam(leaves(network), LEARNING_RATE, BETAS)
    updates, state = [adam(discriminator), adam(generator)], fresh_state()
    for latent, m in zip(latents, mix):
        fake = generate(generator, latent, labels).detach()
        for optimizer, loss in [
            (updates[0], lambda: discriminator_loss(discriminator, real, fake, labels, m, critic)),
            (updates[1], lambda: generator_loss(generator, discriminator, latent, labels, state, critic)),
        ]:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    return {
        "params": tree_map(pack, params),
        "state": tree_map(pack, state),
        "sample": pack(generate(generator, latents[0], labels, state, training=False)),
    }


def make():
    return {"dcgan": network(None, False), "cgan": network(CLASSES, False), "wgan": network(None, True)}
