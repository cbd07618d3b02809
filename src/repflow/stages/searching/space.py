"""The search space of `tune`, checked against the section `finetune`."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from repflow.errors import ParameterError
from repflow.schema import build
from repflow.stages.searching.config import Choices, Dimension, FloatRange, IntRange, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = dict[str, Value]
"""A value for every key of the space."""

Space = dict[str, Dimension]
"""Keys below `finetune`, with dots between levels, to their ranges."""

_SET_BY_SEARCH = ("training.steps", "training.early_stopping")
"""Keys that the search itself sets in a trial."""


def read_space(values: Mapping[str, Any], where: str) -> Space:
    """Parse the search space in `values`.

    Args:
        values: mappings nested as the section `finetune`, down to mappings with a `type`.
        where: file and key of the mapping, for error messages.

    Raises:
        ParameterError: a dimension is malformed.
    """
    space = dict(_dimensions(values, where))
    for key, dimension in space.items():
        if isinstance(dimension, Choices):
            continue
        if not dimension.low < dimension.high or not math.isfinite(dimension.high - dimension.low):
            raise ParameterError(f"{where}.{key}: low {dimension.low} must be below high {dimension.high}, both finite")
        if dimension.log and dimension.low <= 0:
            raise ParameterError(f"{where}.{key}: low {dimension.low} must be above 0 if log is true")
    return space


def _dimensions(values: Mapping[str, Any], where: str, above: str = "") -> Iterator[tuple[str, Dimension]]:
    for name, value in values.items():
        key = f"{above}{name}"
        if not isinstance(value, Mapping):
            example = "{type: float, low: 0.001, high: 0.1, log: true}"
            raise ParameterError(f"{where}.{key}: {value!r} is not a range; write one such as {example}")
        if isinstance(value.get("type"), str):
            kind: Any = Annotated[Dimension, Field(discriminator="type")]
            yield key, build(kind, value, f"{where}.{key}")
        else:
            yield from _dimensions(value, where, f"{key}.")


def check_space(space: Space, section: Mapping[str, Any], rebuild: Callable[[Point], object], where: str) -> Point:
    """Check the space against the section `finetune`, and return the current parameters as a point of the space.

    Args:
        space: the search space.
        section: all values of the section `finetune`, including defaults.
        rebuild: builds the section with some values replaced, and raises ParameterError if they are not allowed.
        where: file and key of the space, for error messages.

    Raises:
        ParameterError: a key does not exist, a bound is not allowed, or a current value is outside of its range. The
            message names every such key.
    """
    default: Point = {}
    problems = []
    for key, dimension in space.items():
        try:
            default[key] = _current_value(key, dimension, section)
            for value in _bounds(dimension):
                rebuild({key: value})
        except ParameterError as error:
            problems.append(f"{where}.{key}: {error}")
    if problems:
        raise ParameterError("\n".join(problems))
    return default


def _current_value(key: str, dimension: Dimension, section: Mapping[str, Any]) -> Value:
    if any(key == fixed or key.startswith(f"{fixed}.") for fixed in _SET_BY_SEARCH):
        raise ParameterError("cannot be searched: `steps` and `every` of the search set it; remove it from the space")
    place: Any = section
    for part in key.split("."):
        if place is None:
            raise ParameterError(f"there is no such key while {_above(key, part)} is null; remove it from the space")
        if not isinstance(place, Mapping) or part not in place:
            raise ParameterError(f"{_above(key, part)} has no {part!r}{_allowed(part, place)}; {_ADVICE}")
        place = place[part]
    if not _contains(dimension, place):
        raise ParameterError(
            f"finetune.{key} is {place!r}, which is outside of the range; widen the range or remove the key"
        )
    value: Value = place
    return value


_ADVICE = "choose a space that fits the method, such as tune=default"


def _above(key: str, part: str) -> str:
    parts = ["finetune", *key.split(".")]
    return ".".join(parts[: parts.index(part)])


def _allowed(given: str, place: Any) -> str:
    names = sorted(place) if isinstance(place, Mapping) else []
    close = difflib.get_close_matches(given, names, n=1)
    return f"{f'; did you mean {close[0]!r}?' if close else ''} (allowed: {', '.join(names) or 'none'})"


def _contains(dimension: Dimension, value: Any) -> bool:
    match dimension:
        case Choices():
            return any(type(value) is type(choice) and value == choice for choice in dimension.choices)
        case IntRange():
            return type(value) is int and dimension.low <= value <= dimension.high
        case FloatRange():
            return type(value) in (int, float) and dimension.low <= value <= dimension.high


def _bounds(dimension: Dimension) -> tuple[Value, ...]:
    return dimension.choices if isinstance(dimension, Choices) else (dimension.low, dimension.high)


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """The space as Optuna distributions."""
    from optuna import distributions

    made: dict[str, BaseDistribution] = {}
    for key, dimension in space.items():
        match dimension:
            case Choices():
                made[key] = distributions.CategoricalDistribution(dimension.choices)
            case IntRange():
                made[key] = distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log)
            case FloatRange():
                made[key] = distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return made


def round_point(space: Space, sampled: Mapping[str, Any]) -> Point:
    """The sampled point with floats rounded to four significant digits, kept inside their ranges."""
    point: Point = {}
    for key, dimension in space.items():
        value = sampled[key]
        if isinstance(dimension, FloatRange):
            value = min(max(float(f"{value:.4g}"), dimension.low), dimension.high)
        point[key] = value
    return point
