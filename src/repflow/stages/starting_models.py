"""The model that an adaptation starts from: the folder that dvc.yaml names as its dependency.

`${model_of:${.start}}` in conf/ gives the folder to dvc.yaml as `starts_from` of each method, and `adapt` refuses to
read another. This module imports nothing but the standard library, because DVC composes conf/ in its own process.
"""

from collections.abc import Mapping
from typing import Any

from repflow.errors import ParameterError

SOURCE_ONLY = "source_only"
"""The value of `start`, and the key below `adapt`, of the network that is trained on source labels alone."""


def model_of(start: str) -> str:
    """The folder of the model that `start` asks for, relative to the project.

    It is `models/pretrain` for everything but "source_only", also for random weights, which read no model.
    """
    return f"models/adapt/{SOURCE_ONLY}" if start == SOURCE_ONLY else "models/pretrain"


def check_starting_model(adaptations: Mapping[str, Any], name: str, where: str = "adapt") -> None:
    """Check that the model which the method `name` starts from will be there, and that DVC knows of it.

    Args:
        adaptations: the parameters `adapt`, as plain values.
        name: key of a method among them.
        where: key of the parameters, for messages.

    Raises:
        ParameterError: `start` is "source_only", and there is no such method among `adaptations`, or it is this one; or
            `starts_from` is not the folder that `start` reads. It may be missing where that is `models/pretrain`, as in
            parameters that no dvc.yaml reads.
    """
    section = adaptations[name]
    start, given = section.get("start", "pretrained"), section.get("starts_from")
    if start == SOURCE_ONLY and name == SOURCE_ONLY:
        raise ParameterError(f"{where}.{name}.start: it cannot start from itself; set start: random or pretrained")
    if start == SOURCE_ONLY and SOURCE_ONLY not in adaptations:
        chosen = ",".join([SOURCE_ONLY, *adaptations])
        raise ParameterError(
            f"{where}.{name}.start: source_only needs the model of adapt@source_only, which is not among the chosen"
            f" methods; add it: repflow compose 'adapt=[{chosen}]'"
        )
    expected = model_of(start)
    if given != expected and (given is not None or start == SOURCE_ONLY):
        raise ParameterError(
            f"{where}.{name}.starts_from: is {given}, but start: {start} reads {expected}, so that DVC would not see it"
            " change; set it with `repflow compose`, then `dvc repro`"
        )
