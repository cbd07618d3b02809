"""Repositories that git or DVC cannot read: their own words are passed on, advice is given only where it is certain."""

import subprocess
from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from pygit2 import GitError

from repflow.errors import DataError, RepflowError
from repflow.review.revisions import project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty DVC project."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    Repo.init(str(tmp_path)).close()
    return tmp_path


@pytest.mark.parametrize(
    ("said", "advice"),
    [("repository path '/x' is not owned by current user", True), ("object not found", False)],
)
def test_git_says_itself_what_is_wrong(folder: Path, said: str, advice: bool) -> None:
    with pytest.raises(RepflowError, match=said) as caught, project(folder):
        raise GitError(said)
    assert (f"git config --global --add safe.directory {folder}" in str(caught.value)) is advice


def test_a_conflicting_merge_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="broken"), project(folder):
        raise DvcException("broken")
    (folder / "params.yaml").write_text("<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> other\n")
    marks = r"params\.yaml has the marks of a conflicting merge; docs/review\.md"
    with pytest.raises(DataError, match=marks), project(folder):
        raise DvcException("broken")
