"""Overrides from the command line: parsed, checked, and quoted for Hydra where a shell needed no quotes."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repflow.data.watched import PATH_KEYS
from repflow.errors import ParameterError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_SECTIONS = ("data.source.", "data.target.")
_NAMES = {name for names in PATH_KEYS.values() for name in names}


def quoted(override: str) -> str:
    """An override as Hydra's grammar wants it.

    The value of a path is taken as it stands: a path may have brackets, commas, accents, "=" and "~" without quotes
    that a shell would not need. Any other value is quoted where Hydra cannot parse it. What is quoted already stays as
    it is, and so do `null` and interpolations.
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    key, sign, value = override.partition("=")
    if not sign:
        return override
    given = value == "null" or "${" in value or _is_quoted(value)
    if not given and (_is_path(key) or not _parses(override)):
        return f"{key}={QuotedString(value, Quote.single).with_quotes()}"
    return override


def parse(overrides: Sequence[str]) -> list["Override"]:
    """Parse overrides that `quoted` made.

    Raises:
        ParameterError: one has no value, or several.
        hydra.errors.HydraException: one is not in Hydra's grammar.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed: list[Override] = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        if override.is_sweep_override():
            raise ParameterError(f"{override.input_line}: has several values; sweeps are not supported, give one value")
    return parsed


def check_choices(overrides: Sequence["Override"], groups: Mapping[str, list[str]]) -> None:
    """Check that every choice is a file in conf/. Hydra's own message takes ten lines.

    Args:
        overrides: parsed overrides.
        groups: name of each group to its choices.

    Raises:
        ParameterError: there is no such choice; the message suggests one.
    """
    for override in overrides:
        if override.key_or_group in groups and not override.is_delete():
            value: Any = override.value()
            for choice in value if isinstance(value, list) else [value]:
                if choice not in groups[override.key_or_group]:
                    group, allowed = override.key_or_group, groups[override.key_or_group]
                    raise ParameterError(
                        f"{group}={choice}: no such choice in conf/{group}/{_hint(str(choice), allowed)}"
                    )


def check_keys(overrides: Sequence["Override"], groups: Mapping[str, list[str]], composed: Any) -> None:
    """Check that every key that is changed is in the composed configuration.

    Raises:
        ParameterError: there is no such key; the message suggests one.
    """
    for override in overrides:
        changes = not (override.is_add() or override.is_force_add() or override.is_delete())
        if changes and override.key_or_group not in groups:
            _check_key(override.key_or_group, composed)


def groups_of(conf: Path) -> dict[str, list[str]]:
    """The groups of the folder `conf`, each with its choices."""
    folders = sorted(path for path in conf.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def _is_path(key: str) -> bool:
    name = key.lstrip("+")
    return name == "data.root" or (name.startswith(_SECTIONS) and name.rpartition(".")[2] in _NAMES)


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and _parses(f"key={value}")


def _parses(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _check_key(key: str, config: Any) -> None:
    place, parts = config, key.split(".")
    for number, part in enumerate(parts):
        names = sorted(str(name) for name in place) if isinstance(place, Mapping) else []
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            part = int(part)  # type: ignore[assignment]
        elif part not in names:
            where = ".".join(parts[: number + 1])
            add = f"; to set a key that conf/ does not list, write +{key}=..." if number else ""
            raise ParameterError(f"{where}: no such key in conf/{_hint(part, names)}{add}")
        if number + 1 < len(parts):
            place = place[part]


def _hint(given: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    return f"{f'; did you mean {close[0]!r}?' if close else ''} (allowed: {', '.join(allowed) or 'none'})"
