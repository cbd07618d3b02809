"""The git repository that runs start from, and calls of git."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow.errors import ParameterError, RepflowError
from repflow.files import lock_file

PREFIX = "run/"
"""Prefix of the branches of runs."""

CHOSEN = "conf/chosen.yaml"
"""What `repflow compose` keeps, relative to the project."""


@dataclass(frozen=True)
class Repository:
    """The git checkout of the project.

    Attributes:
        top: the root of the checkout.
        project: the folder with dvc.yaml.
    """

    top: Path
    project: Path

    @property
    def runs(self) -> Path:
        """The folder of the worktrees and records of runs."""
        return self.project / ".repflow" / "runs"

    def git(self, *arguments: str) -> str:
        """Run git in the project's folder; returns its output."""
        return git(self.project, *arguments)

    def has_branch(self, name: str) -> bool:
        """Whether the run `name` has a branch."""
        return bool(self.git("branch", "--list", PREFIX + name))

    def uncommitted(self) -> list[str]:
        """Tracked files that differ from the last commit, without those that stages write, and without kept choices."""
        changed = self.git("diff", "--name-only", "--relative", "HEAD").splitlines()
        left = [path for path in changed if path.split("/")[0] not in ("dvc.lock", "metrics", "plots")]
        return [path for path in left if path != CHOSEN and not (path == "params.yaml" and self._is_composed())]

    def chosen(self) -> str:
        """The checkout's kept choices, committed or not; "" where there is no such file."""
        path = self.project / CHOSEN
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def at_head(self, path: str) -> str:
        """The text of a file of the project in the last commit; "" where it has none."""
        return git(self.project, "show", f"HEAD:./{path}") if self.git("ls-tree", "HEAD", path) else ""

    def _is_composed(self) -> bool:
        """Whether params.yaml holds what conf/ composes to, and nothing else."""
        from repflow.stages.compose import composed

        try:
            return composed(self.project / "conf", []) == (self.project / "params.yaml").read_text(encoding="utf-8")
        except (FileNotFoundError, ParameterError):
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the repository against other repflow processes; with git's own locks, the second one would fail."""
        self.runs.mkdir(parents=True, exist_ok=True)
        with open(self.runs / ".lock", "wb") as lock:
            lock_file(lock, wait=True)
            yield


def open_repository(project: Path) -> Repository:
    """The repository that `project` is in.

    Raises:
        RepflowError: there is none, it has no commit, or dvc.yaml is not in its last commit.
    """
    project = project.resolve()
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel"))
    except RepflowError as error:
        if "not a git repository" in str(error):
            raise RepflowError(f"{project}: not in a git repository, which runs need; create one: git init") from None
        raise
    repository = Repository(top, project)
    try:
        repository.git("rev-parse", "--verify", "HEAD")
    except RepflowError as error:
        if "Needed a single revision" in str(error):
            raise RepflowError(
                f"{top}: the repository has no commit to start from; commit first: git add --all && git commit"
            ) from None
        raise
    for needed in ("dvc.yaml", ".dvc/config"):
        if not repository.git("ls-tree", "HEAD", needed):
            raise RepflowError(f"{project / needed}: not in the last commit, from which runs start; commit it")
    return repository


def check_author(repository: Repository) -> None:
    """Raise RepflowError if git has no author for commits; called before a run that takes hours."""
    try:
        repository.git("var", "GIT_COMMITTER_IDENT")
    except RepflowError as error:
        raise RepflowError(
            "git has no author for commits; set one: git config user.name NAME; git config user.email ADDRESS"
            f" ({error})"
        ) from None


def push_remote(repository: Repository) -> str:
    """The git remote to push to.

    Raises:
        RepflowError: there is none, or there are several without a default.
    """
    remotes = repository.git("remote").splitlines()
    chosen = subprocess.run(
        ["git", "config", "remote.pushDefault"], cwd=repository.project, capture_output=True, encoding="utf-8"
    ).stdout.strip()
    if chosen:
        return chosen
    if "origin" in remotes:
        return "origin"
    if len(remotes) == 1:
        return remotes[0]
    found = f"existing remotes: {', '.join(remotes)}" if remotes else "there are no remotes"
    raise RepflowError(f"no default git remote to push to ({found}); set one: git config remote.pushDefault NAME")


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`, without the repository's hooks; returns its output.

    Raises:
        RepflowError: git failed; the message is git's own.
    """
    command: Sequence[str] = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},  # messages in English
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise RepflowError("git is not installed, or not on the PATH") from None
    if done.returncode:
        message = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RepflowError(f"git {arguments[0]}: {message}")
    return done.stdout.rstrip("\n")
