"""Models in PyTorch, as its examples write them."""

import math

import torch
import torch.nn.functional as F

from decode import decode_job
from values import batches, integers, parameters, step_job, uniform


def trainable(work):
    return {name: value.requires_grad_() for name, value in parameters(work).items()}


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
    params = trainable(work)
    every = list(params.values())
    groups = [
        {"params": [p for p in every if p.dim() > 1], "weight_decay": work["weightDecay"]},
        {"params": [p for p in every if p.dim() == 1], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, work["learningRate"], work["betas"], work["eps"])
    shape, below = (work["batch"], work["context"]), work["vocabSize"]
    batch_at = batches(work, lambda a, b: (integers(shape, a, below), integers(shape, b, below)))

    def step(number):
        optimizer.zero_grad(set_to_none=True)
        loss = gpt_loss(work, params, *batch_at(number))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, work["clip"])
        optimizer.step()
        return [loss.item()]

    return step_job(step)


def cnn_job(work):
    params = parameters(work)
    for name in ("dense1", "dense2"):
        params[f"{name}.weight"] = params[f"{name}.weight"].t().contiguous()  # as nn.Linear keeps it
    for value in params.values():
        value.requires_grad_()
    optimizer = torch.optim.Adadelta(params.values(), work["learningRate"], work["decay"], work["eps"])
    layer = lambda f, x, name: f(x, params[f"{name}.weight"], params[f"{name}.bias"])
    B, size, classes = work["batch"], work["size"], work["classes"]
    batch_at = batches(work, lambda a, b: (uniform((B, 1, size, size), a), integers((B,), b, classes)))

    def step(number):
        images, labels = batch_at(number)
        drops = number >= 3
        optimizer.zero_grad(set_to_none=True)
        x = F.relu(layer(F.conv2d, images, "conv1"))
        x = F.max_pool2d(F.relu(layer(F.conv2d, x, "conv2")), 2)
        x = F.dropout(x, work["dropout"][0], drops).flatten(1)
        x = F.dropout(F.relu(layer(F.linear, x, "dense1")), work["dropout"][1], drops)
        loss = F.nll_loss(F.log_softmax(layer(F.linear, x, "dense2"), 1), labels)
        loss.backward()
        optimizer.step()
        return [loss.item()]

    return step_job(step)


LSTM_WEIGHTS = ("input", "hidden", "bias", "hiddenBias")


def lstm_job(work):
    params = parameters(work)
    T, B, H, V, layers = (work[name] for name in ("sequence", "batch", "units", "vocabSize", "layers"))
    model, out = torch.nn.LSTM(V, H, layers), torch.nn.Linear(H, V)
    with torch.no_grad():
        for i in range(layers):
            for theirs, ours in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), LSTM_WEIGHTS):
                getattr(model, f"{theirs}_l{i}").copy_(params[f"layers.{i}.{ours}"])
        out.weight.copy_(params["out.weight"].t())
        out.bias.copy_(params["out.bias"])
    every = [*model.parameters(), *out.parameters()]
    optimizer = torch.optim.RMSprop(every, work["learningRate"], work["decay"], work["eps"])
    state = (torch.zeros(layers, B, H), torch.zeros(layers, B, H))
    batch_at = batches(work, lambda a, b: (integers((T, B), a, V), integers((T, B), b, V)))

    def step(number):
        nonlocal state
        tokens, targets = batch_at(number)
        optimizer.zero_grad(set_to_none=True)
        hidden, state = model(F.one_hot(tokens, V).float(), state)
        loss = F.cross_entropy(out(hidden).view(T * B, V), targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, work["clip"])
        optimizer.step()
        state = tuple(part.detach() for part in state)
        return [loss.item()]

    return step_job(step)


def dcgan_job(work):
    params = trainable(work)
    B, size, blocks = work["batch"], work["size"], len(work["channels"])
    side = size // 2**blocks
    averages = [(torch.zeros(channels), torch.ones(channels)) for channels in work["channels"]]

    def norm(x, name, average=(None, None)):
        return F.batch_norm(x, *average, params[f"{name}.scale"], params[f"{name}.shift"], True)

    def generate(latent):
        x = (latent @ params["generator.project"]).view(B, -1, side, side)
        for i in range(blocks):
            x = F.relu(norm(x, f"generator.{i}", averages[i]))
            x = F.conv_transpose2d(x, params[f"generator.{i}.up"], None, 2, 1)
        return torch.tanh(x + params["generator.bias"])

    def discriminate(x):
        for i in range(blocks):
            x = F.conv2d(x, params[f"discriminator.{i}.down"], params.get(f"discriminator.{i}.bias"), 2, 1)
            x = F.leaky_relu(x if i == 0 else norm(x, f"discriminator.{i}"), work["slope"])
        return (x.flatten(1) @ params["discriminator.score"] + params["discriminator.scoreBias"]).flatten()

    adam = lambda own: torch.optim.Adam(
        [p for name, p in params.items() if name.startswith(own)], work["learningRate"], work["betas"], work["eps"]
    )
    generator, discriminator = adam("generator"), adam("discriminator")
    real, made = torch.ones(B), torch.zeros(B)
    batch_at = batches(work, lambda a, b: (uniform((B, 1, size, size), a), uniform((B, work["latent"]), b)))

    def step(number):
        images, latent = batch_at(number)
        discriminator.zero_grad(set_to_none=True)
        loss_real = F.binary_cross_entropy_with_logits(discriminate(images), real)
        loss_real.backward()
        fakes = generate(latent)
        loss_made = F.binary_cross_entropy_with_logits(discriminate(fakes.detach()), made)
        loss_made.backward()
        discriminator.step()
        generator.zero_grad(set_to_none=True)
        loss = F.binary_cross_entropy_with_logits(discriminate(fakes), real)
        loss.backward()
        generator.step()
        return [(loss_real + loss_made).item(), loss.item()]

    return step_job(step)


JOBS = {"gpt": gpt_job, "cnn": cnn_job, "lstm": lstm_job, "dcgan": dcgan_job, "decode": decode_job}
