"""SimCLR training: views per second, two views of every image of a batch, from the images in memory to new weights."""

import contextlib
from typing import Any, TypeVar

import torch
from torch import nn

from repflow.data.read.batches import Batches, Stream
from repflow.randomness.draws import Draw
from speed import ours
from speed.images import Images
from speed.race import Clock, Rival, race, training
from speed.settings import Settings

Module = TypeVar("Module", bound=nn.Module)

BATCHES = {("small", "cpu"): 256, ("resnet18", "cpu"): 32, ("small", "cuda"): 512, ("resnet18", "cuda"): 512}
"""Batch sizes: lightly's example has 256, with which ResNet-18 on a CPU would take half a minute per step."""


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """Every implementation with every encoder."""
    return [
        race(
            name,
            "views/s",
            rivals(name, settings, images),
            settings.repeats,
            settings.seconds,
            batch=batch_size(name, settings),
            threads=settings.threads,
            workers=settings.workers,
            device=settings.device,
            size=settings.size,
        )
        for name in settings.encoders
    ]


def batch_size(encoder: str, settings: Settings) -> int:
    """The batch size."""
    return settings.batch or BATCHES[encoder, settings.device]


def rivals(encoder: str, settings: Settings, images: Images) -> list[Rival]:
    """Every implementation, repflow last."""
    makers = {
        "lightly's recipe": lightly,
        "bare loop": bare_loop,
        "bare loop, deterministic": deterministic_bare_loop,
        "repflow": repflow,
    }
    views = 2 * batch_size(encoder, settings)
    return [training(name, maker, views, settings.device, encoder, settings, images) for name, maker in makers.items()]


def lightly(encoder: str, settings: Settings, images: Images, clock: Clock) -> None:
    """lightly's documented recipe: its SimCLRTransform on Pillow images in the workers of a DataLoader, its projection
    head and loss, Lightning's Trainer; AdamW."""
    from speed import lightly_recipe

    torch_as_it_comes(settings)
    method, backbone = ours.read("pretrain", "simclr"), ours.encoder(encoder, images)
    optimizer = ours.read("training", "pretext")["optimizer"]
    module = lightly_recipe.Recipe(backbone, backbone.width, method["settings"], optimizer)
    lightly_recipe.fit(module, lightly_recipe.loader(images, batch_size(encoder, settings), settings), settings, clock)


def bare_loop(encoder: str, settings: Settings, images: Images, clock: Clock) -> None:
    """A loop by hand in plain PyTorch around repflow's batches, views and losses, with no schedule, curve, progress,
    checkpoint or Fabric; AdamW; on a GPU bf16 by autocast, channels-last, a fused optimiser and cuDNN's benchmark."""
    torch_as_it_comes(settings)
    loop(encoder, settings, images, clock)


def deterministic_bare_loop(encoder: str, settings: Settings, images: Images, clock: Clock) -> None:
    """The same with PyTorch's deterministic algorithms, which repflow's trainer switches on."""
    torch_as_it_comes(settings)
    torch.use_deterministic_algorithms(True, warn_only=True)
    loop(encoder, settings, images, clock)


def repflow(encoder: str, settings: Settings, images: Images, clock: Clock) -> None:
    """`repflow.training.train` with `repflow.methods.pretext.simclr`, as `conf/pretrain/simclr.yaml` has it."""
    configured = {**ours.read("training", "pretext"), "batch_size": batch_size(encoder, settings)}
    ours.fit(ours.new_simclr(encoder, images), {"unlabelled": images.rows()}, configured, settings, clock)


def loop(encoder: str, settings: Settings, images: Images, clock: Clock) -> None:
    """The training loop of both bare loops."""
    device = torch.device(settings.device)
    method = on_device(ours.new_simclr(encoder, images), settings)
    stream, size = Stream("unlabelled", images.rows(), device), batch_size(encoder, settings)
    optimizer = plain_adamw(method)
    for step in range(clock.total):
        batch = Batches({"unlabelled": stream.at(step, size, 0)}, step / clock.total)
        with precision(settings):
            total = method(batch, Draw(0, "step", step, device)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        clock.tick()


def on_device(module: Module, settings: Settings) -> Module:
    """The module on its device, in the memory layout that is fastest there."""
    if settings.device == "cpu":
        return module.train()
    torch.backends.cudnn.benchmark = True
    return module.to(settings.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload, no-any-return]


def plain_adamw(module: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's AdamW with the learning rate and weight decay of `conf/training/pretext.yaml`."""
    values = ours.read("training", "pretext")["optimizer"]
    rate, decay = values["learning_rate"], values["weight_decay"]
    fused = next(module.parameters()).is_cuda
    return torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=decay, fused=fused)


def precision(settings: Settings) -> contextlib.AbstractContextManager[Any]:
    """bf16 by autocast on a GPU, nothing on a CPU."""
    return torch.autocast("cuda", torch.bfloat16) if settings.device == "cuda" else contextlib.nullcontext()


def torch_as_it_comes(settings: Settings) -> None:
    """Reset what the trainer has set in this process: the other implementations run with PyTorch's defaults."""
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False
