"""Strict parameters: frozen dataclasses with types and ranges, and one message that names every invalid value."""

import difflib
import json
from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_origin, overload

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
"""An integer from 1 upwards."""
NonNegativeCount = Annotated[int, Field(ge=0)]
"""An integer from 0 upwards."""


_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass_transform(frozen_default=True)
def parameters(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass that checks types and ranges when it is built, and rejects unknown fields."""
    return pydantic_dataclass(cls, frozen=True, config=_CONFIG)  # type: ignore[return-value]


@overload
def build(kind: type[T], values: Any, where: str) -> T: ...
@overload
def build(kind: Any, values: Any, where: str) -> Any: ...
def build(kind: Any, values: Any, where: str) -> Any:
    """Build `kind`, a class made by `parameters`, from plain values as YAML gives them.

    Args:
        kind: the dataclass (or a union of them) to build.
        values: a mapping of names to numbers, strings, booleans, lists, mappings and None.
        where: file and key of the mapping, as in "params.yaml: split", for error messages.

    Raises:
        ParameterError: a key is unknown, missing, of the wrong type or out of range. The message names every such key.
    """
    try:
        # Strict JSON mode: a list may become a tuple and an integer a float, but "3" never becomes 3.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        lines: dict[str, str] = {}
        for problem in error.errors():
            key, line = _explain(kind, where, dict(problem))
            lines[key] = f"{lines[key]}, or {line.split('; ', 1)[-1]}" if key in lines else line
        raise ParameterError("\n".join(f"{key}: {line}" for key, line in lines.items())) from None


def _explain(kind: Any, where: str, problem: dict[str, Any]) -> tuple[str, str]:
    """The full key of a problem, and the message about it."""
    keys, owner = _locate(kind, problem["loc"])
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = _bare(_inside(owner, keys[-1])) if keys else owner
        return _explain_choice(".".join((where, *keys)), problem, kinds)
    key = ".".join((where, *keys))
    if problem["type"] == "unexpected_keyword_argument":
        return key, f"unknown parameter{_suggestion(keys[-1], _fields(owner))}"
    if problem["type"] in ("missing", "missing_argument"):
        return key, "missing, and it has no default; set it"
    given = json.dumps(problem["input"])
    if problem["type"] == "float_type" and isinstance(problem["input"], str) and "e" in problem["input"]:
        return key, f"YAML reads {given} as text; write the number with a decimal point, as in 1.0e-3"
    return key, f"{given} is not allowed; {_lower_first(problem['msg'])}"


def _explain_choice(key: str, problem: dict[str, Any], kinds: tuple[Any, ...]) -> tuple[str, str]:
    """The message about a mapping whose discriminator, the key that selects its type, is missing or unknown."""
    kind = problem["ctx"]["discriminator"].strip("'")
    allowed = [str(get_args(_inside(one, kind))[0]) for one in kinds]
    if problem["type"] == "union_tag_not_found":
        return f"{key}.{kind}", f"missing (allowed: {', '.join(allowed)})"
    given = problem["ctx"]["tag"]
    return f"{key}.{kind}", f"{json.dumps(given)} is not allowed{_suggestion(given, allowed)}"


def _suggestion(given: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return ""
    close = difflib.get_close_matches(given, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (allowed: {', '.join(allowed)})"


def _locate(kind: Any, location: Sequence[str | int]) -> tuple[list[str], Any]:
    """The keys of a location, and the type that has the last of them as a field.

    For unions, pydantic adds the name of the tried type to the location; it is not a key.
    """
    keys: list[str] = []
    owner = inner = _bare(kind)
    for part in location:
        if isinstance(inner, tuple):
            inner = next((one for one in inner if _is_tagged(one, part)), None)
            continue
        keys.append(str(part))
        owner, inner = inner, _bare(_inside(inner, part))
    return keys, owner


def _bare(kind: Any) -> Any:
    """A type without its annotations and without None; a tuple if several types are left."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        kinds = tuple(one for one in get_args(kind) if one is not type(None))
        return kinds if len(kinds) > 1 else _bare(kinds[0])
    return kind


def _is_tagged(kind: Any, tag: str | int) -> bool:
    """Does `tag` identify a type of a union, by its name or by the only value that one of its fields allows?"""
    fields = getattr(_bare(kind), "__pydantic_fields__", {}).values()
    return getattr(kind, "__name__", None) == tag or any((tag,) == get_args(field.annotation) for field in fields)


def _inside(owner: Any, key: str | int) -> Any:
    """The type of `key` in `owner`: a field, or any element of a list or a mapping."""
    if hasattr(owner, "__pydantic_fields__"):
        field = owner.__pydantic_fields__.get(key)
        return field.annotation if field else None
    arguments = get_args(owner)
    return arguments[-1] if arguments and arguments[-1] is not Ellipsis else next(iter(arguments), None)


def _fields(owner: Any) -> list[str]:
    return sorted(getattr(owner, "__pydantic_fields__", {}))


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
