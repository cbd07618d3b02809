"""What may be asked of a run, as types: the form in the UI is made of them, and nothing else gets through.

Choices are the files in `conf/`, numbers have bounds, names are words. None of them can name code, a file outside of
the project, or mean anything to a shell or to Hydra.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, create_model

PROJECT = Path(__file__).absolute().parents[1]

RunName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$", max_length=50)]
"""Lower-case words with dashes, or nothing."""

_FOLDER = r"^([A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)?$"
_LARGEST_SEED = 2**32 - 1

_NUMBERS: dict[str, tuple[str, int, int, str]] = {
    "labels_per_class": ("split.labels_per_class", 1, 1_000_000, "labelled training images of each class"),
    "pretrain_steps": ("pretrain.training.steps", 1, 10_000_000, "optimiser steps of the pretraining"),
    "finetune_steps": ("finetune.training.steps", 1, 10_000_000, "optimiser steps of the fine-tuning"),
    "trials": ("tune.search.trials", 0, 10_000, "trials of the search; 0 searches nothing"),
}
"""Field to key, least, largest and meaning."""

_PATHS = ("source", "target")

_END = re.compile(r"(?<=\.)(?: (?=[A-Z0-9`])|$)")
"""Behind a sentence; "et al. (2016)" does not end one."""


class _Choices(BaseModel):
    """What may be chosen; each field left as it is stands for what conf/ says."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def overrides(self) -> list[str]:
        """What differs from the defaults, as `repflow compose` takes it."""
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
    """The model of what may be chosen in the folder `conf`: a field for each group that has several choices."""
    fields: dict[str, Any] = {}
    for group, default in _defaults(conf):
        names = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        if len(names) < 2:
            continue
        kind: Any = Literal[tuple(names)]
        if isinstance(default, list):
            kind = Annotated[list[kind], Field(min_length=1, max_length=len(names))]
        about = "\n".join(f"• {name}: {_about(conf / group / f'{name}.yaml')}" for name in names)
        fields[group] = (kind, Field(default, description=about))
    for domain in _PATHS:
        text = f"folder below data/raw/ with the {domain}'s images, for data=folder and data=one_folder"
        fields[f"{domain}_images"] = (str, Field("", pattern=_FOLDER, max_length=200, description=text))
    seed = Field(0, ge=0, le=_LARGEST_SEED, description="of every draw")
    fields["seed"] = (int, seed)
    for name, (_, least, largest, about) in _NUMBERS.items():
        fields[name] = (
            Annotated[int, Field(ge=least, le=largest)] | None,
            Field(None, description=f"{about}; None for what conf/ says"),
        )
    return create_model("Choices", __base__=_Choices, **fields)


def _defaults(conf: Path) -> list[tuple[str, str | list[str]]]:
    """Group and default choice, as config.yaml lists them."""
    listed = yaml.safe_load((conf / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return [pair for entry in listed if isinstance(entry, dict) for pair in entry.items()]


def _about(path: Path) -> str:
    """What a file in conf/ says of itself: the sentences that end in its first line, or else the first sentence."""
    comments = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    said = [line for line in comments if not line.startswith("@package")]
    *whole, _ = _END.split(said[0]) if said else [""]
    return " ".join(whole) or _END.split(" ".join(said))[0]


def _stage_names(project: Path) -> list[str]:
    """Names of stages and of groups of them, as dvc.yaml has them."""
    return sorted(yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


# The form offers names; a person at a terminal may also say "adapt@dann", which the graph knows or refuses.
Target = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]+(@[a-z0-9_]+)?$", max_length=80),
    WithJsonSchema({"type": "string", "enum": _stage_names(PROJECT)}),
]

if TYPE_CHECKING:
    Choices = _Choices
else:
    Choices = choices_of(PROJECT / "conf")
