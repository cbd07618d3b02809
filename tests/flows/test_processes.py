"""Supervised commands: none outlives the flow run, however that ends, and each runs as in a process of its own."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import launcher
import supervisor
from processes import Processes, Stopped

FLOWS = Path(__file__).parents[2] / "flows"
GRAPH = """
stages:
  show:
    cmd: echo "$COLOUR $DVC_STAGE"; pwd; grep ^Sig[BIC] /proc/self/status; cat; echo to err >&2
    always_changed: true
  wait:
    cmd: >-
      python -c 'import os, time; print("begun");
      [time.sleep(0.1) for _ in range(10_000) if not os.path.exists("go.on")]; exit(not os.path.exists("go.on"))'
    always_changed: true
  fail:
    cmd: exit 3
  copy:
    cmd: echo ${number} > copy.txt; cat given.txt >> copy.txt
    deps: [given.txt]
    outs: [copy.txt]
"""
ENDLESS_CHILD = "trap 'touch asked; exit' TERM; echo $$; while true; do sleep 0.1; done"
ENDLESS = ["sh", "-c", 'sh -c "$0" & wait', ENDLESS_CHILD]  # the child prints once its trap is set
STUBBORN = """
import signal, subprocess, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
signal.signal(signal.SIGTERM, lambda number, frame: Path("asked").touch())
print(child.pid, flush=True)
while True:
    time.sleep(0.1)
"""

SAVING = """
import signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda number, frame: open("asked", "a").write("once "))
print("begun", flush=True)
while not Path("asked").exists():
    time.sleep(0.05)
time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path, str], Path]) -> Path:
    """A DVC project."""
    project = make_project(tmp_path_factory.mktemp("made"), GRAPH)
    (project / "params.yaml").write_text("number: 1\n")
    (project / "given.txt").write_text("a\n")
    return project


@pytest.fixture(scope="module")
def at_work(made: Path) -> Iterator[Processes]:
    """Commands in that project, with one supervisor for several tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        with Processes(made, {"COLOUR": "blue"}) as processes:
            yield processes


class Running:
    """A command that runs in a thread of its own; created once it has printed its first line."""

    def __init__(self, run: Callable[[Callable[[str], None]], int]):
        self.lines: list[str] = []
        self.code: int | None = None
        self.stopped = False
        printed = threading.Event()

        def show(line: str) -> None:
            self.lines.append(line)
            printed.set()

        def work() -> None:
            try:
                self.code = run(show)
            except Stopped:
                self.stopped = True
            finally:
                printed.set()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        printed.wait()

    def join(self) -> None:
        self._thread.join()


def supervisor_of(processes: Processes) -> psutil.Process:
    assert processes._launcher is not None
    return psutil.Process(processes._launcher._process.pid)


def leader(child: int) -> psutil.Process:
    """The first process of a child's group."""
    return psutil.Process(os.getpgid(child))


def test_both_outputs_and_the_exit_code_are_returned(tmp_path: Path) -> None:
    lines: list[str] = []
    with Processes(tmp_path) as processes:
        code = processes.run(["sh", "-c", "echo one; echo; echo two >&2; exit 7"], lines.append)
    assert (code, lines) == (7, ["one", "two"])


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "kill $$"], 128 + signal.SIGTERM),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL),
        (["no-such-command"], 127),
    ],
)
def test_the_exit_code_tells_a_signal_or_a_missing_command(tmp_path: Path, command: list[str], code: int) -> None:
    lines: list[str] = []
    with Processes(tmp_path) as processes:
        assert processes.run(command, lines.append) == code
    assert lines == (["error: no-such-command: No such file or directory"] if code == 127 else [])


def test_stop_terminates_grandchildren_and_starts_nothing_else(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run(ENDLESS, show))
    first = supervisor_of(processes)
    processes.stop()
    running.join()
    assert running.stopped
    assert (tmp_path / "asked").exists()
    assert is_gone(int(running.lines[0]))
    assert is_gone(first.pid)
    with pytest.raises(Stopped):
        processes.run(["true"], print)


def test_stop_kills_what_ignores_sigterm(
    tmp_path: Path, is_gone: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_GRACE_SECONDS", 0.5)
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run([sys.executable, "-c", STUBBORN], show))
    processes.stop()
    running.join()
    assert running.stopped
    assert (tmp_path / "asked").exists()
    assert is_gone(int(running.lines[0]))


def test_a_training_that_saves_a_checkpoint_gets_sigterm_once(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run([sys.executable, "-c", SAVING], show))
    processes.stop()
    running.join()
    assert (tmp_path / "asked").read_text() == "once "  # a second one would end it at once


def test_background_processes_of_a_command_end_with_it(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    lines: list[str] = []
    with Processes(tmp_path) as processes:
        assert processes.run(["sh", "-c", "sleep 1000 & echo $!; exit 4"], lines.append) == 4
        assert is_gone(int(lines[0]))


def test_nothing_outlives_a_killed_flow_run(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    script = """
import sys
from pathlib import Path
import launcher
from processes import Processes
launcher._GRACE_SECONDS = 1.0
processes = Processes(Path.cwd())
processes.run(["true"], print)
print(processes._launcher._process.pid, flush=True)
processes.run([sys.executable, "-c", sys.argv[1]], lambda line: print(line, flush=True))
"""
    environment = {**os.environ, "PYTHONPATH": str(FLOWS)}
    command = [sys.executable, "-c", script, STUBBORN]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pids = [int(run.stdout.readline()) for _ in range(2)]
        pids.append(leader(pids[1]).ppid())
        run.kill()
    assert all(is_gone(pid) for pid in pids)
    assert (tmp_path / "asked").exists()


def test_a_command_whose_monitor_was_killed_ends_with_the_run(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run(ENDLESS, show))
    child = int(running.lines[0])
    leader(child).parent().kill()
    processes.stop()
    running.join()
    assert running.stopped
    assert is_gone(child)


def test_a_killed_supervisor_is_replaced(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        lines: list[str] = []
        script = "echo begun; until test -e go.on; do sleep 0.1; done; exit 5"
        running = Running(lambda show: processes.run(["sh", "-c", script], show))
        first = supervisor_of(processes)
        first.kill()
        assert processes.run(["echo", "again"], lines.append) == 0
        assert supervisor_of(processes) != first
        (tmp_path / "go.on").touch()
        running.join()
    assert (running.code, lines) == (5, ["again"])


def test_a_supervisor_that_cannot_start_is_an_error_with_its_output(tmp_path: Path) -> None:
    with (
        Processes(tmp_path, {"PYTHONHOME": str(tmp_path)}) as processes,
        pytest.raises(RuntimeError, match=r"no command can be started: (.|\n)*encodings"),
    ):
        processes.run(["true"], print)


def test_a_command_has_its_own_variables_and_an_empty_input(tmp_path: Path) -> None:
    lines: list[str] = []
    with Processes(tmp_path, {"COLOUR": "blue"}) as processes:
        code = processes.run(["sh", "-c", "cat; echo $COLOUR"], lines.append)
    assert (code, lines) == (0, ["blue"])


def test_two_supervisors_have_their_own_folders_and_variables(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("left", "right")}
    for folder in folders.values():
        folder.mkdir()
    met = "touch here; echo begun; until test -e ../left/here -a -e ../right/here; do sleep 0.1; done; echo $SIDE; pwd"
    runs = {name: Processes(folder, {"SIDE": name}) for name, folder in folders.items()}
    both = {name: Running(lambda show, run=run: run.run(["sh", "-c", met], show)) for name, run in runs.items()}
    for name, running in both.items():
        running.join()
        runs[name].stop()
        assert running.lines == ["begun", name, str(folders[name])]


def test_a_forked_dvc_and_its_stages_run_as_in_a_new_process(made: Path, at_work: Processes) -> None:
    arguments = ["repro", "--single-item", "show"]
    lines: list[str] = []
    plain: list[str] = []
    for _ in range(2):  # the first one writes dvc.lock, and reports that
        lines.clear()
        assert at_work.dvc(arguments, lines.append) == 0
    at_work.run(["grep", "^Sig[BIC]", "/proc/self/status"], plain.append)
    assert {"blue show", str(made), "to err"} < {*lines}
    fresh = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=made,
        env={**os.environ, "COLOUR": "blue"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    assert sorted(lines) == sorted(line for line in fresh.stdout.splitlines() if line)
    assert {line for line in plain if not line.startswith("SigQ")} < {*lines}


def test_a_forked_dvc_sees_changes_since_the_last_command(made: Path, at_work: Processes) -> None:
    def copy() -> str:
        lines: list[str] = []
        assert at_work.dvc(["repro", "--single-item", "copy"], lines.append) == 0, lines
        return (
            "skipped" if any("didn't change, skipping" in line for line in lines) else (made / "copy.txt").read_text()
        )

    assert copy() == "1\na\n"
    assert copy() == "skipped"
    (made / "given.txt").write_text("b\n")
    assert copy() == "1\nb\n"
    (made / "params.yaml").write_text("number: 2\n")
    assert copy() == "2\nb\n"
    (made / "dvc.yaml").write_text(GRAPH.replace("cat given.txt", "echo c"))
    assert copy() == "2\nc\n"
    (made / "dvc.yaml").write_text(GRAPH)


def test_output_is_passed_on_while_dvc_and_the_stage_run(made: Path, at_work: Processes) -> None:
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        if line == "begun":
            (made / "go.on").touch()

    assert at_work.dvc(["repro", "--single-item", "wait"], show) == 0
    assert lines.index("Running stage 'wait':") < lines.index("begun")
    (made / "go.on").unlink()


def test_dvcs_exit_code_is_returned(at_work: Processes) -> None:
    lines: list[str] = []
    assert at_work.dvc(["repro", "--single-item", "fail"], lines.append) == 255
    assert at_work.dvc(["no-such-thing"], lines.append) == 254
    assert any("failed to run: exit 3, exited with 3" in line for line in lines)


def test_the_supervisor_has_one_thread_the_modules_of_dvc_and_no_zombies(at_work: Processes) -> None:
    at_work.prepare_dvc()
    assert at_work.dvc(["root"], print) == 0
    process = supervisor_of(at_work)
    assert process.num_threads() == 1
    for child in process.children():
        child.wait()
    assert all(importlib.util.find_spec(name) for name in supervisor._PRELOADED)


def test_stopping_dvc_terminates_its_stage(made: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(made)
    running = Running(lambda show: processes.dvc(["repro", "--single-item", "wait"], show))
    while "begun" not in running.lines and running.code is None:
        time.sleep(0.05)
    children = supervisor_of(processes).children(recursive=True)
    stage = next(child for child in children if "go.on" in " ".join(child.cmdline()))
    sigchld = 1 << signal.SIGCHLD - 1
    for line in Path(f"/proc/{leader(stage.pid).pid}/status").read_text().splitlines():
        assert not line.startswith(("SigBlk", "SigIgn", "SigCgt")) or not int(line.split()[1], 16) & sigchld
    processes.stop()
    running.join()
    assert running.stopped
    assert all(is_gone(child.pid) for child in children)
