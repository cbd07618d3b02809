"""Locks of files, also on a file system that has none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from repflow import files
from repflow.errors import RepflowError
from repflow.files import NoLocksError, lock_file, locked


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=lambda number: errno.errorcode[number])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the system say that there are no locks, as it does on some network file systems."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(files.fcntl, "flock", refuse)


def test_a_second_lock_is_refused_until_the_first_file_is_closed(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock", "w") as other:
        assert lock_file(one)
        assert not lock_file(other)
        one.close()
        assert lock_file(other, wait=True)


@pytest.mark.usefixtures("without_locks")
def test_a_file_system_without_locks_is_one_message(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as file, pytest.raises(NoLocksError, match=r"lock: its file system has no locks"):
        lock_file(file)


@pytest.mark.usefixtures("without_locks")
def test_a_folder_that_cannot_be_locked_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(tmp_path / "search", "is running the same search") as folder:
        assert folder.is_dir()
    assert "has no locks" in caplog.text
    assert "see to it that no other is running the same search" in caplog.text


@pytest.mark.usefixtures("without_locks")
def test_isolated_runs_are_refused_where_nothing_tells_which_of_them_is_running(tmp_path: Path) -> None:
    from repflow.runs.repository import Repository

    with pytest.raises(RepflowError, match="its file system has no locks"), Repository(tmp_path, tmp_path).locked():
        pass


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_journal_is_kept_where_there_are_no_symbolic_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import optuna

    from repflow.stages.searching.journal import open_storage

    def refuse(*_: Any, **named: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    def write() -> int:
        study = optuna.create_study(storage=open_storage(tmp_path / "journal.log"), study_name="s", load_if_exists=True)
        study.add_trial(optuna.trial.create_trial(value=1.0))
        return len(study.trials)

    assert write() == 1
    symlink: Callable[..., None] = os.symlink
    monkeypatch.setattr(os, "symlink", refuse)
    assert write() == 2
    monkeypatch.setattr(os, "symlink", symlink)
    assert write() == 3
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]
