"""Every pretext method learns the same whether one process or two share a batch: tested by having a YAML file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("pretraining on ranks")  # one worker trains for all tests here

PROGRAM = Path(__file__).with_name("shared_pretraining.py")
METHODS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "pretrain").glob("*.yaml"))


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """The curves of one process, and of two."""
    folder = tmp_path_factory.mktemp("curves")
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    found = {}
    for devices in (1, 2):
        file = folder / f"{devices}.json"
        command = [sys.executable, str(PROGRAM), str(devices), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, env=quiet)
        assert done.returncode == 0, done.stderr
        found[devices] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_have_the_losses_of_one(curves: dict[int, Any], method: str) -> None:
    assert curves[2]["ranks"] == 2
    one, two = (curves[devices][method] for devices in (1, 2))
    for each in (one, two):
        assert isinstance(each, list), each
    assert len(one) == len(two) == 5
    assert one[-1]["loss"] != one[0]["loss"]
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, abs=5e-7, rel=1e-6)
