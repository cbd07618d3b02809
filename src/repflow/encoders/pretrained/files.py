"""Weights in files of others: safetensors, or PyTorch files that hold nothing but tensors."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from repflow.errors import DataError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys below which training programs save the weights, the averaged ones first, as timm has it."""

_PREFIXES = ("_orig_mod.", "module.")
"""What `torch.compile` and DistributedDataParallel put before every name."""


def read_weights(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The weights in a file by their names, and the file's SHA-256 digest.

    Args:
        path: a file whose name ends in `.safetensors`, or one that `torch.save` wrote. The latter is read with
            `weights_only`, so that no code in it is run.
        sha256: the digest that it must have; None for any.

    Raises:
        DataError: the file is not there, has another digest or contains no weights.
    """
    try:
        with open(path, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"encoder.weights: {path}: cannot be read ({error.strerror}); name a safetensors or PyTorch file, relative"
            " to the project's root"
        ) from error
    if sha256 not in (None, digest):
        raise DataError(
            f"encoder.weights: {path}: its SHA-256 digest is {digest}, but encoder.weights_sha256 is {sha256}; bring"
            " the right file, or change the digest if this one is meant"
        )
    return _unwrapped(_loaded(path), path), digest


def _loaded(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"encoder.weights: {path}: not a PyTorch file of weights alone; other objects are not loaded, as they may"
            " run code. Save the model's state_dict() by itself, best with safetensors"
        ) from error
    except Exception as error:  # bytes that are no pickle may raise anything
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"encoder.weights: {path}: neither safetensors nor a PyTorch file, or damaged ({reason})"
        ) from error


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in what was read, without the names that training programs put around them."""
    found = content
    if isinstance(content, Mapping):
        found = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(f"encoder.weights: {path}: contains no state_dict, a mapping of names to tensors")
    return {_without_prefixes(str(name)): value for name, value in found.items()}


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", 1)[1]
    return name


def load_strictly(model: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load `weights` into `model`, which must have exactly these.

    Args:
        model: gets the weights.
        weights: by their names.
        path: where they come from, for the message.
        what: the model in words, for the message.

    Raises:
        DataError: a name or a shape differs.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise misfit(path, what, error) from error


def misfit(path: Path, what: str, error: Exception) -> DataError:
    """The error for weights that do not fit a model.

    Args:
        path: of the weights.
        what: the model in words.
        error: PyTorch's, with a line for missing names, for unexpected ones, and for every shape that differs.
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith("Error(s) in loading")]
    told = "; ".join(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …" for line in reasons[:_LINES])
    more = f"; and {len(reasons) - _LINES} more" if len(reasons) > _LINES else ""
    return DataError(f"encoder.weights: {path}: not the weights of {what}: {told}{more}")


_LINES, _LONGEST = 4, 240
