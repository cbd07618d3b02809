"""The layers of an encoder, from its input to its features: for learning rates by depth, and for reading each layer."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from repflow.encoders.encoder import Encoder, Pooled
from repflow.encoders.split import SplitEncoder
from repflow.encoders.transformer import Tokens


@dataclass(frozen=True)
class Layer:
    """Consecutive modules of an encoder. An encoder that is made of halves has one `Layer` for both.

    Attributes:
        modules: one tuple for each half; the output of its last module is the output of the layer.
    """

    modules: tuple[tuple[nn.Module, ...], ...]


def layers(encoder: Encoder) -> list[Layer]:
    """The layers of an encoder, the first one first.

    A layer is a convolution with its normalisation, activation and pooling; a block of a residual network, or a stage
    of torchvision's; or a block of a vision transformer, of which the patch embedding is the first layer.

    Returns:
        An empty list for an encoder that is no sequence of modules, or has no convolution.
    """
    if isinstance(encoder, SplitEncoder):
        assert isinstance(encoder.body, nn.ModuleDict)
        halves = [_grouped(half) for half in encoder.body.values()]
        return [Layer(tuple(parts)) for parts in zip(*halves, strict=True)]
    if isinstance(encoder.body, Encoder):  # an encoder around another one, which sees lightness or tiles, say
        return layers(encoder.body)
    return [Layer((part,)) for part in _grouped(encoder.body)]


def _grouped(body: nn.Module) -> list[tuple[nn.Module, ...]]:
    if isinstance(body, Tokens):
        *blocks, last = body.transformer.encoder.layers
        return [(body.transformer.conv_proj,), *((block,) for block in blocks), (last, body.transformer.encoder.ln)]
    maps = body.maps if isinstance(body, Pooled) else body
    return _from_each_convolution(maps) if isinstance(maps, nn.Sequential) else []


def _from_each_convolution(modules: Iterable[nn.Module]) -> list[tuple[nn.Module, ...]]:
    groups: list[list[nn.Module]] = [[]]
    started = False  # whether the last group has a convolution
    for module in modules:
        convolves = any(isinstance(each, nn.Conv2d) for each in module.modules())
        if convolves and started:
            groups.append([])
        started = started or convolves
        groups[-1].append(module)
    return [tuple(group) for group in groups] if started else []
