"""Commands as processes: none left behind, whatever ends the one that started them; each as if it were the first."""

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
import leash
from processes import Processes, Stopped

FLOWS = Path(__file__).parents[2] / "flows"
GRAPH = """
stages:
  show:
    cmd: echo "$COLOUR $DVC_STAGE"; pwd; grep ^Sig /proc/self/status; cat; echo to err >&2
    always_changed: true
  wait:
    cmd: >-
      python -c 'import os, time; print("begun");
      [time.sleep(0.1) for _ in range(600) if not os.path.exists("go.on")]; exit(not os.path.exists("go.on"))'
    always_changed: true
  fail:
    cmd: exit 3
  copy:
    cmd: echo ${number} > copy.txt; cat given.txt >> copy.txt
    deps: [given.txt]
    outs: [copy.txt]
"""
ENDLESS_CHILD = "trap 'touch asked; exit' TERM; echo $$; while true; do sleep 0.1; done"
ENDLESS = ["sh", "-c", 'sh -c "$0" & wait', ENDLESS_CHILD]  # the child speaks when it hears
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
    """Commands there, DVC's from one process for several tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        with Processes(made, {"COLOUR": "blue"}) as processes:
            yield processes


class Running:
    """A command at work in a thread of its own, as soon as it has said its first line."""

    def __init__(self, run: Callable[[Callable[[str], None]], int]):
        self.lines: list[str] = []
        self.code: int | None = None
        self.stopped = False
        said = threading.Event()

        def show(line: str) -> None:
            self.lines.append(line)
            said.set()

        def work() -> None:
            try:
                self.code = run(show)
            except Stopped:
                self.stopped = True
            said.set()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        assert said.wait(60)

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def of_launcher(processes: Processes) -> psutil.Process:
    assert processes._launcher is not None
    return psutil.Process(processes._launcher._process.pid)


def leader(child: int) -> psutil.Process:
    """The first process of a child's group."""
    return psutil.Process(os.getpgid(child))


def test_lines_come_from_both_outputs_and_the_exit_code_is_kept(tmp_path: Path) -> None:
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
def test_how_a_command_ended_is_its_exit_code(tmp_path: Path, command: list[str], code: int) -> None:
    lines: list[str] = []
    with Processes(tmp_path) as processes:
        assert processes.run(command, lines.append) == code
    assert lines == (["error: no-such-command: No such file or directory"] if code == 127 else [])


def test_stop_ends_grandchildren_and_lets_nothing_begin(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run(ENDLESS, show))
    first = of_launcher(processes)
    processes.stop()
    running.join()
    assert running.stopped
    assert (tmp_path / "asked").exists()
    assert is_gone(int(running.lines[0]))
    assert is_gone(first.pid)
    with pytest.raises(Stopped):
        processes.run(["true"], print)


def test_stop_ends_what_does_not_want_to_end(
    tmp_path: Path, is_gone: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_GRACE", 0.5)
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run([sys.executable, "-c", STUBBORN], show))
    processes.stop()
    running.join()
    assert running.stopped
    assert (tmp_path / "asked").exists()
    assert is_gone(int(running.lines[0]))


def test_a_training_that_saves_is_asked_to_end_once(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run([sys.executable, "-c", SAVING], show))
    processes.stop()
    running.join()
    assert (tmp_path / "asked").read_text() == "once "  # the second time it ends at once


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    lines: list[str] = []
    with Processes(tmp_path) as processes:
        assert processes.run(["sh", "-c", "sleep 1000 & echo $!; exit 4"], lines.append) == 4
        assert is_gone(int(lines[0]))


def test_nothing_outlives_a_killed_run(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    script = """
import sys
from pathlib import Path
import launcher
from processes import Processes
launcher._GRACE = 1.0
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


def test_a_command_whose_leash_was_cut_ends_with_the_run(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(tmp_path)
    running = Running(lambda show: processes.run(ENDLESS, show))
    child = int(running.lines[0])
    leader(child).parent().kill()
    processes.stop()
    running.join()
    assert running.stopped
    assert is_gone(child)


def test_who_starts_commands_may_be_killed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        lines: list[str] = []
        script = "echo begun; until test -e go.on; do sleep 0.1; done; exit 5"
        running = Running(lambda show: processes.run(["sh", "-c", script], show))
        first = of_launcher(processes)
        first.kill()
        assert processes.run(["echo", "again"], lines.append) == 0
        assert of_launcher(processes) != first
        (tmp_path / "go.on").touch()
        running.join()
    assert (running.code, lines) == (5, ["again"])


def test_where_no_command_can_be_started_that_is_said(tmp_path: Path) -> None:
    with (
        Processes(tmp_path, {"PYTHONHOME": str(tmp_path)}) as processes,
        pytest.raises(RuntimeError, match=r"no command can be started: (.|\n)*encodings"),
    ):
        processes.run(["true"], print)


def test_a_command_sees_its_own_variables_and_none_of_the_input(tmp_path: Path) -> None:
    lines: list[str] = []
    with Processes(tmp_path, {"COLOUR": "blue"}) as processes:
        code = processes.run(["sh", "-c", "cat; echo $COLOUR"], lines.append)
    assert (code, lines) == (0, ["blue"])


def test_two_at_once_have_their_own_folders_and_variables(tmp_path: Path) -> None:
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


def test_dvc_and_its_stages_find_all_as_in_a_process_of_their_own(made: Path, at_work: Processes) -> None:
    arguments = ["repro", "--single-item", "show"]
    lines: list[str] = []
    plain: list[str] = []
    for _ in range(2):  # the first one makes a lock file, and says so
        lines.clear()
        assert at_work.dvc(arguments, lines.append) == 0
    at_work.run(["grep", "^Sig", "/proc/self/status"], plain.append)
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


def test_dvc_sees_what_changed_since_the_last_time(made: Path, at_work: Processes) -> None:
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


def test_what_dvc_and_a_stage_say_comes_while_they_run(made: Path, at_work: Processes) -> None:
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        if line == "begun":
            (made / "go.on").touch()

    assert at_work.dvc(["repro", "--single-item", "wait"], show) == 0
    assert lines.index("Running stage 'wait':") < lines.index("begun")
    (made / "go.on").unlink()


def test_how_dvc_ended_is_its_exit_code(at_work: Processes) -> None:
    lines: list[str] = []
    assert at_work.dvc(["repro", "--single-item", "fail"], lines.append) == 255
    assert at_work.dvc(["no-such-thing"], lines.append) == 254
    assert any("failed to run: exit 3, exited with 3" in line for line in lines)


def test_who_forks_has_one_thread_all_of_dvc_and_no_dead_children(at_work: Processes) -> None:
    at_work.prepare_dvc()
    assert at_work.dvc(["root"], print) == 0
    forks = of_launcher(at_work)
    assert forks.num_threads() == 1
    for child in forks.children():
        child.wait(60)
    assert all(importlib.util.find_spec(name) for name in leash._LATE)


def test_a_stopped_dvc_takes_its_stage_along(made: Path, is_gone: Callable[[int], bool]) -> None:
    processes = Processes(made)
    running = Running(lambda show: processes.dvc(["repro", "--single-item", "wait"], show))
    while "begun" not in running.lines and running.code is None:
        time.sleep(0.05)
    children = of_launcher(processes).children(recursive=True)
    stage = next(child for child in children if "go.on" in " ".join(child.cmdline()))
    hidden = 1 << signal.SIGCHLD - 1
    for line in Path(f"/proc/{leader(stage.pid).pid}/status").read_text().splitlines():
        assert not line.startswith(("SigBlk", "SigIgn", "SigCgt")) or not int(line.split()[1], 16) & hidden
    processes.stop()
    running.join()
    assert running.stopped
    assert all(is_gone(child.pid) for child in children)
