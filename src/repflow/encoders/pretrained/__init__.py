"""Encoders of other libraries, with the weights that others trained.

`config.py` has their parameters, `encoder.py` the encoder around a library's model, `timm.py` and `torchvision.py` the
models, `hub.py` finds the libraries' own weights, `files.py` reads weights from files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repflow.encoders.encoder import Encoder
from repflow.encoders.pretrained import timm, torchvision
from repflow.encoders.pretrained.config import HUB, PretrainedConfig, TimmConfig, TorchvisionConfig
from repflow.encoders.pretrained.encoder import PretrainedEncoder
from repflow.encoders.pretrained.files import read_weights

__all__ = ["PretrainedConfig", "TimmConfig", "TorchvisionConfig", "check_model", "fill", "pretrained_encoder"]

_Library = timm.Timm | torchvision.Torchvision


def check_model(config: Any) -> None:
    """Raise ParameterError if `config` names a model that its library does not have; other encoders pass."""
    while hasattr(config, "inner"):
        config = config.inner
    if isinstance(config, PretrainedConfig):
        _library(config)


def pretrained_encoder(config: PretrainedConfig) -> Encoder:
    """The encoder with random weights, drawn from PyTorch's global generator; nothing is read or downloaded.

    It takes images of any size with one or three channels.

    Raises:
        ParameterError: the library does not have this model, or not for this size.
    """
    return _library(config).encoder()


def fill(encoder: Encoder, config: Any) -> dict[str, Any] | None:
    """Load the weights that the encoder's configuration asks for.

    Args:
        encoder: made from `config`.
        config: the parameters of any encoder.

    Returns:
        Where the weights come from: `library`, `model`, `source`, `license` and the file's `sha256`, and, of weights of
        the library, `url` and what else it says of them. None if the configuration asks for no weights.

    Raises:
        DataError: the file of weights is not there, cannot be read, is another one or does not fit the model.
        ParameterError: the library has no weights of this model.
    """
    while hasattr(config, "inner"):
        config, inner = config.inner, encoder.inner
        assert isinstance(inner, Encoder)
        encoder = inner
    if not isinstance(config, PretrainedConfig) or config.weights is None:
        return None
    assert isinstance(encoder, PretrainedEncoder)
    library = _library(config)
    source: Mapping[str, Any]
    if config.weights == HUB:
        path, source = library.from_hub()
    else:
        path, source = Path(config.weights), {"source": "file", "license": None}
    weights, digest = read_weights(path, config.weights_sha256)
    library.load(encoder.model, weights, path)
    given = {"license": config.license} if config.license is not None else {}
    return {"library": config.name, "model": config.model, **source, **given, "sha256": digest}


def _library(config: PretrainedConfig) -> _Library:
    match config:
        case TimmConfig():
            return timm.Timm(config)
        case TorchvisionConfig():
            return torchvision.Torchvision(config)
