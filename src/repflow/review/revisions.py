"""Resolve names of revisions (branches, tags, commits, experiments, globs) to commits."""

import fnmatch
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow.errors import DataError, ParameterError, RepflowError

WORKING_TREE = "working tree"


@dataclass(frozen=True)
class Revision:
    """A commit or the working tree.

    Attributes:
        name: the name as it was given, `WORKING_TREE` for the working tree.
        commit: the commit hash, None for the working tree.
    """

    name: str
    commit: str | None

    def __str__(self) -> str:
        if self.commit is None or self.commit.startswith(self.name):
            return self.name[:10] if self.commit else self.name
        return f"{self.name} ({self.commit[:7]})"


@contextmanager
def project(folder: Path) -> Iterator[Any]:
    """The DVC repository (dvc.repo.Repo) that contains `folder`.

    Raises:
        ParameterError: there is none, or it is not in a git repository.
        RepflowError: git cannot read the repository; the message is git's own.
        DataError: in the block, DVC could not read one of its files.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import NoSCM, SCMError
    from pygit2 import GitError

    try:
        repo = Repo(str(folder))
    except NotDvcRepoError as error:
        raise ParameterError(f"{folder.resolve()}: not in a DVC project; run in the project's root") from error
    except SCMError as error:
        raise ParameterError(f"{folder.resolve()}: {error}") from error
    with repo:
        if isinstance(repo.scm, NoSCM):
            raise ParameterError(f"{repo.root_dir}: not in a git repository; there are no revisions to compare")
        try:
            yield repo
        except GitError as error:
            raise RepflowError(f"{repo.root_dir}: git: {error}{_advice(str(error), repo.root_dir)}") from error
        except DvcException as error:
            conflicting = _conflicting(Path(repo.root_dir))
            reason = f"{conflicting} has the marks of a conflicting merge; docs/review.md says how to end it"
            raise DataError(f"{repo.root_dir}: {reason if conflicting else error}") from error


def _conflicting(folder: Path) -> str:
    """The first of DVC's files in which git left both sides of a merge; "" if there is none."""
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        path = folder / name
        if path.exists() and any(line.startswith("<<<<<<< ") for line in path.read_text(encoding="utf-8").splitlines()):
            return name
    return ""


def _advice(said: str, folder: str) -> str:
    """What to do about a message of git, where that is certain."""
    if "not owned by current user" not in said:
        return ""
    return f"; if you trust it: git config --global --add safe.directory {shlex.quote(folder)}"


def resolve(repo: Any, given: str) -> list[Revision]:
    """The revisions of one side of a comparison.

    Args:
        repo: the project.
        given: a branch, tag, commit or DVC experiment; several separated by commas; or a glob pattern such as
            `run/simclr-*`, which is expanded to all matching branches, tags and experiments.

    Raises:
        ParameterError: there is no such revision, or one of them is given twice.
    """
    if repo.scm.no_commits:
        raise ParameterError(f"{given}: the repository has no commit yet; commit your files first")
    names = [name for part in given.split(",") for name in _expanded(repo, part.strip())]
    found = [Revision(name, _commit(repo, name)) for name in names]
    seen: dict[str | None, str] = {}
    for each in found:
        if each.commit in seen:
            raise ParameterError(f"{given}: {seen[each.commit]} and {each.name} are the same commit; give it only once")
        seen[each.commit] = each.name
    return found


def _commit(repo: Any, name: str) -> str:
    from dvc.scm import RevError, resolve_rev

    try:
        commit: str = resolve_rev(repo.scm, name)
    except RevError as error:
        shallow = Path(repo.scm.root_dir, ".git", "shallow").exists()
        hint = "; this clone is shallow: `git fetch --unshallow`" if shallow else ""
        raise ParameterError(f"{name}: no such branch, tag, commit or experiment{hint}") from error
    return commit


def _expanded(repo: Any, part: str) -> list[str]:
    if not part:
        raise ParameterError("the name of a revision is empty; write BASE, or BASE,BASE for several")
    if not any(sign in part for sign in "*?["):
        return [part]
    names = {_short(ref) for base in ("refs/heads/", "refs/tags/", "refs/exps/") for ref in repo.scm.iter_refs(base)}
    fitting = sorted(fnmatch.filter(names - {""}, part))
    if not fitting:
        raise ParameterError(f"{part}: matches no branch, tag or experiment; see `git branch` and `dvc exp list`")
    return fitting


def _short(ref: str) -> str:
    """The short name of a reference, "" for an internal reference of DVC."""
    kind, rest = ref.removeprefix("refs/").split("/", 1)
    if kind != "exps":
        return rest
    parts = rest.split("/")
    return parts[2] if len(parts) == 3 and len(parts[0]) == 2 else ""
