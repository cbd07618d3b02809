"""What git says is passed on; advice is given only where it is certain."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repflow.errors import RepflowError
from repflow.runs.repository import open_repository


def test_a_checkout_of_another_user_is_told_as_git_tells_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(RepflowError, match=r"dubious ownership.*safe\.directory") as caught:
        open_repository(project)
    assert "git init" not in str(caught.value)


def test_messages_of_git_are_understood_in_every_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with pytest.raises(RepflowError, match="create one: git init"):
        open_repository(tmp_path)


def test_names_with_accents_are_listed_as_they_are(project: Path, git: Callable[..., str]) -> None:
    (project / "né.txt").write_text("1\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "né")
    (project / "né.txt").write_text("2\n")
    assert open_repository(project).uncommitted() == ["né.txt"]
