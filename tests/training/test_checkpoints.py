"""A resumed training ends with the same bytes as an uninterrupted one."""

import copy
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from repflow.errors import Interrupted, StorageError
from repflow.methods.semisup.supervised import Supervised
from repflow.randomness.draws import Draw
from repflow.training.best_weights import Score, TrainingResult
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints, fingerprint
from repflow.training.contract import Losses
from repflow.training.interruption import Interruption

EVERY_STEP = CheckpointConfig(every_steps=1, every_seconds=None)
# All state that a step can change: weight average, momentum, early stopping, metrics averaged over several steps.
FULL = {
    "steps": 14,
    "ema": 0.9,
    "log_every": 4,
    "clip": 1.0,
    "optimizer": {"name": "adamw", "learning_rate": 0.01},
    "early_stopping": {"every": 3, "patience": 9},
}


class Stop(Exception):
    """Raised to stop a training without saving a checkpoint, as SIGKILL does."""


class Stopping(Supervised):
    """Stops the training, or calls a function, before a given step."""

    at: int | None = None
    call: Any = None

    def losses(self, batch: Any, draw: Draw) -> Losses:
        if draw.step == self.at:
            if self.call is None:
                raise Stop
            self.call()
        return super().losses(batch, draw)


@pytest.fixture
def location(tmp_path: Path) -> CheckpointLocation:
    return CheckpointLocation(tmp_path / "checkpoints" / "train", "key")


def validation(model: torch.nn.Module) -> Score:
    return Score(float(sum(weight.abs().sum().item() for weight in model.parameters())) % 1, rows=50)


def stopped_at(method: Supervised, step: int, call: Any = None) -> Stopping:
    method = copy.deepcopy(method)
    method.__class__ = Stopping
    assert isinstance(method, Stopping)
    method.at, method.call = step, call
    return method


def outcome(method: Supervised, trained: TrainingResult) -> tuple[dict[str, Tensor], Any]:
    return {name: value.clone() for name, value in method.state_dict().items()}, trained


def same(one: tuple[dict[str, Tensor], Any], other: tuple[dict[str, Tensor], Any]) -> bool:
    return one[1] == other[1] and all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def test_a_resumed_training_equals_an_uninterrupted_one(
    method: Supervised, run: Any, location: CheckpointLocation
) -> None:
    whole = copy.deepcopy(method)
    expected = outcome(whole, run(whole, validate=validation, **FULL))
    for step in (2, 7, 8, 13):
        with pytest.raises(Stop):
            run(stopped_at(method, step), validate=validation, checkpoints=Checkpoints(location, EVERY_STEP), **FULL)
    resumed = stopped_at(method, 12, pytest.fail)  # fails if steps before the checkpoint are repeated
    trained = run(resumed, validate=validation, checkpoints=Checkpoints(location, EVERY_STEP), **FULL)
    assert same(outcome(resumed, trained), expected)
    assert not location.folder.exists(), "nothing is left where all went well"


def test_a_checkpoint_between_two_logged_points_keeps_the_losses(
    method: Supervised, run: Any, location: CheckpointLocation
) -> None:
    whole = copy.deepcopy(method)
    expected = outcome(whole, run(whole, steps=9, log_every=4))
    sometimes = CheckpointConfig(every_steps=3, every_seconds=None)
    with pytest.raises(Stop):
        run(stopped_at(method, 7), steps=9, log_every=4, checkpoints=Checkpoints(location, sometimes))
    again = copy.deepcopy(method)
    assert same(
        outcome(again, run(again, steps=9, log_every=4, checkpoints=Checkpoints(location, sometimes))), expected
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves_a_checkpoint(
    method: Supervised, run: Any, location: CheckpointLocation, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    rarely = CheckpointConfig(every_steps=1000, every_seconds=None)
    interrupted = stopped_at(method, 4, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="stopped after step 5 of 8 and saved") as caught:
        run(interrupted, steps=8, checkpoints=Checkpoints(location, rarely))
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) is before
    again, whole = stopped_at(method, 4, pytest.fail), copy.deepcopy(method)
    expected = outcome(whole, run(whole, steps=8))
    assert same(outcome(again, run(again, steps=8, checkpoints=Checkpoints(location, rarely))), expected)


def test_a_training_in_pieces_of_limited_time_equals_a_whole_one(
    method: Supervised, run: Any, location: CheckpointLocation
) -> None:
    config = CheckpointConfig(every_steps=1000, every_seconds=None, stop_after_seconds=1e-9)
    whole = copy.deepcopy(method)
    expected = outcome(whole, run(whole, **FULL))
    for step in range(1, 14):  # each piece is a step, as its time is over at once
        with pytest.raises(Interrupted, match=f"stopped after step {step} of 14 and saved"):
            run(copy.deepcopy(method), **FULL, checkpoints=Checkpoints(location, config))
    assert same(outcome(method, run(method, **FULL, checkpoints=Checkpoints(location, config))), expected)


def test_without_a_place_for_checkpoints_there_is_no_limit(method: Supervised, run: Any) -> None:
    config = CheckpointConfig(stop_after_seconds=1e-9)
    assert run(method, steps=3, checkpoints=Checkpoints(None, config)).steps == 3


def test_the_second_signal_interrupts_at_once() -> None:
    with Interruption(active=True) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_signal_handlers_are_kept_in_other_threads_and_without_checkpoints() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption(active=False):
        assert signal.getsignal(signal.SIGTERM) is before
    seen = []

    def listen() -> None:
        with Interruption(active=True):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def state(step: int) -> dict[str, Any]:
    return {"weights": torch.full((3,), float(step)), "group": [{0: torch.tensor(step), "rate": 0.1}], "none": None}


def test_states_are_restored_exactly(location: CheckpointLocation) -> None:
    checkpoints = Checkpoints(location, CheckpointConfig())
    assert checkpoints.load() is None
    checkpoints.save(3, state(3))
    loaded = checkpoints.load()
    assert torch.equal(loaded["weights"], torch.full((3,), 3.0))
    assert loaded["group"][0][0].dtype == torch.int64
    assert loaded["group"][0]["rate"] == 0.1
    assert loaded["none"] is None
    with pytest.raises(TypeError, match="not set"):
        checkpoints.save(4, {"a": {1}})


def test_the_number_of_files_is_bounded(location: CheckpointLocation) -> None:
    checkpoints = Checkpoints(location, CheckpointConfig(keep=2))
    for step in range(1, 6):
        checkpoints.save(step, state(step))
    files = sorted(file.name for file in (location.folder / location.key).iterdir())
    assert files == ["000000004.json", "000000004.safetensors", "000000005.json", "000000005.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "no checksum"])
def test_a_damaged_checkpoint_is_skipped(
    location: CheckpointLocation, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(location, CheckpointConfig())
    for step in (1, 2):
        checkpoints.save(step, state(step))
    last = location.folder / location.key / "000000002.safetensors"
    content = bytearray(last.read_bytes())
    if damage == "cut":
        last.write_bytes(content[:-4])
    elif damage == "flipped":
        content[-1] ^= 1
        last.write_bytes(content)
    else:
        last.with_suffix(".json").unlink()
    assert checkpoints.load()["weights"][0] == 1
    assert "000000002.safetensors: checkpoint skipped" in caplog.text


def test_another_key_starts_from_scratch_and_outdated_checkpoints_are_removed(location: CheckpointLocation) -> None:
    Checkpoints(location, CheckpointConfig()).save(5, state(5))
    other = Checkpoints(CheckpointLocation(location.folder, "another"), CheckpointConfig())
    assert other.load() is None
    other.remove()
    assert not location.folder.exists()


def test_checkpoints_are_due_by_steps_and_by_seconds(
    location: CheckpointLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_steps = Checkpoints(location, CheckpointConfig(every_steps=4, every_seconds=None))
    assert [step for step in range(1, 13) if by_steps.due(step)] == [4, 8, 12]
    now = [100.0]
    monkeypatch.setattr("repflow.training.checkpoints.time.monotonic", lambda: now[0])
    by_time = Checkpoints(location, CheckpointConfig(every_seconds=20))
    assert not by_time.due(1)
    now[0] += 21
    assert by_time.due(2)
    by_time.save(2, state(2))
    assert not by_time.due(3)


def test_a_full_disk_keeps_the_previous_checkpoint(
    location: CheckpointLocation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(location, CheckpointConfig())
    checkpoints.save(1, state(1))

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("repflow.training.checkpoints.save_file", full)
    with pytest.raises(StorageError):
        checkpoints.save(2, state(2))
    assert checkpoints.load()["weights"][0] == 1
    assert len(list((location.folder / location.key).iterdir())) == 2
    shutil.rmtree(location.folder)


def test_fingerprints_differ_with_their_input() -> None:
    weights = torch.arange(6.0).view(2, 3)
    one = fingerprint({"rate": 0.1}, weights, weights.numpy().astype("uint8"), "x")
    assert one == fingerprint({"rate": 0.1}, weights.clone(), weights.numpy().astype("uint8"), "x")
    others = {
        fingerprint({"rate": 0.2}, weights, weights.numpy().astype("uint8"), "x"),
        fingerprint({"rate": 0.1}, weights + 1, weights.numpy().astype("uint8"), "x"),
        fingerprint({"rate": 0.1}, weights.view(3, 2), weights.numpy().astype("uint8"), "x"),
        fingerprint({"rate": 0.1}, weights, weights.numpy().astype("int8"), "x"),
        fingerprint({"rate": 0.1}, weights, weights.numpy().astype("uint8"), "y"),
    }
    assert len(others | {one}) == 6
