"""Reading typed parameters from the project's `params.yaml`."""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

import yaml

from repflow.errors import ParameterError
from repflow.schema import build
from repflow.stages.paths import PARAMETERS

T = TypeVar("T")

SECTIONS = (
    "seed",
    "data",
    "validate",
    "split",
    "augment",
    "encoder",
    "hardware",
    "runtime",
    "budget",
    "baseline",
    "pretrain",
    "probe",
    "tune",
    "finetune",
    "adapt",
    "evaluate",
    "select",
    "report",
)


@overload
def read(section: str, kind: type[T]) -> T: ...
@overload
def read(section: str, kind: Any) -> Any: ...
def read(section: str, kind: Any) -> Any:
    """Build `kind` from a section of `params.yaml`.

    Args:
        section: a key, with dots between levels, as in "adapt.dann".
        kind: a class made by `schema.parameters`, or a plain type such as int.

    Raises:
        ParameterError: the file or the section is missing, a key is unknown, a value is not allowed.
    """
    return build(kind, read_raw(section), f"{PARAMETERS}: {section}")


def read_raw(section: str) -> Any:
    """A section of `params.yaml` as plain values, after checking the top-level keys."""
    return select(read_all(), section)


def read_all() -> Mapping[str, Any]:
    """All of `params.yaml` as plain values, after checking the top-level keys."""
    try:
        whole = yaml.safe_load(PARAMETERS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"{PARAMETERS}: not found; run in the project's root, or create it with `repflow compose`"
        raise ParameterError(message) from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{PARAMETERS}: not valid YAML ({error}); rewrite it with `repflow compose`") from error
    check_sections(whole)
    found: Mapping[str, Any] = whole
    return found


def select(values: Any, section: str) -> Any:
    """The value at the key `section`, with dots between levels, in the values of `params.yaml`."""
    for part in section.split("."):
        if not isinstance(values, Mapping) or part not in values:
            raise ParameterError(f"{PARAMETERS}: {section}: missing; rewrite the file with `repflow compose`")
        values = values[part]
    return values


def check_sections(whole: Any) -> None:
    """Raise ParameterError for a section that is not in the schema."""
    if not isinstance(whole, Mapping):
        raise ParameterError(f"{PARAMETERS}: must be a mapping with the sections {', '.join(SECTIONS)}")
    unknown = sorted(set(whole) - set(SECTIONS))
    if unknown:
        raise ParameterError(f"{PARAMETERS}: unknown section {unknown[0]!r} (allowed: {', '.join(SECTIONS)})")


def seed() -> int:
    """The random seed of the run."""
    return read("seed", int)
