"""Classes as sets write them: names, or numbers with a list of names beside them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow.data.ingest.sources.cells import as_name, cell_text
from repflow.data.ingest.sources.names import as_text
from repflow.errors import DataError

Names = Mapping[int, str]
"""The name of each number."""


LIKE_LABEL = ("class", "class_name", "classes", "classname", "category")
"""Names of columns that probably have the classes."""


def class_of(value: Any, names: Names | None, where: str) -> str | None:
    """The class that a value means; None for an empty one, and for a negative number where there are names.

    Args:
        value: text, a number, or nothing.
        names: the names of the numbers; None where numbers are the names.
        where: the place of the value, for messages.

    Raises:
        DataError: the value is a list or another structure, or a number without a name.
    """
    if isinstance(value, list | tuple | dict | set):
        raise DataError(f"{where}: the label {value!r:.60} is no class; each image needs one class, or none")
    text = cell_text(value)
    if text is None:
        return None
    name = as_name(text)
    if names is None or not name.lstrip("+-").isdecimal():
        return name
    number = int(name)
    if number >= 0 and number not in names:
        raise DataError(f"{where}: the label {number} has no name, as there are {len(names)} names of classes")
    return names.get(number)


def numbered(names: Sequence[str]) -> Names:
    """The names of the numbers from 0 upwards."""
    return dict(enumerate(names))


def read_names(place: Path) -> Names:
    """The names of classes in a file: one a line, or JSON with a list, or with an object of numbers and names.

    Raises:
        DataError: there is no such file, it is not such a list, or a name is empty or there twice.
    """
    try:
        text = place.read_text(encoding="utf-8-sig")
        names = _of_json(json.loads(text)) if place.suffix.lower() == ".json" else _of_lines(text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{place}: not a readable list of classes ({error}); write one name a line, the first for the label 0, or"
            ' JSON as in {"0": "cat", "1": "dog"}'
        ) from error
    seen: dict[str, int] = {}
    for number, name in names.items():
        if not name:
            raise DataError(f"{place}: the name of the class {number} is empty")
        if name in seen:
            raise DataError(f"{place}: the classes {seen[name]} and {number} have one name, {name!r}")
        seen[name] = number
    if not names:
        raise DataError(f"{place}: has no names of classes; write one a line, the first for the label 0")
    return names


def _of_lines(text: str) -> Names:
    return numbered([as_text(line.strip()) for line in text.rstrip().splitlines()])


def _of_json(values: Any) -> Names:
    if isinstance(values, list):
        return numbered([as_text(str(name).strip()) for name in values])
    if not isinstance(values, dict):
        raise ValueError("it has neither a list nor an object")
    keys, names = list(values), [str(name).strip() for name in values.values()]
    if not all(key.isdecimal() for key in keys) and all(name.isdecimal() for name in names):
        keys, names = names, keys  # as in {"cat": 0, "dog": 1}
    return {int(key): as_text(name) for key, name in zip(keys, names, strict=True)}
