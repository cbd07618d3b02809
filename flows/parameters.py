"""The parameters of the flows as types: Prefect makes the form in its UI from them, and refuses all other values.

Choices are the names of files in `conf/`, numbers have bounds, and names have patterns. No value can name code or a
file outside the project, or contain syntax of a shell or of Hydra.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, create_model

from repflow.stages.compose import default_choices
from repflow.stages.composing.choices import read_choices

PROJECT = Path(__file__).absolute().parents[1]

RunName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$", max_length=50)]
"""Lower-case words with dashes, or empty."""

_FOLDER = r"^([A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)?$"
_LARGEST_SEED = 2**32 - 1

_NUMBERS: dict[str, tuple[str, int, int, str]] = {
    "labels_per_class": ("split.labels_per_class", 1, 1_000_000, "Labels that are used per class"),
    "pretrain_steps": ("pretrain.training.steps", 1, 10_000_000, "Optimiser steps of the pretraining"),
    "finetune_steps": ("finetune.training.steps", 1, 10_000_000, "Optimiser steps of the fine-tuning"),
    "trials": ("tune.search.trials", 0, 10_000, "Trials of the hyperparameter search, 0 for no search"),
}
"""Field to parameter, minimum, maximum and description."""

_GROUPS = {
    "adapt": "Methods of domain adaptation to train and compare",
    "augment": "Random augmentations of the training images",
    "data": "Dataset, or kind of files to import",
    "encoder": "Architecture of the encoder",
    "finetune": "Training of the classifier on the pretrained encoder",
    "hardware": "Device and precision of all trainings",
    "pretrain": "Method of self-supervised pretraining",
    "tune": "Hyperparameter search before the fine-tuning",
}
"""Config group to description; the groups and their options are those of conf/."""

_PATHS = ("source", "target")

_END = re.compile(r"(?<=\.)(?: (?=[A-Z0-9`])|$)")
"""The end of a sentence; "et al. (2016)" does not end one."""


class _Choices(BaseModel):
    """The choices of the form; a field with its default value keeps what conf/ and its kept choices have."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def overrides(self) -> list[str]:
        """The choices that differ from what conf/ and its kept choices have, as arguments of `repflow compose`."""
        changed = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value == field.default:
                continue
            key = _NUMBERS[name][0] if name in _NUMBERS else name
            if name.removesuffix("_images") in _PATHS:
                key, value = f"data.{name.removesuffix('_images')}.path", f"data/raw/{value}"
            changed.append(f"{key}=[{','.join(value)}]" if isinstance(value, list) else f"{key}={value}")
        return changed


def choices_of(conf: Path) -> type[_Choices]:
    """The model of the choices in the folder `conf`, with a field for each config group that has several options."""
    fields: dict[str, Any] = {}
    kept = read_choices(conf)
    for group, default in default_choices(conf).items():
        default = kept.groups.get(f"override /{group}", default)
        names = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if len(names) < 2:
            continue
        kind: Any = Literal[tuple(names)]
        if isinstance(default, list):
            kind = Annotated[list[kind], Field(min_length=1, max_length=len(names))]
        options = [f"• {name}: {_about(conf / group / f'{name}.yaml')}" for name in names]
        about = "\n".join([f"{_GROUPS.get(group, f'Config group conf/{group}/')}:", *options])
        fields[group] = (kind, Field(default, description=about))
    for domain in _PATHS:
        text = (
            f"Folder of the {domain} domain's images, relative to data/raw/; used with data=folder and data=one_folder"
        )
        fields[f"{domain}_images"] = (str, Field("", pattern=_FOLDER, max_length=200, description=text))
    seed = Field(kept.values.get("seed", 0), ge=0, le=_LARGEST_SEED, description="Random seed of all stages")
    fields["seed"] = (int, seed)
    for name, (_, least, largest, about) in _NUMBERS.items():
        fields[name] = (
            Annotated[int, Field(ge=least, le=largest)] | None,
            Field(None, description=f"{about}; None for the value in conf/"),
        )
    return create_model("Choices", __base__=_Choices, **fields)


def _about(path: Path) -> str:
    """The description of a file in conf/: the sentences that end in its first line, or else its first sentence."""
    comments = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    said = [line for line in comments if not line.startswith("@package")]
    *whole, _ = _END.split(said[0]) if said else [""]
    return " ".join(whole) or _END.split(" ".join(said))[0]


def _stage_names(project: Path) -> list[str]:
    """Names of stages and of groups of stages in dvc.yaml."""
    return sorted(yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


GraphFolder = Annotated[str, StringConstraints(pattern=_FOLDER, max_length=200)]
"""A folder of the checkout with a dvc.yaml, or empty for its own."""

# The form offers the names in dvc.yaml. At a terminal one stage of a group ("adapt@dann"), or a pattern
# ("learn@digits-*-0"), may be given, too; `read_graph` refuses one that does not exist.
Target = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]+(@[a-z0-9_*-]+)?$", max_length=80),
    WithJsonSchema({"type": "string", "enum": _stage_names(PROJECT)}),
]

if TYPE_CHECKING:
    Choices = _Choices
else:
    Choices = choices_of(PROJECT / "conf")
