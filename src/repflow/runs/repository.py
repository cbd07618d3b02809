"""The git repository that runs start from, and calls of git."""

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow.errors import RepflowError

PREFIX = "run/"
"""Prefix of the branches of runs."""


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
        """Tracked files that differ from the last commit, without those that stages write."""
        changed = self.git("diff", "--name-only", "HEAD").splitlines()
        return [path for path in changed if path.split("/")[0] not in ("dvc.lock", "metrics", "plots")]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the repository against other repflow processes; with git's own locks, the second one would fail."""
        self.runs.mkdir(parents=True, exist_ok=True)
        with open(self.runs / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def open_repository(project: Path) -> Repository:
    """The repository that `project` is in.

    Raises:
        RepflowError: there is none, it has no commit, or dvc.yaml is not in its last commit.
    """
    project = project.resolve()
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel"))
    except RepflowError:
        raise RepflowError(f"{project}: not in a git repository, which runs need; create one: git init") from None
    repository = Repository(top, project)
    try:
        repository.git("rev-parse", "--verify", "HEAD")
    except RepflowError:
        raise RepflowError(
            f"{top}: the repository has no commit to start from; commit first: git add --all && git commit"
        ) from None
    for needed in ("dvc.yaml", ".dvc/config"):
        if not repository.git("ls-tree", "HEAD", needed):
            raise RepflowError(f"{project / needed}: not in the last commit, from which runs start; commit it")
    return repository


def check_author(repository: Repository) -> None:
    """Raise RepflowError if git has no author for commits; called before a run that takes hours."""
    try:
        repository.git("var", "GIT_COMMITTER_IDENT")
    except RepflowError:
        raise RepflowError(
            "git has no author for commits; set one: git config user.name NAME; git config user.email ADDRESS"
        ) from None


def push_remote(repository: Repository) -> str:
    """The git remote to push to.

    Raises:
        RepflowError: there is none, or there are several without a default.
    """
    remotes = repository.git("remote").splitlines()
    chosen = subprocess.run(
        ["git", "config", "remote.pushDefault"], cwd=repository.project, capture_output=True, text=True
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
    command: Sequence[str] = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise RepflowError("git is not installed, or not on the PATH") from None
    if done.returncode:
        message = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RepflowError(f"git {arguments[0]}: {message}")
    return done.stdout.rstrip("\n")
