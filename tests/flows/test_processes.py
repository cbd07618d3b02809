"""Stages as processes: none left behind, whatever ends the one that started them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import Processes, Stopped

FLOWS = Path(__file__).parents[2] / "flows"


def test_lines_come_from_both_outputs_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    code = Processes(tmp_path).run(["sh", "-c", "echo one; echo; echo two >&2; exit 7"], lines.append)
    assert (code, lines) == (7, ["one", "two"])


def test_stop_ends_grandchildren_and_lets_nothing_begin(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes, started, caught = Processes(tmp_path), threading.Event(), []
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        started.set()

    def run() -> None:
        try:
            processes.run(["sh", "-c", "sleep 1000 & echo $!; wait"], show)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    processes.stop()
    thread.join(60)
    assert caught
    assert is_gone(int(lines[0]))
    with pytest.raises(Stopped):
        processes.run(["true"], show)


def test_nothing_outlives_a_killed_run(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    script = """
import sys
from pathlib import Path
from processes import Processes
Processes(Path.cwd()).run([sys.executable, "-c", sys.argv[1]], lambda line: print(line, flush=True))
"""
    stubborn = """
import signal, subprocess, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
signal.signal(signal.SIGTERM, lambda number, frame: Path("asked").touch())
print(child.pid, flush=True)
while True:
    time.sleep(0.1)
"""
    environment = {**os.environ, "PYTHONPATH": str(FLOWS)}
    command = [sys.executable, "-c", script, stubborn]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
    assert is_gone(pid)
    assert (tmp_path / "asked").exists()


def test_a_command_sees_its_own_variables_and_none_of_the_input(tmp_path: Path) -> None:
    lines: list[str] = []
    code = Processes(tmp_path, {"COLOUR": "blue"}).run(["sh", "-c", "cat; echo $COLOUR"], lines.append)
    assert (code, lines) == (0, ["blue"])
