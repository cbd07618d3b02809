"""Commands on a machine with little: an old encoding, no home, no user name."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from repflow.cli.app import app
from repflow.cli.surroundings import have_a_name_and_a_home

RUN = "from repflow.cli.app import app; app()"


def repflow(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="latin-1",
        check=False,
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_every_help_can_be_shown_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    code = (
        "from typer.main import get_command; from repflow.cli.app import app\n"
        "for name in ['', *sorted(get_command(app).commands)]:\n"
        "    try: app([name, '--help'] if name else ['--help'])\n"
        "    except SystemExit as end: assert not end.code, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert len(get_command(app).commands) > 10  # type: ignore[attr-defined]


def leaves(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command, by the words that name it."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        here = (*path, name)
        found |= leaves(command, here) if hasattr(command, "commands") else {here: command}
    return found


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("words", leaves(get_command(app)), ids=" ".join)
def test_every_command_can_write_every_class_name(
    words: tuple[str, ...], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(**_: object) -> None:
        typer.echo("é 猫")
        print("é 猫")
        sys.stdout.write("é 猫\n")

    commands = get_command(app)
    command = leaves(commands)[words]
    command.callback, command.params = write, []
    with io.TextIOWrapper(io.BytesIO(), encoding=encoding) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(SystemExit) as ended:
            commands(list(words))
        terminal.flush()
        written = terminal.buffer.getvalue().splitlines()  # type: ignore[attr-defined]
    assert not ended.value.code
    escaped = "é 猫".encode(encoding, "backslashreplace")
    assert written[1:] == [escaped, escaped]
    assert written[0] in (escaped, "é 猫".encode())  # Typer itself writes UTF-8 to a terminal that claims to be ASCII


def test_a_character_that_a_terminal_lacks_is_escaped(tmp_path: Path) -> None:
    done = repflow(tmp_path, "predict", "zdjęcie.png", PYTHONIOENCODING="latin-1")
    assert "Traceback" not in done.stderr
    code = "from repflow.cli.surroundings import take_every_character as t; t(); print('ł')"
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    assert subprocess.check_output([sys.executable, "-c", code], env=latin) == b"\\u0142\n"


def test_a_user_without_a_name_and_a_home_gets_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> str:
        raise KeyError("uid not found")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    have_a_name_and_a_home()
    assert (os.environ["HOME"], os.environ["USER"]) == ("/nonexistent", str(os.getuid()))
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("USER")


def test_a_name_and_a_home_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USER", "me")
    have_a_name_and_a_home()
    assert (os.environ["HOME"], os.environ["USER"]) == ("/home/me", "me")
