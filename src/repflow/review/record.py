"""Whether dvc.lock, metrics and plots belong to the code and parameters beside them. Needs no data and no cache.

`dvc status` cannot tell: without the data it calls every stage changed. `dvc repro --dry --allow-missing` passes over
missing data, but breaks where a stage depends on a folder of several outputs, and its exit code is 0 either way.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from repflow.errors import RepflowError


class OutOfDate(RepflowError):
    """Metrics stand in git that the code and parameters beside them did not make."""

    exit_code = 7


def stale_stages(repo: Any) -> dict[str, tuple[str, ...]]:
    """The stages whose entry in dvc.lock is not of the files that are there, and what differs.

    A dependency or output that is kept in the cache alone and is not here counts as what dvc.lock says of it. Of a
    folder that holds such outputs among others nothing can be said; its stages are looked at one by one.

    Args:
        repo: dvc.repo.Repo, switched to the revision in question.

    Raises:
        dvc.exceptions.DvcException: dvc.yaml or dvc.lock cannot be read.
    """
    outs = {out.def_path: out for stage in repo.index.stages for out in stage.outs}
    absent = [path for path, out in outs.items() if out.use_cache and not out.exists]
    found = {address(stage): tuple(_differences(stage, outs, absent)) for stage in repo.index.stages}
    return {name: reasons for name, reasons in found.items() if reasons}


def address(stage: Any) -> str:
    """The stage as `dvc repro` calls it in the project's root; DVC's own `addressing` depends on the working place."""
    name: str | None = getattr(stage, "name", None)
    path: str = stage.path_in_repo
    return path if name is None else name if path == "dvc.yaml" else f"{path}:{name}"


def _differences(stage: Any, outs: dict[str, Any], absent: list[str]) -> Iterator[str]:
    if not any(out.hash_info for out in stage.outs):
        yield "never run"
        return
    if stage.changed_stage():
        yield "command: changed"
    for dep in () if stage.frozen else stage.deps:
        for path, state in dep.status().items():
            if isinstance(state, dict):
                yield from (f"{path}: {key} {change}" for key, change in state.items())
            elif not _only_in_cache(path, state, absent):
                yield f"{path}: {_MISSING if state == 'deleted' else state}"
        made = outs.get(dep.def_path)
        if made is not None and made.hash_info != dep.hash_info:
            yield f"{dep.def_path}: dvc.lock records one output and another input"
    for out in stage.outs:
        for path, state in out.status().items():
            if path not in absent and state != "not in cache":
                yield f"{path}: {_MISSING if state == 'deleted' else state}"


_MISSING = "not there"


def _only_in_cache(path: str, state: str, absent: list[str]) -> bool:
    """Whether a dependency differs because outputs in it, or the output that it is a part of, are not here."""
    part = any(_inside(path, each) for each in absent)
    return (state == "deleted" and part) or any(_inside(each, path) for each in absent)


def _inside(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
