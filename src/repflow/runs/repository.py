"""The git repository that runs start from, and the calls of git that they need."""

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow.errors import RepflowError

PREFIX = "run/"
"""Branches of runs begin with it."""


@dataclass(frozen=True)
class Repository:
    """A checkout with the project in it.

    Attributes:
        top: the checkout's root.
        project: the folder with dvc.yaml.
    """

    top: Path
    project: Path

    @property
    def runs(self) -> Path:
        """Where runs have their worktrees and records."""
        return self.project / ".repflow" / "runs"

    def git(self, *arguments: str) -> str:
        """What git prints in the project's folder."""
        return git(self.project, *arguments)

    def has_branch(self, name: str) -> bool:
        """Whether there is a branch for the run `name`."""
        return bool(self.git("branch", "--list", PREFIX + name))

    def uncommitted(self) -> list[str]:
        """Tracked files that differ from the last commit, but those that stages write."""
        changed = self.git("diff", "--name-only", "HEAD").splitlines()
        return [path for path in changed if path.split("/")[0] not in ("dvc.lock", "metrics", "plots")]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time: git's own locks make the second one fail, rather than wait."""
        self.runs.mkdir(parents=True, exist_ok=True)
        with open(self.runs / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def open_repository(project: Path) -> Repository:
    """The repository that `project` is in.

    Raises:
        RepflowError: there is none, it has no commit, or the graph is not in its last commit.
    """
    project = project.resolve()
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel"))
    except RepflowError:
        raise RepflowError(f"{project}: not in a git repository; runs need one: git init") from None
    repository = Repository(top, project)
    try:
        repository.git("rev-parse", "--verify", "HEAD")
    except RepflowError:
        raise RepflowError(
            f"{top}: the repository has no commit yet, and a run starts from one: git add --all && git commit"
        ) from None
    for needed in ("dvc.yaml", ".dvc/config"):
        if not repository.git("ls-tree", "HEAD", needed):
            raise RepflowError(f"{project / needed}: not in the last commit, which runs start from; commit it")
    return repository


def check_author(repository: Repository) -> None:
    """Raise RepflowError where git could not commit, before a run that takes hours."""
    try:
        repository.git("var", "GIT_COMMITTER_IDENT")
    except RepflowError:
        raise RepflowError(
            "git does not know who commits: git config user.name NAME; git config user.email ADDRESS"
        ) from None


def push_remote(repository: Repository) -> str:
    """The git remote to push to.

    Raises:
        RepflowError: there is none, or several of which none is the default.
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
    found = f"there are {', '.join(remotes)}" if remotes else "there is none"
    raise RepflowError(f"no git remote to push to ({found}); name one: git config remote.pushDefault NAME")


def git(folder: Path, *arguments: str) -> str:
    """What git prints in `folder`, without the hooks of the repository.

    Raises:
        RepflowError: with git's own words.
    """
    command: Sequence[str] = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise RepflowError("git is not installed, or not on the PATH") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise RepflowError(f"git {arguments[0]}: {said}")
    return done.stdout.rstrip("\n")
