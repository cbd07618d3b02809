"""The stages in dvc.lock that differ between two revisions, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from repflow.fingerprints import differences
from repflow.review.code import Fingerprints

_NONE: Fingerprints = {}


@dataclass(frozen=True)
class StageChange:
    """A stage that differs between two revisions.

    Attributes:
        name: name of the stage, as "adapt@dann".
        state: "changed", "added" or "removed".
        command: whether its command differs.
        parameters: keys of parameters that differ.
        modules: modules of its code that differ.
        files: other dependencies that differ and are no outputs of a stage.
        upstream: stages with different outputs that it depends on.
        outputs: its outputs that differ.
    """

    name: str
    state: str
    command: bool = False
    parameters: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def unexplained(self) -> bool:
        """Whether its outputs differ although none of its dependencies does."""
        explained = self.command or self.parameters or self.modules or self.files or self.upstream
        return self.state == "changed" and bool(self.outputs) and not explained


def changed_stages(
    base: Mapping[str, Any], head: Mapping[str, Any], base_code: Fingerprints = _NONE, head_code: Fingerprints = _NONE
) -> list[StageChange]:
    """The stages that differ, in the order of the head's dvc.lock.

    Args:
        base: `stages` of dvc.lock.
        head: the same of the other revision.
        base_code: path of each fingerprint in `code/` to module to digest.
        head_code: the same of the other revision.
    """
    makers = {out["path"]: name for lock in (base, head) for name, entry in lock.items() for out in _outs(entry)}
    modules = {
        path: differences(base_code.get(path, {}), head_code.get(path, {})) for path in {**base_code, **head_code}
    }
    names = [*head, *(name for name in base if name not in head)]
    changes = [_change(name, base.get(name), head.get(name), makers, modules) for name in names]
    return [change for change in changes if change is not None]


def _change(
    name: str, base: Any, head: Any, makers: Mapping[str, str], modules: Mapping[str, list[str]]
) -> StageChange | None:
    if base is None or head is None:
        return StageChange(name, "added" if base is None else "removed")
    differing = _differing(base.get("deps", ()), head.get("deps", ()))
    files = [path for path in differing if not modules.get(path)]
    made = {path: _maker(path, makers) for path in files}
    change = StageChange(
        name,
        "changed",
        base.get("cmd") != head.get("cmd"),
        _parameters(base.get("params", {}), head.get("params", {})),
        tuple(module for path in differing for module in modules.get(path, ())),
        tuple(path for path in files if not made[path]),
        tuple(sorted({maker for makers_of in made.values() for maker in makers_of} - {name})),
        tuple(_differing(_outs(base), _outs(head))),
    )
    return None if change == StageChange(name, "changed") else change


def _maker(path: str, makers: Mapping[str, str]) -> list[str]:
    """The stages with an output that equals, contains or is contained in `path`."""
    place = PurePosixPath(path)
    return [
        name for out, name in makers.items() if place.is_relative_to(out) or PurePosixPath(out).is_relative_to(place)
    ]


def _outs(entry: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    outs: Iterable[Mapping[str, Any]] = entry.get("outs", ())
    return outs


def _differing(base: Iterable[Mapping[str, Any]], head: Iterable[Mapping[str, Any]]) -> list[str]:
    before, after = ({each["path"]: _content(each) for each in side} for side in (base, head))
    return [path for path in {**after, **before} if before.get(path) != after.get(path)]


def _content(entry: Mapping[str, Any]) -> str:
    return str(entry.get("md5") or entry.get("etag") or entry.get("checksum"))


def _parameters(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = ({key: value for file in side.values() for key, value in flat(file)} for side in (base, head))
    return tuple(
        key for key in {**after, **before} if key not in before or key not in after or before[key] != after[key]
    )


def flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested parameters by name, with dots between levels."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from flat(each, f"{above}.{key}" if above else str(key))
    elif above:
        yield above, value
