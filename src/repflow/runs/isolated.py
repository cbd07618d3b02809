"""A run from its first file to its last: a worktree that shares the DVC cache, and a commit of what came out."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow.errors import ParameterError, RepflowError
from repflow.files import writing
from repflow.runs.message import run_message
from repflow.runs.repository import PREFIX, Repository, check_author, git, open_repository, push_remote

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True)
class Run:
    """A run that has its worktree.

    Attributes:
        name: its name, lower-case words with dashes.
        repository: of the checkout that it was started from.
        overrides: what was asked for, as `repflow compose` takes it.
        base: the commit that it starts from.
    """

    name: str
    repository: Repository
    overrides: tuple[str, ...]
    base: str

    @property
    def branch(self) -> str:
        """Where it commits."""
        return PREFIX + self.name

    @property
    def worktree(self) -> Path:
        """Its own checkout."""
        return self.repository.runs / self.name

    @property
    def folder(self) -> Path:
        """The project in its own checkout."""
        return self.worktree / self.repository.project.relative_to(self.repository.top)

    @property
    def record(self) -> Path:
        """What was asked for, so that a stopped run can be taken up again."""
        return self.repository.runs / f"{self.name}.json"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for its stages: the code that runs is its own, which DVC hashes."""
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join([str(self.folder / "src"), *([before] if before else [])])}


@contextlib.contextmanager
def isolated(project: Path, overrides: Sequence[str], name: str = "", push: bool = False) -> Iterator[Run]:
    """Give a run its worktree for the length of the block, and hold it so that nobody else works there.

    The worktree starts from the last commit, with the parameters that `overrides` compose to. A block that ends without
    `finish` leaves it, and a run of the same name and overrides goes on there.

    Args:
        project: the folder with dvc.yaml in the user's checkout, which is not touched.
        overrides: "group=choice" and "key=value".
        name: of the run; none for one made from the overrides, with a number where that is taken.
        push: whether the run is to be pushed, so that what is missing for that is said before it starts.

    Raises:
        RepflowError: the repository cannot have runs, the name is taken, or somebody is at work on the run.
        ParameterError: the overrides are not allowed, or the name is none.
    """
    repository = open_repository(project)
    check_author(repository)
    if push:
        push_remote(repository)
        check_storage(repository)
    with contextlib.ExitStack() as held:
        with repository.alone():
            run, is_new = _claim(repository, tuple(overrides), name, held)
            if is_new:
                _create(run)
        try:
            _prepare(run)
        except BaseException:
            if is_new:
                with repository.alone():
                    remove(run)
            raise
        yield run


def finish(run: Run, push: bool = False) -> str:
    """Commit what the run made, push it if asked, and take its worktree away; gives the commit's message.

    Raises:
        RepflowError: it could not be committed, and the worktree is left; or not pushed, and the commit is there.
    """
    message = run_message(run.folder, run.name, run.base, run.overrides)
    files = [
        path for path in ("params.yaml", "dvc.lock", *uncached_outputs(run.folder)) if (run.folder / path).exists()
    ]
    with run.repository.alone():
        git(run.folder, "add", "--", *files)
        git(run.folder, "commit", "--no-gpg-sign", "--no-verify", "--allow-empty", "--quiet", "--message", message)
    try:
        if push:
            git(run.folder, "push", push_remote(run.repository), run.branch)
            _dvc(run, "push", "--quiet")
    except RepflowError as error:
        raise RepflowError(
            f"{run.branch} is committed, but could not be pushed: {error}; once that is mended, in {run.folder}:"
            f" git push && dvc push; then repflow runs prune --keep-branch {run.name}"
        ) from error
    with run.repository.alone():
        remove(run, branch=False)
    return message


def remove(run: Run, branch: bool = True) -> None:
    """Take away the worktree and the record of a run and, with `branch`, all that it committed."""
    if run.worktree.exists():
        with contextlib.suppress(RepflowError):
            run.repository.git("worktree", "remove", "--force", "--force", str(run.worktree))
        shutil.rmtree(run.worktree, ignore_errors=True)
    run.repository.git("worktree", "prune")
    if branch and run.repository.has_branch(run.name):
        run.repository.git("branch", "--quiet", "-D", run.branch)
    for path in (run.record, _lock_path(run.repository, run.name)):
        path.unlink(missing_ok=True)


def name_of(overrides: Sequence[str]) -> str:
    """A name that tells the overrides apart, as "pretrain-rotation-seed-3"."""
    words = re.findall(r"[a-z0-9]+", " ".join(override.replace("_", "") for override in overrides).lower())
    return "-".join(words)[:_LONGEST].strip("-") or "run"


def read_record(repository: Repository, name: str) -> Run:
    """The run `name` as it was recorded; without overrides where it has no record."""
    path = repository.runs / f"{name}.json"
    values: Any = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"overrides": [], "base": ""}
    return Run(name, repository, tuple(values["overrides"]), values["base"])


def hold(repository: Repository, name: str, held: contextlib.ExitStack) -> bool:
    """Whether nobody is at work on the run `name`; if so, nobody else will be until `held` is closed."""
    lock = held.enter_context(open(_lock_path(repository, name), "a"))  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def uncached_outputs(project: Path) -> list[str]:
    """Outputs that git keeps: those that the graph declares with `cache: false`."""
    from dvc.repo import Repo

    with Repo(str(project)) as repo:
        paths = [Path(out.fs_path) for out in repo.index.outs if not out.use_cache]
    return sorted(str(path.relative_to(project)) for path in paths)


def check_storage(repository: Repository) -> None:
    """Raise RepflowError where DVC has no remote to push to."""
    from dvc.repo import Repo

    with Repo(str(repository.project)) as repo:
        if not repo.config["core"].get("remote"):
            raise RepflowError("no DVC remote to push to; name one: dvc remote add --default NAME URL")


def _claim(
    repository: Repository, overrides: tuple[str, ...], name: str, held: contextlib.ExitStack
) -> tuple[Run, bool]:
    """The run to work on, held, and whether it is new."""
    if name and not (_NAME.fullmatch(name) and len(name) <= _LONGEST):
        raise ParameterError(f"{name!r}: no name for a run; lower-case words with dashes, at most {_LONGEST} letters")
    base = repository.git("rev-parse", "HEAD")
    stem = name or name_of(overrides)
    number = 1
    while True:
        tried = stem if number == 1 else f"{stem}-{number}"
        run, reason = Run(tried, repository, overrides, base), ""
        with contextlib.ExitStack() as tentative:
            if not hold(repository, tried, tentative):
                reason = "another process is at work on it"
            elif run.worktree.exists():
                before = read_record(repository, tried)
                if (before.overrides, before.base) == (overrides, base):
                    held.push(tentative.pop_all())
                    return run, False
                reason = f"it was stopped, and had {' '.join(before.overrides) or 'no choices'} from {before.base[:9]}"
            elif repository.has_branch(tried):
                reason = f"it is finished (git show {PREFIX}{tried})"
            else:
                held.push(tentative.pop_all())
                return run, True
        if name:
            raise RepflowError(f"run {name}: {reason}; take another name, or repflow runs prune {name}")
        number += 1


def _create(run: Run) -> None:
    with writing(run.record) as fresh:
        fresh.write_text(json.dumps({"overrides": run.overrides, "base": run.base}), encoding="utf-8")
    try:
        run.repository.git("worktree", "add", "--quiet", "-b", run.branch, str(run.worktree), run.base)
    except BaseException:
        remove(run)
        raise


def _prepare(run: Run) -> None:
    """Make the worktree share the checkout's cache, remotes and data, and compose its parameters."""
    from configobj import ConfigObj
    from dvc.repo import Repo

    local = run.repository.project / ".dvc" / "config.local"
    mine = run.folder / ".dvc" / "config.local"
    with Repo(str(run.repository.project)) as repo, writing(mine) as fresh:
        config = ConfigObj(str(local) if local.exists() else None)
        config.filename = str(fresh)
        config.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir
        # What DVC keeps by a project's path would be left behind when the worktree goes.
        config.setdefault("core", {})["site_cache_dir"] = str(run.folder / ".dvc" / "tmp" / "site")
        for name, remote in repo.config["remote"].items():  # with the paths as they are seen from the checkout
            config.setdefault(f'remote "{name}"', {})["url"] = remote["url"]
        if repo.config["core"].get("remote"):
            config["core"]["remote"] = repo.config["core"]["remote"]
        config.write()
        os.chmod(fresh, 0o600)  # it may hold keys
    raw, linked = run.repository.project / "data" / "raw", run.folder / "data" / "raw"
    if raw.exists() and not linked.exists():
        linked.parent.mkdir(exist_ok=True)
        linked.symlink_to(raw.resolve())
    if run.overrides:
        _compose(run)


def _compose(run: Run) -> None:
    """Write the worktree's params.yaml by its own code."""
    code = "from repflow.cli.app import app; app()"
    command = [sys.executable, "-c", code, "compose", "--", *run.overrides]
    done = subprocess.run(
        command, cwd=run.folder, env={**os.environ, **run.environment}, capture_output=True, text=True
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ParameterError("\n".join(said).removeprefix("error: ") or f"repflow compose: exit code {done.returncode}")


def _dvc(run: Run, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=run.folder, capture_output=True, text=True)
    if done.returncode:
        said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise RepflowError(f"dvc {arguments[0]}: {' '.join(said) or f'exit code {done.returncode}'}")


def _lock_path(repository: Repository, name: str) -> Path:
    return repository.runs / f".{name}.lock"
