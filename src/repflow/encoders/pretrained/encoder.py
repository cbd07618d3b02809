"""An encoder around a model of another library, with the library's input size and normalisation."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.encoders.encoder import Encoder, Pooled
from repflow.errors import ParameterError


@dataclass(frozen=True)
class Takes:
    """The images that a model takes.

    Attributes:
        size: height and width in pixels.
        mean: of each channel, of images in [0, 1].
        std: of each channel.
        interpolation: "bilinear" or "bicubic".
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


class FeatureMaps(nn.Module):
    """The part of a model before its pooling: normalised images to feature maps [B, width, h, w].

    Args:
        model: the whole model.
        forward: the function of that part; a method of the model, or a function of its modules.
    """

    def __init__(self, model: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.model = model
        self._compute = forward

    def forward(self, normal: Tensor) -> Tensor:
        """Feature maps [B, width, h, w]."""
        return self._compute(self.model, normal)


class PretrainedEncoder(Encoder):
    """A model of another library as an encoder. Grey images have their channel repeated.

    Images are resized to what the model takes. Dropout and stochastic depth are removed: they draw from PyTorch's
    global generator, which a resumed training does not restore.

    Args:
        model: normalised images [B, 3, height, width] to features [B, width].
        takes: the images that it takes.
        maps: computes the model's feature maps; None if it has none. They are used where their mean over positions is
            the model's features: other models have layers after the pooling, which nothing would train.

    Raises:
        ParameterError: the model does not take images of this size, or gives something else than features.
    """

    fixed_normalisation = True

    def __init__(self, model: nn.Module, takes: Takes, maps: Callable[[nn.Module, Tensor], Tensor] | None):
        _without_dropout(model)
        width, has_maps = _try(model, takes, maps)
        body = Pooled(FeatureMaps(model, maps)) if maps is not None and has_maps else model
        super().__init__(body, width, len(takes.mean))
        self.takes = takes
        self.set_normalisation(torch.tensor(takes.mean), torch.tensor(takes.std))

    @property
    def model(self) -> nn.Module:
        """The library's model, without a head."""
        own = self.body.maps.model if isinstance(self.body, Pooled) else self.body
        assert isinstance(own, nn.Module)
        return own

    def normalise(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, h, w] in [0, 1], resized and normalised: [B, 3, height, width], channels last."""
        return super().normalise(resize(images, self.takes.size, self.takes.interpolation))


def resize(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Images [B, C, h, w] in [0, 1], resized with antialiasing to `size`, height and width: in [0, 1].

    Interpolation is linear in the pixels, and separable: two matrix products, whose gradients are deterministic on
    every device, unlike those of `interpolate`. What bicubic interpolation puts outside of [0, 1] is clipped, as in
    8-bit images.
    """
    if images.shape[2:] == size:
        return images
    rows, columns = (
        _interpolation_matrix(before, after, interpolation, images)
        for before, after in zip(images.shape[2:], size, strict=True)
    )
    return (rows @ images @ columns.T).clamp(0, 1)


def _interpolation_matrix(before: int, after: int, interpolation: str, images: Tensor) -> Tensor:
    """The matrix [after, before] that interpolates along one axis, of the type of `images`."""
    exact = images.dtype if images.dtype in (torch.float32, torch.float64) else torch.float32
    unit = torch.eye(before, dtype=exact, device=images.device)
    matrix = F.interpolate(unit[None, None], size=(after, before), mode=interpolation, antialias=True)
    return matrix[0, 0].to(images.dtype)


def _try(model: nn.Module, takes: Takes, maps: Callable[[nn.Module, Tensor], Tensor] | None) -> tuple[int, bool]:
    """The dimension of the model's features, and whether they are the mean of its feature maps over positions."""
    training = model.training
    model.eval()
    image = torch.linspace(-1, 1, len(takes.mean) * math.prod(takes.size)).view(1, -1, *takes.size)
    try:
        with torch.no_grad():
            features = model(image)
            found = maps(model, image) if maps is not None else None
    except (RuntimeError, AssertionError, ValueError) as error:
        height, width = takes.size
        raise ParameterError(
            f"encoder.size: the model does not take images of {height}x{width} pixels ({_short(error)}); set another"
            " one, or null for its own"
        ) from error
    model.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ParameterError("encoder.model: this model has no pooled features, one vector an image; take another one")
    width = features.shape[1]
    if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[1] != width:
        return width, False
    return width, torch.allclose(found.mean((2, 3)), features, rtol=1e-3, atol=1e-4)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _without_dropout(model: nn.Module) -> None:
    for name, child in model.named_children():
        if isinstance(child, nn.modules.dropout._DropoutNd) or type(child).__name__ in ("StochasticDepth", "DropPath"):
            setattr(model, name, nn.Identity())
        else:
            _without_dropout(child)
