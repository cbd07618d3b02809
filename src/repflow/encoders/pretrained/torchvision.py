"""Classification models of torchvision."""

import difflib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from repflow.encoders.pretrained.config import TorchvisionConfig
from repflow.encoders.pretrained.encoder import PretrainedEncoder, Takes
from repflow.encoders.pretrained.files import load_strictly
from repflow.encoders.pretrained.hub import from_url
from repflow.errors import ParameterError

_CLASSES = 1000
"""Of torchvision's heads."""

_SETTINGS: dict[str, dict[str, Any]] = {
    # With weights, torchvision has these two models change the normalisation to the one that they were trained with.
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": True},
    "inception_v3": {"aux_logits": False, "transform_input": True, "init_weights": True},
}

_SIZE = {"vit": "image_size", "maxvit": "input_size"}
"""The families of models that are made for one size of images, and how they call it."""


class Torchvision:
    """One classification model of torchvision.

    Args:
        config: its parameters.

    Raises:
        ParameterError: torchvision does not have it.
    """

    def __init__(self, config: TorchvisionConfig):
        from torchvision import models

        self._config = config
        known = models.list_models(module=models)
        if config.model not in known:
            close = difflib.get_close_matches(config.model, known, n=3) or known
            raise ParameterError(
                f"encoder.model: torchvision has no classification model {config.model!r}; did you mean"
                f" {' or '.join(close[:3])}?"
            )
        self._default = models.get_model_weights(config.model).DEFAULT
        self._what = f"torchvision's {config.model}"

    def encoder(self) -> PretrainedEncoder:
        """The encoder with random weights."""
        from torchvision import models

        preset = self._default.transforms()
        size = self._config.size or preset.crop_size[0]
        family = self._config.model.split("_")[0]
        settings = _SETTINGS.get(self._config.model, {}) | ({_SIZE[family]: size} if family in _SIZE else {})
        if family == "maxvit":
            settings["input_size"] = (size, size)
        try:
            model = models.get_model(self._config.model, weights=None, **settings)
        except (ValueError, AssertionError) as error:
            raise ParameterError(f"encoder.size: {self._what} does not take {size} pixels ({error})") from error
        _drop_head(model)
        takes = Takes((size, size), tuple(preset.mean), tuple(preset.std), preset.interpolation.value)
        return PretrainedEncoder(model, takes, _feature_maps_of(model))

    def from_hub(self) -> tuple[Path, dict[str, Any]]:
        """The file of torchvision's own weights, and what torchvision says of them."""
        about = self._default
        path = from_url(about.url, self._what)
        facts = {"license": about.meta.get("license"), "recipe": about.meta.get("recipe")}
        return path, {"source": str(about), "url": about.url, **facts}

    def load(self, model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
        """Load `weights` from `path` into `model`, with or without a head; those of a ViT for any size of images.

        Raises:
            DataError: they do not fit.
        """
        wanted = model.state_dict()
        heads = _heads_in(weights, wanted)
        kept = {name: value for name, value in weights.items() if name not in heads}
        position = "encoder.pos_embedding"
        if position in wanted and position in kept and kept[position].shape[-1] == wanted[position].shape[-1]:
            from torchvision.models.vision_transformer import interpolate_embeddings

            kept = interpolate_embeddings(model.image_size, model.patch_size, kept)
        load_strictly(model, kept, path, self._what)


def _drop_head(model: nn.Module) -> None:
    """Replace the last layer, the one with the classes, by the identity."""
    name = [
        name
        for name, module in model.named_modules()
        if _CLASSES in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ][-1]
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, nn.Identity())


def _heads_in(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> set[str]:
    """The names of the last layer, and of the auxiliary classifiers of the Inception models, in `weights`."""
    heads = ("fc.", "head.", "heads.", "classifier.", "AuxLogits.", "aux1.", "aux2.")
    return {name for name in weights if name.startswith(heads) and name not in wanted}


def _feature_maps_of(model: nn.Module) -> Any:
    """The function that computes the feature maps of `model`; None for other architectures than those known here."""
    if hasattr(model, "layer4"):
        return _before_pooling
    if hasattr(model, "features") and isinstance(getattr(model, "avgpool", None), nn.AdaptiveAvgPool2d):
        return _features
    return None


def _features(model: nn.Module, normal: Tensor) -> Tensor:
    maps: Tensor = model.features(normal)  # type: ignore[operator]
    return maps


def _before_pooling(model: nn.Module, normal: Tensor) -> Tensor:
    """The feature maps of a residual network."""
    maps = normal
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        maps = model.get_submodule(name)(maps)
    return maps
