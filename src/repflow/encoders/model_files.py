"""Models on disk: safetensors weights, and a JSON file with all that is needed to use them.

A model folder contains `weights.safetensors` and `model.json`. If a model could not be trained for lack of data, the
folder contains only `model.json`, with the reason under `skipped`.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save_file
from torch import nn

from repflow.encoders.build import EncoderConfig, build_encoder
from repflow.encoders.classifier import Classifier, HeadConfig, build_head
from repflow.encoders.encoder import Encoder
from repflow.errors import DataError, ParameterError
from repflow.files import writing
from repflow.schema import build

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Description:
    """Everything that is needed to rebuild a model and to use it.

    Attributes:
        encoder: the encoder's parameters.
        preprocessing: `size` in pixels, `channels`, and how images of other sizes are resized (`resize`).
        head: the head's parameters; None for an encoder alone.
        classes: names of the classes; empty for an encoder alone.
        provenance: how the model was trained; no paths, no times.
    """

    encoder: Any
    preprocessing: Mapping[str, Any]
    head: HeadConfig | None = None
    classes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def new_encoder(self) -> Encoder:
        """The encoder with random weights."""
        return build_encoder(self.encoder, self.preprocessing["channels"], self.preprocessing["size"])

    def new_classifier(self, encoder: Encoder) -> Classifier:
        """`encoder` with a new head with random weights."""
        return Classifier(encoder, build_head(self.head or HeadConfig(), encoder.width, len(self.classes)))


def save_model(folder: Path, model: nn.Module, description: Description) -> None:
    """Write `model`, the encoder or classifier of `description`, to `folder` atomically."""
    about = {
        "kind": "classifier" if description.head else "encoder",
        "encoder": dataclasses.asdict(description.encoder),
        "head": dataclasses.asdict(description.head) if description.head else None,
        "classes": list(description.classes),
        "preprocessing": dict(description.preprocessing),
        "provenance": dict(description.provenance),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with writing(folder, folder=True) as fresh:
        save_file(weights, fresh / "weights.safetensors")
        _write_json(fresh / "model.json", about)


def save_skipped(folder: Path, reason: str) -> None:
    """Write a model folder with the reason why there is no model."""
    with writing(folder, folder=True) as fresh:
        _write_json(fresh / "model.json", {"skipped": reason})


def was_skipped(folder: Path) -> bool:
    """Whether `folder` records that there is no model."""
    return "skipped" in _read_json(folder)


def read_description(folder: Path) -> Description:
    """Read the description of the model in `folder`.

    Raises:
        DataError: the folder contains no model.
    """
    about = _read_json(folder)
    if "skipped" in about:
        raise DataError(f"{folder}: holds no model: {about['skipped']}")
    try:
        return Description(
            encoder=build(EncoderConfig, about["encoder"], f"{folder}/model.json: encoder"),
            head=build(HeadConfig, about["head"], f"{folder}/model.json: head") if about["head"] else None,
            classes=tuple(about["classes"]),
            preprocessing=about["preprocessing"],
            provenance=about["provenance"],
        )
    except (KeyError, TypeError, ParameterError) as error:
        raise DataError(f"{folder}/model.json: not a description of a model ({error}); train it again") from error


def load_encoder(folder: Path) -> Encoder:
    """The trained encoder in `folder`, in evaluation mode; also if the folder contains a classifier."""
    description = read_description(folder)
    if description.head is not None:
        return load_classifier(folder)[0].encoder
    return _filled(description.new_encoder(), folder)


def load_classifier(folder: Path) -> tuple[Classifier, Description]:
    """The trained classifier in `folder`, in evaluation mode, and its description.

    Raises:
        DataError: the folder contains no classifier, or a damaged one.
    """
    description = read_description(folder)
    if description.head is None:
        raise DataError(f"{folder}: holds an encoder without a head; name a classifier's folder, as models/finetune")
    return _filled(description.new_classifier(description.new_encoder()), folder), description


def _filled(model: M, folder: Path) -> M:
    path = folder / "weights.safetensors"
    try:
        weights = load_file(path)
    except Exception as error:
        raise DataError(f"{path}: cannot be read ({error}); train the model again, or `dvc pull` it") from error
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        message = f"{path}: not the weights of the model that model.json describes; train it again, or `dvc pull` it"
        raise DataError(message) from None
    return model.eval()


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable model ({error}); train it with `dvc repro`, or `dvc pull` it"
        ) from error
    return about


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
