"""Which stages of dvc.lock two revisions differ in, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class StageChange:
    """A stage that was not run alike in both revisions.

    Attributes:
        name: as "adapt@dann".
        state: "changed", "added" or "removed".
        command: whether its command differs.
        parameters: the keys that differ.
        files: dependencies that differ and that no stage makes, such as code.
        upstream: stages whose outputs it reads and which differ.
        outputs: its own outputs that differ.
    """

    name: str
    state: str
    command: bool = False
    parameters: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def unexplained(self) -> bool:
        """Whether its outputs differ although nothing that it depends on does."""
        explained = self.command or self.parameters or self.files or self.upstream
        return self.state == "changed" and bool(self.outputs) and not explained


def changed_stages(base: Mapping[str, Any], head: Mapping[str, Any]) -> list[StageChange]:
    """The stages that differ, in the order of the head's record.

    Args:
        base: `stages` of dvc.lock.
        head: the same of the other revision.
    """
    makers = {out["path"]: name for lock in (base, head) for name, entry in lock.items() for out in _outs(entry)}
    names = [*head, *(name for name in base if name not in head)]
    changes = [_change(name, base.get(name), head.get(name), makers) for name in names]
    return [change for change in changes if change is not None]


def _change(name: str, base: Any, head: Any, makers: Mapping[str, str]) -> StageChange | None:
    if base is None or head is None:
        return StageChange(name, "added" if base is None else "removed")
    files = _differing(base.get("deps", ()), head.get("deps", ()))
    made = {path: _maker(path, makers) for path in files}
    change = StageChange(
        name,
        "changed",
        base.get("cmd") != head.get("cmd"),
        _parameters(base.get("params", {}), head.get("params", {})),
        tuple(path for path in files if not made[path]),
        tuple(sorted({maker for makers_of in made.values() for maker in makers_of} - {name})),
        tuple(_differing(_outs(base), _outs(head))),
    )
    return None if change == StageChange(name, "changed") else change


def _maker(path: str, makers: Mapping[str, str]) -> list[str]:
    """The stages that make `path`, or part of it, or what it is a part of."""
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
    """Nested parameters by their names, points between the levels."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from flat(each, f"{above}.{key}" if above else str(key))
    elif above:
        yield above, value
