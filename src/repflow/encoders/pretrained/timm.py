"""Models of timm, an optional dependency: `pip install 'repflow[timm]'`."""

import difflib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from repflow.encoders.pretrained.config import TimmConfig
from repflow.encoders.pretrained.encoder import PretrainedEncoder, Takes
from repflow.encoders.pretrained.files import load_strictly, misfit
from repflow.encoders.pretrained.hub import from_hugging_face, from_url, no_weights
from repflow.errors import ParameterError

_FILES = ("model.safetensors", "pytorch_model.bin")
"""The names of the weights in timm's repositories on the Hugging Face hub."""


class Timm:
    """One model of timm.

    Args:
        config: its parameters.

    Raises:
        ParameterError: timm is not installed, or does not have it.
    """

    def __init__(self, config: TimmConfig):
        try:
            import timm
        except ImportError as error:
            raise ParameterError(
                f"encoder.name: timm: {error.name} is not installed; run `pip install 'repflow[timm]'`"
            ) from error
        self._config = config
        known = timm.list_models(), timm.list_pretrained()  # without a tag, and with one
        if not any(config.model in names for names in known):
            names = [name for each in known for name in each]
            close = difflib.get_close_matches(config.model, names, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "`timm.list_models()` names them"
            raise ParameterError(f"encoder.model: timm has no model {config.model!r}; {hint}")
        self._about = timm.models.get_pretrained_cfg(config.model)
        self._what = f"timm's {config.model}"

    def encoder(self) -> PretrainedEncoder:
        """The encoder with random weights."""
        model = self._headless()
        size = self._config.size
        takes = Takes(
            size=(size, size) if size is not None else tuple(self._about.input_size[1:]),
            mean=tuple(self._about.mean),
            std=tuple(self._about.std),
            interpolation=self._about.interpolation,
        )
        return PretrainedEncoder(model, takes, _feature_maps if hasattr(model, "forward_features") else None)

    def from_hub(self) -> tuple[Path, dict[str, Any]]:
        """The file of timm's own weights, and what timm says of them."""
        about = self._about
        facts = {"license": about.license, "tag": about.tag}
        if about.hf_hub_id:
            names = (about.hf_hub_filename,) if about.hf_hub_filename else _FILES
            path = from_hugging_face(about.hf_hub_id, names, self._what)
            return path, {"source": about.hf_hub_id, "url": f"https://huggingface.co/{about.hf_hub_id}", **facts}
        if about.url:
            url = about.url if isinstance(about.url, str) else about.url[0]  # or a pair with the name of the file
            return from_url(url, self._what), {"source": url, "url": url, **facts}
        raise no_weights(self._what)

    def load(self, model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
        """Load `weights` from `path` into `model`, with or without a head; timm adapts them to other input sizes.

        Raises:
            DataError: they do not fit.
        """
        problem: Exception | None = None
        for classes in self._heads(weights):
            # Told that the weights have as many classes as the model, timm is strict.
            given = {"state_dict": weights, "num_classes": classes, "label_offset": 0, "custom_load": False}
            try:
                filled = self._headless(pretrained=True, num_classes=classes, pretrained_cfg_overlay=given)
            except (RuntimeError, KeyError, ValueError, AssertionError) as error:
                problem = problem or error
                continue
            load_strictly(model, filled.state_dict(), path, self._what)
            return
        assert problem is not None
        raise misfit(path, self._what, problem)

    def _heads(self, weights: dict[str, Tensor]) -> list[int]:
        """The numbers of classes that the head in `weights` may have; 0 for no head."""
        names = self._about.classifier or ()
        first = names if isinstance(names, str) else next(iter(names), "")
        if f"{first}.weight" in weights:
            return [len(weights[f"{first}.weight"])]
        # The file has no head, or has another name for it, which timm knows.
        return [0, self._about.num_classes]

    def _headless(self, **settings: Any) -> nn.Module:
        import timm

        if self._about.fixed_input_size and self._config.size is not None:
            settings["img_size"] = self._config.size
        try:
            model = timm.create_model(self._config.model, **settings)
        except TypeError as error:
            raise ParameterError(f"encoder.size: {self._what} takes images of its own size only; set null") from error
        model.reset_classifier(0)
        model.pretrained_cfg = model.default_cfg = {}  # it may hold all of the weights a second time
        headless: nn.Module = model
        return headless


def _feature_maps(model: nn.Module, normal: Tensor) -> Tensor:
    maps: Tensor = model.forward_features(normal)  # type: ignore[operator]
    return maps
