"""The script for a GPU, run small on the CPU: all its parts, what it writes, and what a stop or a failure leaves."""

import dataclasses
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import gpu
from speed import knn_curve, on_gpu
from speed.gpu_clocks import covered
from speed.gpu_setup import Setup
from speed.images import Images, load

SETUP = Setup.of("cpu", seconds=1.0, state=None)


@pytest.fixture(scope="module")
def images() -> Images:
    """A few pieces of photographs."""
    return load(None, SETUP.images, 32)


@pytest.fixture(autouse=True)
def as_before() -> Any:
    """Leave PyTorch as it was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def test_every_part_runs_and_is_in_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gpu.json"
    gpu.main(["--device", "cpu", "--minutes", "0.02", "--json", str(file), "--state", str(tmp_path / "state")])

    record = json.loads(file.read_text())
    names = [part.__name__ for part in gpu.SHARES]
    assert list(record["parts"]) == names
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == names
    assert not [name for name, found in record["parts"].items() if "failed" in found]
    assert record["parts"]["determinism"]["deterministic"]["same_bytes"]
    assert {"bare loop", "repflow"} <= record["parts"]["simclr"]["views/s"].keys()
    assert record["targets"]["views_per_second"] == 30_000
    assert str(tmp_path) not in file.read_text()


def test_a_second_call_continues_the_training(tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup.of("cpu", seconds=1.0, state=tmp_path)

    def accuracy_as_the_time_ends(*_: Any) -> float:
        os.kill(os.getpid(), signal.SIGINT)  # as the timer does
        return 0.5

    with monkeypatch.context() as patch:
        patch.setattr(knn_curve, "knn_accuracy", accuracy_as_the_time_ends)
        first = knn_curve.training(setup, images, seconds=600.0)
    assert "continues" in first["ended"]
    assert [point["step"] for point in first["curve"]] == [5]
    again = knn_curve.training(setup, images, seconds=600.0)
    assert again["ended"] == "all steps done"
    assert [point["step"] for point in again["curve"]] == [5, 10, 15, 20]
    seconds = [point["seconds"] for point in again["curve"]]
    assert seconds == sorted(seconds)


def test_the_time_ends_a_training(images: Images) -> None:
    long = dataclasses.replace(SETUP, steps=10**6)
    assert knn_curve.training(long, images, seconds=0.0)["ended"] == "time over"


def test_a_part_that_fails_or_takes_too_long_says_so(images: Images) -> None:
    def fails(*_: Any) -> dict[str, Any]:
        raise ValueError("no kernel")

    def sleeps(*_: Any) -> dict[str, Any]:
        time.sleep(10_000)
        return {}

    hasty = Setup("cpu", "small", 8, 64, 20, 4, 1, ("off",), 0, 0.0, 0.2)
    assert gpu.run_part(fails, hasty, images, 0.0)["failed"] == "ValueError: no kernel"
    found = gpu.run_part(sleeps, hasty, images, 0.0)
    assert found["failed"].startswith("given up after")
    assert found["seconds"] < 10_000


def test_the_script_takes_no_more_than_eight_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(gpu, "run_part", lambda part, setup, images, seconds: given.append(seconds) or {})
    gpu.main(["--device", "cpu", "--minutes", "60"])
    assert given[-1] <= 480
    assert sum(given[:-1]) <= 480 * 0.7


def test_kernels_that_overlap_are_counted_once() -> None:
    assert covered([(0, 2), (1, 3), (5, 6)]) == 4
    assert covered([]) == 0


def test_steps_are_timed_without_points_of_a_curve(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point of the curve waits for the GPU, which `synchronisation` would take for a fault of the step."""
    logged: list[int] = []
    monkeypatch.setattr("repflow.training.loop._Run._log", lambda run, progress: logged.append(run.trained.steps))
    on_gpu.synchronisation(SETUP, images, 0.0)
    assert logged == [13, 13]  # the last step of each method
