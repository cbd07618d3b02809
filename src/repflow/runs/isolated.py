"""The life of an isolated run: a git worktree that shares the DVC cache, and a commit of the results."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow.errors import ParameterError, RepflowError
from repflow.files import lock_file, writing
from repflow.runs.message import run_message
from repflow.runs.preparation import compose, dvc, provide_images, share_storage
from repflow.runs.repository import CHOSEN, PREFIX, Repository, check_author, git, open_repository, push_remote

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True)
class Run:
    """An isolated run.

    Attributes:
        name: lower-case words with dashes.
        repository: the repository of the checkout that it was started from.
        overrides: Hydra overrides, as for `repflow compose`.
        base: the commit that it starts from.
        chosen: the checkout's conf/chosen.yaml, whose choices it starts from, committed or not.
    """

    name: str
    repository: Repository
    overrides: tuple[str, ...]
    base: str
    chosen: str

    @property
    def branch(self) -> str:
        """The branch that it commits to."""
        return PREFIX + self.name

    @property
    def worktree(self) -> Path:
        """The path of its worktree."""
        return self.repository.runs / self.name

    @property
    def folder(self) -> Path:
        """The project's folder in its worktree."""
        return self.worktree / self.repository.project.relative_to(self.repository.top)

    @property
    def record(self) -> Path:
        """The file with its overrides and base commit, so that a stopped run can be resumed."""
        return self.repository.runs / f"{self.name}.json"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of its stages, so that they run the code in the worktree."""
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join([str(self.folder / "src"), *([before] if before else [])])}


@contextlib.contextmanager
def isolated(project: Path, overrides: Sequence[str], name: str = "", push: bool = False) -> Iterator[Run]:
    """Provide the worktree of a run for the duration of the block, locked against other processes.

    The worktree starts from the last commit, with the parameters composed with the checkout's kept choices and
    `overrides`. If the block ends without
    `finish`, the worktree is kept, and a run of the same name and overrides resumes there.

    Args:
        project: the folder with dvc.yaml in the user's checkout, which is not changed.
        overrides: Hydra overrides, "group=choice" and "key=value".
        name: name of the run; "" for one made from the overrides, with a number if it is taken.
        push: whether the run will be pushed; a missing remote is then reported before it starts.

    Raises:
        RepflowError: the repository cannot have runs, the name is taken, or another process has locked the run.
        ParameterError: the overrides or the name are not allowed.
    """
    repository = open_repository(project)
    check_author(repository)
    if push:
        push_remote(repository)
        check_storage(repository)
    with contextlib.ExitStack() as locks:
        with repository.locked():
            run, is_new = _claim(repository, tuple(overrides), name, locks)
            if is_new:
                _create(run)
        try:
            _prepare(run)
        except BaseException:
            if is_new:
                with repository.locked():
                    remove(run)
            raise
        yield run


def finish(run: Run, push: bool = False) -> str:
    """Commit the results of the run, optionally push them, and delete the worktree; returns the commit message.

    Raises:
        RepflowError: the commit failed, and the worktree is kept; or the push failed, and the commit is kept.
    """
    message = run_message(run.folder, run.name, run.base, run.overrides)
    files = [
        path
        for path in ("params.yaml", CHOSEN, "dvc.lock", *uncached_outputs(run.folder))
        if (run.folder / path).exists()
    ]
    with run.repository.locked():
        git(run.folder, "add", "--", *files)
        git(run.folder, "commit", "--no-gpg-sign", "--no-verify", "--allow-empty", "--quiet", "--message", message)
    try:
        if push:
            git(run.folder, "push", push_remote(run.repository), run.branch)
            dvc(run.folder, "push", "--quiet")
    except RepflowError as error:
        raise RepflowError(
            f"{run.branch} is committed, but could not be pushed: {error}; fix the cause, then run in {run.folder}:"
            f" git push && dvc push; then repflow runs prune --keep-branch {run.name}"
        ) from error
    with run.repository.locked():
        remove(run, branch=False)
    return message


def remove(run: Run, branch: bool = True) -> None:
    """Delete the worktree and the record of a run and, if `branch`, its branch."""
    if run.worktree.exists():
        with contextlib.suppress(RepflowError):
            run.repository.git("worktree", "remove", "--force", "--force", str(run.worktree))
        shutil.rmtree(run.worktree, ignore_errors=True)
    run.repository.git("worktree", "prune")
    if branch and run.repository.has_branch(run.name):
        run.repository.git("branch", "--quiet", "-D", run.branch)
    for path in (run.record, _lock_path(run.repository, run.name)):
        path.unlink(missing_ok=True)


def default_name(overrides: Sequence[str]) -> str:
    """A name made from the overrides, as "pretrain-rotation-seed-3"."""
    words = re.findall(r"[a-z0-9]+", " ".join(override.replace("_", "") for override in overrides).lower())
    return "-".join(words)[:_LONGEST].strip("-") or "run"


def read_record(repository: Repository, name: str) -> Run:
    """The run `name` from its record; without overrides if there is no record."""
    path = repository.runs / f"{name}.json"
    values: Any = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"overrides": [], "base": ""}
    return Run(name, repository, tuple(values["overrides"]), values["base"], values.get("chosen", ""))


def try_lock(repository: Repository, name: str, locks: contextlib.ExitStack) -> bool:
    """Try to lock the run `name` until `locks` is closed; false if another process has locked it."""
    return lock_file(locks.enter_context(open(_lock_path(repository, name), "a")))


def uncached_outputs(project: Path) -> list[str]:
    """Outputs that are tracked by git: those with `cache: false` in dvc.yaml."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        paths = [Path(out.fs_path) for out in repo.index.outs if not out.use_cache]
    return sorted(str(path.relative_to(project)) for path in paths)


def check_storage(repository: Repository) -> None:
    """Raise RepflowError if DVC has no default remote."""
    from dvc.repo import Repo

    with Repo(str(repository.project)) as repo:
        if not repo.config["core"].get("remote"):
            raise RepflowError("no DVC remote to push to; add one: dvc remote add --default NAME URL")


def _claim(
    repository: Repository, overrides: tuple[str, ...], name: str, locks: contextlib.ExitStack
) -> tuple[Run, bool]:
    """Find or create the run and lock it; also returns whether it is new."""
    if name and not (_NAME.fullmatch(name) and len(name) <= _LONGEST):
        raise ParameterError(
            f"{name!r}: not allowed as the name of a run; use lower-case words with dashes, up to {_LONGEST} characters"
        )
    base, chosen = repository.git("rev-parse", "HEAD"), repository.chosen()
    stem = name or default_name(overrides)
    number = 1
    while True:
        tried = stem if number == 1 else f"{stem}-{number}"
        run, reason = Run(tried, repository, overrides, base, chosen), ""
        with contextlib.ExitStack() as tentative:
            if not try_lock(repository, tried, tentative):
                reason = "another process is running it"
            elif run.worktree.exists():
                before = read_record(repository, tried)
                if (before.overrides, before.base, before.chosen) == (overrides, base, chosen):
                    locks.push(tentative.pop_all())
                    return run, False
                given = " ".join(before.overrides) or "none"
                reason = (
                    f"a stopped run of this name has other overrides ({given}), another base ({before.base[:9]}) or"
                    " other kept choices"
                )
            elif repository.has_branch(tried):
                reason = f"a finished run has this name (git show {PREFIX}{tried})"
            else:
                locks.push(tentative.pop_all())
                return run, True
        if name:
            raise RepflowError(f"run {name}: {reason}; choose another name, or delete it: repflow runs prune {name}")
        number += 1


def _create(run: Run) -> None:
    with writing(run.record) as fresh:
        record = {"overrides": run.overrides, "base": run.base, "chosen": run.chosen}
        fresh.write_text(json.dumps(record), encoding="utf-8")
    try:
        run.repository.git("worktree", "add", "--quiet", "-b", run.branch, str(run.worktree), run.base)
        if run.chosen:
            (run.folder / CHOSEN).write_text(run.chosen, encoding="utf-8")
    except BaseException:
        remove(run)
        raise


def _prepare(run: Run) -> None:
    """Let the worktree use the checkout's cache, remotes and images, and compose its parameters."""
    share_storage(run.repository, run.folder)
    if run.overrides or run.chosen != run.repository.at_head(CHOSEN):
        compose(run.folder, run.overrides, run.environment)
    provide_images(run.repository, run.folder)


def _lock_path(repository: Repository, name: str) -> Path:
    return repository.runs / f".{name}.lock"
