"""The message of a run's commit: what was changed, and what became of the metrics, for whoever reviews it."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from repflow.errors import RepflowError
from repflow.runs.repository import git
from repflow.stages.compose import differences

_WIDTH = 72
_MOST = 40
"""Parameters that are named; with another data set or method there are hundreds."""

_MAIN = re.compile(r"(^|\.)(accuracy|gain\.value|gap_closed\.value|best|gain)$")
"""Metrics by which runs are compared; all others stand in the files."""


def run_message(project: Path, name: str, base: str, overrides: Sequence[str]) -> str:
    """The message for what stands in the worktree's folder `project`.

    Args:
        project: the folder with params.yaml and metrics/.
        name: of the run.
        base: the commit that it started from.
        overrides: what was asked for.
    """
    subject = textwrap.shorten(f"run {name}: {' '.join(overrides) or 'nothing changed'}", _WIDTH, placeholder=" ...")
    start = git(project, "show", "--no-patch", "--format=%h (%s)", base)
    parts = [subject, f"Starts from {start}."]
    before = yaml.safe_load(_at(project, base, "params.yaml") or "{}")
    after = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    parts.append(_listed("Parameters", differences(before, after)))
    parts.append(_listed("Metrics", list(_metrics(project, base))))
    return "\n\n".join(parts) + "\n"


def _listed(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return f"{title}: none changed."
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return "\n".join([f"{title} that changed:", *(f"  {line}" for line in [*lines[:_MOST], *more])])


def _metrics(project: Path, base: str) -> Iterator[str]:
    for path in sorted((project / "metrics").rglob("*.json")):
        name = path.relative_to(project).as_posix()
        old = _numbers(json.loads(_at(project, base, name) or "{}"))
        new = _numbers(json.loads(path.read_text(encoding="utf-8")))
        for key in [*new, *(key for key in old if key not in new)]:
            if _MAIN.search(key) and old.get(key) != new.get(key):
                low, high = (new.get(f"{key.rpartition('.')[0]}.{end}") for end in ("low", "high"))
                interval = f" ({low:g} to {high:g})" if low is not None and high is not None else ""
                yield f"{name} {key}: {_shown(old.get(key))} -> {_shown(new.get(key))}{interval}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _numbers(values: Any, key: str = "") -> dict[str, float]:
    if isinstance(values, Mapping):
        return {
            name: number
            for part, value in values.items()
            for name, number in _numbers(value, f"{key}.{part}" if key else str(part)).items()
        }
    return {key: float(values)} if isinstance(values, int | float) and not isinstance(values, bool) else {}


def _at(project: Path, commit: str, name: str) -> str:
    """The text of a file of the project at `commit`, nothing where it was not there."""
    try:
        return git(project, "show", f"{commit}:./{name}")
    except RepflowError:
        return ""
