"""Which runs there are, and taking them away."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow.errors import ParameterError, RepflowError
from repflow.runs.isolated import hold, read_record, remove
from repflow.runs.repository import PREFIX, Repository, open_repository

State = Literal["running", "stopped", "finished"]


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it.

    Attributes:
        name: of the run.
        state: at work; stopped before its end, with a worktree from which it can go on; or committed.
        when: of its last commit, as "2 hours ago".
        about: the subject of that commit, or what was asked for.
    """

    name: str
    state: State
    when: str
    about: str


def list_runs(project: Path) -> list[Listed]:
    """All runs of the project, the latest commit first."""
    repository = open_repository(project)
    form = "%(refname:short)%09%(committerdate:relative)%09%(contents:subject)"
    with repository.alone():
        lines = repository.git("for-each-ref", "--sort=-committerdate", f"--format={form}", f"refs/heads/{PREFIX}")
        return [_listed(repository, *line.split("\t", 2)) for line in lines.splitlines()]


def _listed(repository: Repository, branch: str, when: str, subject: str) -> Listed:
    name = branch.removeprefix(PREFIX)
    if not (repository.runs / name).exists():
        return Listed(name, "finished", when, subject)
    with contextlib.ExitStack() as held:
        state: State = "stopped" if hold(repository, name, held) else "running"
    return Listed(name, state, "", " ".join(read_record(repository, name).overrides))


def prune(
    project: Path, names: Sequence[str], states: Sequence[State] = (), keep_branch: bool = False
) -> Iterator[str]:
    """Take runs away: worktree, record and branch. Gives a line about each.

    Args:
        project: the folder with dvc.yaml.
        names: of runs.
        states: all runs in one of these, too.
        keep_branch: leave what was committed.

    Raises:
        ParameterError: a name is no run's.
        RepflowError: a named run is at work.
    """
    repository = open_repository(project)
    there = {listed.name: listed for listed in list_runs(project)}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ParameterError(f"{unknown[0]}: no such run (there are: {', '.join(there) or 'none'})")
    wanted = [*names, *(name for name, listed in there.items() if listed.state in states and name not in names)]
    for name in wanted:
        commit = repository.git("rev-parse", "--short", f"refs/heads/{PREFIX}{name}")
        with repository.alone(), contextlib.ExitStack() as held:
            if not hold(repository, name, held):
                raise RepflowError(f"run {name}: a process is at work on it; end that first")
            remove(read_record(repository, name), branch=not keep_branch)
        kept = "its branch is left" if keep_branch else f"its branch was at {commit}"
        yield f"{name}: taken away ({kept})"
    _remove_if_empty(repository)


def _remove_if_empty(repository: Repository) -> None:
    with repository.alone():
        left = [path for path in repository.runs.iterdir() if path.name != ".lock"]
        if not left:
            (repository.runs / ".lock").unlink()
            repository.runs.rmdir()
