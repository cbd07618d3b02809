"""Check whether dvc.lock, metrics and plots match the code and parameters. Needs no data and no cache.

`dvc status` cannot do this: without the data it reports every stage as changed. `dvc repro --dry --allow-missing`
ignores missing data, but fails if a stage depends on a folder with several outputs, and its exit code is always 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from repflow.errors import RepflowError
from repflow.review.code import outdated
from repflow.stages import paths
from repflow.stages.code import listed


class OutOfDate(RepflowError):
    """The committed metrics do not match the code and parameters."""

    exit_code = 7


def stale_stages(repo: Any) -> dict[str, tuple[str, ...]]:
    """The stages whose entry in dvc.lock does not match the files, with the differences.

    Missing dependencies and outputs that are only in the cache count as unchanged. A folder that contains such outputs
    is not compared; the stages of its outputs are compared instead.

    Args:
        repo: dvc.repo.Repo, switched to the revision to check.

    Raises:
        dvc.exceptions.DvcException: dvc.yaml or dvc.lock cannot be read.
    """
    outs = {out.def_path: out for stage in repo.index.stages for out in stage.outs}
    absent = [path for path, out in outs.items() if out.use_cache and not out.exists]
    modules = outdated(repo)
    found = {address(stage): tuple(_differences(stage, outs, absent, modules)) for stage in repo.index.stages}
    return {name: reasons for name, reasons in found.items() if reasons}


def address(stage: Any) -> str:
    """The name of the stage for `dvc repro` in the project's root; DVC's `addressing` depends on the current folder."""
    name: str | None = getattr(stage, "name", None)
    path: str = stage.path_in_repo
    return path if name is None else name if path == "dvc.yaml" else f"{path}:{name}"


def _differences(
    stage: Any, outs: dict[str, Any], absent: list[str], modules: Mapping[str, Sequence[str]] | None
) -> Iterator[str]:
    if not any(out.hash_info for out in stage.outs):
        yield "never run"
        return
    if stage.changed_stage():
        yield "command: changed"
    # The fingerprints were compared with the source files, in which a comment may differ.
    compared = modules is not None and any(out.def_path == str(paths.CODE) for out in stage.outs)
    for dep in () if stage.frozen or compared else stage.deps:
        if modules and dep.def_path in modules:
            yield f"code: {listed(modules[dep.def_path])}"
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


_MISSING = "missing"


def _only_in_cache(path: str, state: str, absent: list[str]) -> bool:
    """Whether a dependency differs only because outputs inside it, or an output that contains it, are missing here."""
    part = any(_inside(path, each) for each in absent)
    return (state == "deleted" and part) or any(_inside(each, path) for each in absent)


def _inside(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
