"""Stages as processes: how many at once, and none left behind."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import Processes, Stopped

RENDEZVOUS = "touch {me}; for i in $(seq {tries}); do test -e {other} && exit 0; sleep 0.05; done; exit 1"


def run_pair(folder: Path, slots: int, tries: int) -> list[int]:
    """The exit codes of two commands that each wait for the other."""
    processes, codes = Processes(folder, slots), {}

    def run(me: str, other: str) -> None:
        script = RENDEZVOUS.format(me=me, other=other, tries=tries)
        codes[me] = processes.run(["sh", "-c", script], lambda line: None)

    threads = [threading.Thread(target=run, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(codes.values())


def test_two_slots_run_side_by_side(tmp_path: Path) -> None:
    assert run_pair(tmp_path, slots=2, tries=600) == [0, 0]


def test_one_slot_runs_one_after_another(tmp_path: Path) -> None:
    assert run_pair(tmp_path, slots=1, tries=10) == [0, 1]  # the first waits in vain


def test_lines_come_from_both_outputs_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    code = Processes(tmp_path, 1).run(["sh", "-c", "echo one; echo; echo two >&2; exit 7"], lines.append)
    assert (code, lines) == (7, ["one", "two"])


def test_stop_ends_grandchildren_and_lets_nothing_begin(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes, started, caught = Processes(tmp_path, 1), threading.Event(), []
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
