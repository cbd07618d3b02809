"""The same digits on CPUs of two makers and three generations: real training steps, probes and maps under QEMU."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from repflow.hardware.cpu import PASSIVE, other_digits, pinned

PROGRAM = Path(__file__).with_name("program.py")
ROOT = Path(__file__).parents[2]
CPUS = ("EPYC-Rome", "Haswell-v4", "Skylake-Client-v4")
MOST = 900
"""Seconds that a run may take on a busy machine."""

Digests = dict[str, str]


def run(mode: str, data: Path, *before: str) -> Digests:
    """The digests that the program prints, in an environment where nothing is settled yet."""
    free = {name: value for name, value in os.environ.items() if name not in {*pinned(), *PASSIVE}}
    paths = [sysconfig.get_path("purelib"), str(ROOT / "src"), str(ROOT / "benchmarks")]
    command = [*before, os.path.realpath(sys.executable), str(PROGRAM), mode, str(data)]
    environment = free | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MOST)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Digests = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this machine leaves its views for the others."""
    return tmp_path_factory.mktemp("portability") / "views.npz"


@pytest.fixture(scope="module")
def here(data: Path) -> Digests:
    """The digests of this machine."""
    if other_digits():
        pytest.skip(f"{other_digits()}, so that its digits are its own")
    return run("record", data)


@pytest.mark.parametrize("cpu", CPUS)
def test_another_cpu_has_the_same_digits(cpu: str, qemu: str, here: Digests, data: Path) -> None:
    there = run("replay", data, qemu, "-cpu", cpu)
    assert there.keys() == here.keys()
    assert [name for name in here if here[name] != there[name]] == []  # in order: the first is where it began


def test_every_part_is_there(here: Digests) -> None:
    parts = {name.partition(".")[0] for name in here}
    assert parts == {"simclr", "fixmatch", "dann", "masked_autoencoder", "gan", "probe", "evaluate", "report"}
    assert {name.split(".")[1] for name in here if name.startswith("dann")} == {"1-threads", "2-threads"}


def test_replayed_views_are_those_of_the_record(here: Digests, data: Path) -> None:
    assert run("replay", data) == here
