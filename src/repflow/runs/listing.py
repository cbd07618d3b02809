"""Listing and deleting runs."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow.errors import ParameterError, RepflowError
from repflow.runs.isolated import read_record, remove, try_lock
from repflow.runs.repository import PREFIX, Repository, open_repository

State = Literal["running", "stopped", "finished"]


@dataclass(frozen=True)
class RunInfo:
    """A row of the list of runs.

    Attributes:
        name: name of the run.
        state: "running"; "stopped", with a worktree from which it can resume; or "finished" and committed.
        when: the time of its last commit, as "2 hours ago".
        about: the subject of that commit, or the overrides of an unfinished run.
    """

    name: str
    state: State
    when: str
    about: str


def list_runs(project: Path) -> list[RunInfo]:
    """All runs of the project, sorted by commit, latest first."""
    repository = open_repository(project)
    form = "%(refname:short)%09%(committerdate:relative)%09%(contents:subject)"
    with repository.locked():
        lines = repository.git("for-each-ref", "--sort=-committerdate", f"--format={form}", f"refs/heads/{PREFIX}")
        return [_listed(repository, *line.split("\t", 2)) for line in lines.splitlines()]


def _listed(repository: Repository, branch: str, when: str, subject: str) -> RunInfo:
    name = branch.removeprefix(PREFIX)
    if not (repository.runs / name).exists():
        return RunInfo(name, "finished", when, subject)
    with contextlib.ExitStack() as locks:
        state: State = "stopped" if try_lock(repository, name, locks) else "running"
    return RunInfo(name, state, "", " ".join(read_record(repository, name).overrides))


def prune(
    project: Path, names: Sequence[str], states: Sequence[State] = (), keep_branch: bool = False
) -> Iterator[str]:
    """Delete runs: worktree, record and branch. Yields a message for each.

    Args:
        project: the folder with dvc.yaml.
        names: names of runs.
        states: also delete all runs in one of these states.
        keep_branch: keep the branches with their commits.

    Raises:
        ParameterError: there is no run of one of the names.
        RepflowError: one of the runs is still running.
    """
    repository = open_repository(project)
    there = {listed.name: listed for listed in list_runs(project)}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ParameterError(f"{unknown[0]}: no such run (existing runs: {', '.join(there) or 'none'})")
    wanted = [*names, *(name for name, listed in there.items() if listed.state in states and name not in names)]
    for name in wanted:
        commit = repository.git("rev-parse", "--short", f"refs/heads/{PREFIX}{name}")
        with repository.locked(), contextlib.ExitStack() as locks:
            if not try_lock(repository, name, locks):
                raise RepflowError(f"run {name}: another process is running it; stop that process first")
            remove(read_record(repository, name), branch=not keep_branch)
        kept = "its branch is kept" if keep_branch else f"its branch was at {commit}"
        yield f"{name}: deleted ({kept})"
    _remove_if_empty(repository)


def _remove_if_empty(repository: Repository) -> None:
    with repository.locked():
        left = [path for path in repository.runs.iterdir() if path.name != ".lock"]
        if not left:
            (repository.runs / ".lock").unlink()
            repository.runs.rmdir()
