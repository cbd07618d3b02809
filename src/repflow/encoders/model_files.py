"""Models on disk: safetensors weights, and a JSON file with all that is needed to use them.

A model folder contains `weights.safetensors` and `model.json`; other files in it do not matter. If a model could not be
trained for lack of data, the folder contains only `model.json`, with the reason under `skipped`.
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
from repflow.encoders.classifier import AnyHeadConfig, Classifier, HeadConfig, build_head
from repflow.encoders.encoder import Encoder
from repflow.encoders.ensemble import Ensemble
from repflow.encoders.neighbours import NeighboursConfig
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
        temperature: what the logits are divided by.
    """

    encoder: Any
    preprocessing: Mapping[str, Any]
    head: AnyHeadConfig | None = None
    classes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    temperature: float = 1.0

    def new_encoder(self) -> Encoder:
        """The encoder with random weights."""
        return build_encoder(self.encoder, self.preprocessing["channels"], self.preprocessing["size"])

    def new_classifier(self, encoder: Encoder) -> Classifier:
        """`encoder` with a new head with random weights."""
        head = build_head(self.head or HeadConfig(), encoder.width, len(self.classes))
        return Classifier(encoder, head, self.temperature)


@dataclass(frozen=True)
class EnsembleDescription:
    """Everything that is needed to rebuild an ensemble and to use it.

    Attributes:
        members: descriptions of the classifiers, with the same classes and preprocessing.
        weights: of each member; they sum to 1.
        provenance: how the members were chosen.
    """

    members: tuple[Description, ...]
    weights: tuple[float, ...]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.members[0].classes

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """`size` in pixels, `channels`, and how images of other sizes are resized (`resize`)."""
        return self.members[0].preprocessing

    def new_ensemble(self) -> Ensemble:
        """The ensemble with random weights."""
        return Ensemble([member.new_classifier(member.new_encoder()) for member in self.members], self.weights)


AnyDescription = Description | EnsembleDescription


def save_model(folder: Path, model: nn.Module, description: AnyDescription) -> None:
    """Write `model`, the encoder, classifier or ensemble of `description`, to `folder` atomically."""
    if isinstance(description, EnsembleDescription):
        about: dict[str, Any] = {"kind": "ensemble", "weights": list(description.weights)}
        about["members"] = [
            {**_trained_part(member), "provenance": dict(member.provenance)} for member in description.members
        ]
    else:
        about = {"kind": "classifier" if description.head else "encoder", **_trained_part(description)}
    about |= {
        "classes": list(description.classes),
        "preprocessing": dict(description.preprocessing),
        "provenance": dict(description.provenance),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with writing(folder, folder=True) as fresh:
        save_file(weights, fresh / "weights.safetensors")
        _write_json(fresh / "model.json", about)


def _trained_part(description: Description) -> dict[str, Any]:
    """What a member of an ensemble does not share with the others."""
    part: dict[str, Any] = {
        "encoder": dataclasses.asdict(description.encoder),
        "head": dataclasses.asdict(description.head) if description.head else None,
    }
    return part if description.temperature == 1 else {**part, "temperature": description.temperature}


def save_skipped(folder: Path, reason: str) -> None:
    """Write a model folder with the reason why there is no model."""
    with writing(folder, folder=True) as fresh:
        _write_json(fresh / "model.json", {"skipped": reason})


def was_skipped(folder: Path) -> bool:
    """Whether `folder` records that there is no model."""
    return "skipped" in _read_json(folder)


def read_description(folder: Path) -> Description:
    """Read the description of the encoder or classifier in `folder`.

    Raises:
        DataError: the folder contains no model, or an ensemble.
    """
    description = read_any_description(folder)
    if isinstance(description, EnsembleDescription):
        raise DataError(f"{folder}: holds an ensemble of several models; name the folder of one, as models/finetune")
    return description


def read_any_description(folder: Path) -> AnyDescription:
    """Read the description of the model in `folder`, which may be an ensemble.

    Raises:
        DataError: the folder contains no model.
    """
    about = _read_json(folder)
    if "skipped" in about:
        raise DataError(f"{folder}: holds no model: {about['skipped']}")
    try:
        if about.get("kind") != "ensemble":
            return _described(about, about, folder)
        members = tuple(_described(member, about, folder) for member in about["members"])
        return EnsembleDescription(members, tuple(map(float, about["weights"])), about["provenance"])
    except (AttributeError, KeyError, TypeError, ValueError, ParameterError) as error:
        raise DataError(f"{folder}/model.json: not a description of a model ({error}); train it again") from error


def _described(part: Mapping[str, Any], whole: Mapping[str, Any], folder: Path) -> Description:
    """The description that `_trained_part` and the entries that members share were written of."""
    return Description(
        encoder=build(EncoderConfig, part["encoder"], f"{folder}/model.json: encoder"),
        head=_head(part["head"], f"{folder}/model.json: head") if part["head"] else None,
        classes=tuple(whole["classes"]),
        preprocessing=whole["preprocessing"],
        provenance=part["provenance"],
        temperature=float(part.get("temperature", 1.0)),
    )


def _head(values: Mapping[str, Any], where: str) -> AnyHeadConfig:
    if "name" in values:
        return build(NeighboursConfig, values, where)
    return build(HeadConfig, values, where)


def load_encoder(folder: Path) -> Encoder:
    """The trained encoder in `folder`, in evaluation mode; also if the folder contains a classifier.

    Raises:
        DataError: the folder contains no encoder, a damaged one, or several.
    """
    description = read_description(folder)
    if description.head is not None:
        return _filled(description.new_classifier(description.new_encoder()), folder).encoder
    return _filled(description.new_encoder(), folder)


def load_classifier(folder: Path) -> tuple[Classifier | Ensemble, AnyDescription]:
    """The trained classifier in `folder`, in evaluation mode, and its description.

    Raises:
        DataError: the folder contains no classifier, or a damaged one.
    """
    description = read_any_description(folder)
    if isinstance(description, EnsembleDescription):
        return _filled(description.new_ensemble(), folder), description
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
