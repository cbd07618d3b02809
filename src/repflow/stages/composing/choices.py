"""What was chosen beside the defaults: conf/chosen.yaml, the last file that Hydra composes.

The file is a Hydra configuration like the others, so that DVC's own composition starts from it, too: groups stand in
its defaults list as `override /GROUP: CHOICE`, values below it.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from repflow.errors import ParameterError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

CONF = Path("conf")
"""The folder of what can be chosen, relative to the project's root."""

NAME = "chosen.yaml"

_HEAD = """# @package _global_
# Choices that differ from the defaults. `repflow compose` adds what it is given, `repflow compose --reset` empties it.
"""


@dataclass(frozen=True)
class Choices:
    """Choices that differ from the defaults.

    Attributes:
        groups: entry of the defaults list, as "override /data", to the choice or list of choices.
        values: nested keys to values, as OmegaConf reads them.
    """

    groups: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The content of the file."""
        from omegaconf import OmegaConf

        if not self.groups and not self.values:
            return f"{_HEAD}{{}}\n"
        # Hydra wants overrides at the end of a defaults list.
        ordered = sorted(self.groups, key=lambda entry: entry.startswith("override "))
        parts = [{"defaults": [{entry: self.groups[entry]} for entry in ordered]} if self.groups else {}, self.values]
        return _HEAD + "\n".join(OmegaConf.to_yaml(OmegaConf.create(dict(part))) for part in parts if part)

    def described(self) -> str:
        """The choices in one line, written as overrides; empty where there are none."""
        groups = [f"{entry.rpartition('/')[2]}={_short(choice)}" for entry, choice in self.groups.items()]
        return " ".join([*groups, *(f"{key}={_short(value)}" for key, value in _leaves(self.values))])


def read_choices(conf: Path) -> Choices:
    """The choices in the folder `conf`; none where it has no such file.

    Raises:
        ParameterError: the file is not what `Choices.text` writes, for instance after a conflicting merge.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = conf / NAME
    if not path.exists():
        return Choices()
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if not isinstance(content, dict):
            raise ParameterError(f"{path}: must be a mapping; `repflow compose --reset` empties it")
        entries = content.pop("defaults", [])
        groups = {str(entry): choice for each in entries for entry, choice in each.items()}
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, AttributeError, OSError) as error:
        said = " ".join(str(error).split())
        raise ParameterError(f"{path}: not readable ({said}); mend it, or empty it: repflow compose --reset") from error
    return Choices(groups, {str(key): value for key, value in content.items()})


def with_overrides(
    kept: Choices, overrides: Sequence["Override"], groups: Iterable[str], defaults: Mapping[str, Any], base: Any
) -> tuple[Choices, list["Override"]]:
    """The choices with those of `overrides` added; where both choose the same, the later one counts.

    A group that is chosen anew forgets the values that were kept below it, as they belong to the choice before. A
    deletion is kept where it takes back a choice, or one of several, as `~adapt.dann` does.

    Args:
        kept: earlier choices.
        overrides: parsed Hydra overrides, without sweeps.
        groups: names of the folders in conf/.
        defaults: group to choice in the defaults list of conf/config.yaml.
        base: what Hydra composes from the earlier choices and the chosen groups, unresolved.

    Returns:
        The choices, and the deletions that they cannot express, as a configuration only adds and replaces.
    """
    chosen, values = dict(kept.groups), copy.deepcopy(dict(kept.values))
    known, left = set(groups), []
    for each in overrides:
        if each.key_or_group in known and not each.is_delete():
            _choose(chosen, values, each, defaults)
    for each in overrides:
        if each.is_delete():
            forgotten = _forget(values, _parts(each.key_or_group))
            if not _take_out(chosen, each.key_or_group, defaults) and not forgotten:
                left.append(each)
        elif each.key_or_group not in known:
            _set(values, _parts(each.key_or_group), each.value(), base)
    return Choices(chosen, values), left


def _choose(chosen: dict[str, Any], values: dict[str, Any], override: "Override", defaults: Mapping[str, Any]) -> None:
    group, package, choice = override.key_or_group, override.package, override.value()
    entry = f"/{group}@{package}" if package else f"/{group}"
    entry = entry if override.is_add() else f"override {entry}"
    if chosen.get(entry, defaults.get(group)) != choice:
        _forget(values, _parts(package or group))
    chosen[entry] = choice


def _take_out(chosen: dict[str, Any], key: str, defaults: Mapping[str, Any]) -> bool:
    """Take one of several choices out of a group, as "adapt.dann"; returns whether it was one."""
    group, _, name = key.partition(".")
    several = chosen.get(f"override /{group}", defaults.get(group))
    if not isinstance(several, list) or name not in several:
        return False
    chosen[f"override /{group}"] = [each for each in several if each != name]
    return True


def _forget(values: dict[str, Any], parts: Sequence[str]) -> bool:
    """Remove what stands at a key, and mappings that are empty then; returns whether there was anything."""
    name, *rest = parts
    if name not in values:
        return False
    if not rest:
        del values[name]
        return True
    found = isinstance(values[name], dict) and _forget(values[name], rest)
    if values[name] == {}:
        del values[name]
    return found


def _set(values: Any, parts: Sequence[str], value: Any, base: Any) -> None:
    """Set a key. Where it leads into a list, the whole list is kept, as Hydra replaces lists and merges mappings."""
    name, *rest = parts
    key: Any = int(name) if isinstance(values, list) else name
    below = _below(base, name)
    if not rest:
        merged = isinstance(value, dict) and isinstance(values, dict) and isinstance(values.get(key), dict)
        values[key] = {**values[key], **value} if merged else value
        return
    if isinstance(values, dict) and not isinstance(values.get(key), dict | list):
        values[key] = copy.deepcopy(below) if isinstance(below, list) else {}
    _set(values[key], rest, value, below)


def _below(place: Any, name: str) -> Any:
    if isinstance(place, list):
        return place[int(name)] if name.isdigit() and int(name) < len(place) else None
    return place.get(name) if isinstance(place, Mapping) else None


def _parts(key: str) -> list[str]:
    return [part for part in re.split(r"[.\[\]]", key) if part]


def _leaves(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in values.items():
        path = f"{key}.{name}" if key else str(name)
        if isinstance(each, Mapping) and each:
            yield from _leaves(each, path)
        else:
            yield path, each


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list) and any(isinstance(each, Mapping | list) for each in value):
        return "[...]"
    if isinstance(value, list):
        return f"[{','.join(map(_short, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
