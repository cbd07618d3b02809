"""Runs of `program.py`: on this machine as it is, and otherwise."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from repflow.hardware.cpu import PASSIVE, other_digits, pinned

PROGRAM = Path(__file__).with_name("program.py")
ROOT = Path(__file__).parents[2]
MOST = 900
"""Seconds that a run may take on a busy machine."""

Digests = dict[str, str]
Run = Callable[..., Digests]


def run_program(mode: str, data: Path, *before: str, **environment: str) -> Digests:
    """The digests that the program prints, in an environment where nothing is settled yet.

    Args:
        mode: "record" or "replay".
        data: file with the views.
        before: words of the command before the interpreter.
        environment: variables to set.
    """
    free = {name: value for name, value in os.environ.items() if name not in {*pinned(), *PASSIVE}}
    paths = [sysconfig.get_path("purelib"), str(ROOT / "src"), str(ROOT / "benchmarks")]
    command = [*before, os.path.realpath(sys.executable), str(PROGRAM), mode, str(data)]
    settled = free | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    for _ in range(2):
        done = subprocess.run(command, env=settled, capture_output=True, text=True, timeout=MOST)
        if not before or done.returncode != -signal.SIGSEGV:  # QEMU itself; see numerics.emulation
            break
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(mode, data, *before, **environment)`."""
    if other_digits():
        pytest.skip(f"{other_digits()}, so that its digits are its own")
    return run_program


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this machine leaves its views for the others."""
    return tmp_path_factory.mktemp("portability") / "views.npz"


@pytest.fixture(scope="session")
def here(run: Run, data: Path) -> Digests:
    """The digests of this machine."""
    return run("record", data)


@pytest.fixture(scope="session")
def qemu() -> str:
    """QEMU's user mode; without it the test is skipped or, where REPFLOW_EMULATION is "required", fails."""
    found = shutil.which("qemu-x86_64")
    if found is None:
        message = "qemu-x86_64 is not on the PATH (apt-get install qemu-user)"
        if os.environ.get("REPFLOW_EMULATION") == "required":
            pytest.fail(message)
        pytest.skip(message)
    return found
