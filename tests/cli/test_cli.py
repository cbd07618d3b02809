"""The command line: help, exit codes, and messages instead of tracebacks."""

import errno
import importlib.resources
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repflow import errors
from repflow.cli.app import app

COMMANDS = (
    "ingest",
    "validate",
    "split",
    "baseline",
    "pretrain",
    "probe",
    "tune",
    "finetune",
    "adapt",
    "evaluate",
    "select",
    "report",
    "compose",
    "cost",
    "plan",
    "predict",
    "suggest",
    "compare",
    "check",
)


@pytest.fixture
def split_raising(monkeypatch: pytest.MonkeyPatch):
    """Makes the stage `split` raise a given error."""
    from repflow.stages import split

    def arrange(error: BaseException) -> None:
        def run() -> None:
            raise error

        monkeypatch.setattr(split, "run", run)

    return arrange


def invoke(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_the_help_lists_every_command_and_comes_without_heavy_imports() -> None:
    code = (
        "import sys\nfrom repflow.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'hydra', 'dvc', 'prefect'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(re.search(rf"^│ {command} ", run.stdout, re.MULTILINE) for command in COMMANDS)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_lists_outputs_and_an_example(command: str) -> None:
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", invoke(command, "--help").stdout).split())
    assert f"Example: repflow {command}" in words
    assert re.search("[Ww]rites?", words)


@pytest.mark.parametrize(
    ("command", "family"),
    [("pretrain", "pretext"), ("pretrain", "clustering"), ("finetune", "semisup"), ("adapt", "adaptation")],
)
def test_the_help_names_every_method(command: str, family: str) -> None:
    folder = importlib.resources.files("repflow") / "methods" / family
    methods = {Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".py")} - {"__init__"}
    assert len(methods) >= 3
    words = set(re.findall(r"\w+", invoke(command, "--help").stdout))
    assert methods <= words


def test_an_unknown_command_and_a_wrong_domain_end_with_2() -> None:
    assert invoke("ingset").exit_code == 2
    wrong = invoke("ingest", "middle")
    assert wrong.exit_code == 2
    assert "source" in wrong.stderr


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.RepflowError, 1),
        (errors.ParameterError, 2),
        (errors.DataError, 3),
        (errors.ValidationFailed, 4),
        (errors.StorageError, 5),
    ],
)
def test_an_expected_error_is_one_message_and_its_own_exit_code(split_raising, kind, code) -> None:
    split_raising(kind("labels.csv: not there"))
    result = invoke("split")
    assert (result.exit_code, result.stderr) == (code, "error: labels.csv: not there\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_message_also_below_another_error(split_raising, number: int) -> None:
    error = RuntimeError("the writer failed")
    error.__cause__ = OSError(number, os.strerror(number))
    split_raising(error)
    result = invoke("split")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: the disk is full")


def test_a_full_disk_that_only_the_text_mentions_is_a_message(split_raising) -> None:
    split_raising(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert invoke("split").exit_code == 5


def test_a_missing_permission_names_the_file(split_raising) -> None:
    split_raising(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "data/splits"))
    result = invoke("split")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: data/splits: Permission denied")


def test_a_programming_error_keeps_its_traceback(split_raising) -> None:
    split_raising(ZeroDivisionError("division by zero"))
    assert isinstance(invoke("split").exception, ZeroDivisionError)


def test_verbose_shows_where_an_expected_error_comes_from(split_raising) -> None:
    split_raising(errors.DataError("not there"))
    assert isinstance(invoke("--verbose", "split").exception, errors.DataError)


def test_an_interrupt_ends_with_130(split_raising) -> None:
    split_raising(KeyboardInterrupt())
    assert invoke("split").exit_code == 130


def test_sigterm_ends_with_143_without_a_traceback_after_cleaning_up(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom repflow.cli.app import app\nfrom repflow.stages import split\n"
        "def run():\n"
        "    try: print('ready', flush=True); time.sleep(10_000)\n"
        "    finally: print('clean', flush=True)\n"
        "split.run = run\napp(['split'])"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    output, problems = run.communicate()
    assert (run.returncode, output, problems) == (143, "clean\n", "")


def test_running_outside_a_project_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("split")
    assert result.exit_code == 2
    assert "params.yaml: not found" in result.stderr
