"""Strict parameters: frozen dataclasses with types and ranges, and one message for all that does not fit them."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from repflow.errors import ParameterError

T = TypeVar("T")

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""
NonNegative = Annotated[float, Field(ge=0)]
"""A number from 0 upwards."""
Count = Annotated[int, Field(ge=1)]
"""A whole number from 1 upwards."""
NonNegativeCount = Annotated[int, Field(ge=0)]
"""A whole number from 0 upwards."""


@dataclass_transform(frozen_default=True)
def parameters(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose fields are checked when it is built, and that takes no unknown field."""
    return pydantic_dataclass(cls, frozen=True, config=ConfigDict(extra="forbid"))  # type: ignore[return-value]


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build `kind`, a class made by `parameters`, from plain values as YAML gives them.

    Args:
        kind: the dataclass (or a union of them) to build.
        values: a mapping of names to numbers, strings, booleans, lists, mappings and None.
        where: file and key of the mapping, as in "params.yaml: split", for the message.

    Raises:
        ParameterError: a key is unknown, missing, of the wrong type or out of range. Names every such key.
    """
    try:
        # Strict JSON mode: a list may become a tuple and an integer a float, but "3" never becomes 3.
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        lines = [_explain(kind, where, dict(problem)) for problem in error.errors()]
        raise ParameterError("\n".join(lines)) from None


def _explain(kind: Any, where: str, problem: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    key = f"{where}.{path}" if path else where
    if problem["type"] == "unexpected_keyword_argument":
        return f"{key}: unknown parameter{_suggestion(kind, problem['loc'])}"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{key}: missing; it has no default"
    given = json.dumps(problem["input"])
    if problem["type"] == "float_type" and isinstance(problem["input"], str) and "e" in problem["input"]:
        return f"{key}: {given} is text to YAML; write the number with a point, as in 1.0e-3"
    return f"{key}: {given} is not allowed; {_lower_first(problem['msg'])}"


def _suggestion(kind: Any, location: tuple[Any, ...]) -> str:
    owner = kind
    for part in location[:-1]:
        owner = _field_type(owner, part)
    names = sorted(getattr(owner, "__dataclass_fields__", {}))
    if not names:
        return ""
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (allowed: {', '.join(names)})"


def _field_type(owner: Any, name: Any) -> Any:
    field = getattr(owner, "__pydantic_fields__", {}).get(name)
    return field.annotation if field else None


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
