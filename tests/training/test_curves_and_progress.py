"""Training curves as TSV, and progress lines in the log."""

import logging
from pathlib import Path

import pytest

from repflow.training.curves import write_curve
from repflow.training.progress import Progress


def test_a_curve_has_a_column_for_every_metric(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "curve.tsv"
    write_curve(path, [{"step": 1.0, "loss": 0.123456789}, {"step": 20000.0, "loss": 1e-7, "validation": 0.5}])
    assert path.read_text() == "step\tloss\tvalidation\n1\t0.123457\t\n20000\t1e-07\t0.5\n"


def test_an_empty_curve_has_a_header(tmp_path: Path) -> None:
    write_curve(tmp_path / "curve.tsv", [])
    assert (tmp_path / "curve.tsv").read_text() == "step\n"


@pytest.mark.parametrize(("steps", "every"), [(200, 20), (150, 20), (7, 1), (1, 1), (1000, 1)])
def test_progress_lines_without_a_terminal(steps: int, every: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="repflow"):
        progress = Progress("pretrain", steps)
        for step in range(1, steps + 1):
            if step % every == 0 or step == steps:
                progress.show(step, 0.5, step * 16)
        progress.close()
    lines = [record.getMessage() for record in caplog.records]
    assert min(steps // every, 7) <= len(lines) <= 11
    assert lines[-1].startswith(f"pretrain: step {steps}/{steps}, loss 0.5, ")
    assert lines[-1].endswith(" s left")


def estimates(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for record in caplog.records if ": about" in (message := record.getMessage())]


def test_a_training_says_once_after_a_few_steps_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr("repflow.training.progress.time.monotonic", lambda: now)
    with caplog.at_level(logging.INFO, logger="repflow"):
        progress = Progress("pretrain", 1010, beside=" at most, and 20 validations")
        for step in range(1, 101):
            now += 30.0 if step == 1 else 0.25  # the first step is not like the others
            progress.count(step)
            assert bool(estimates(caplog)) == (step >= 10)
    assert estimates(caplog) == ["pretrain: about 5 min at most, and 20 validations"]


def test_slow_steps_are_estimated_from_fewer_and_what_was_done_before_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr("repflow.training.progress.time.monotonic", lambda: now)
    with caplog.at_level(logging.INFO, logger="repflow"):
        progress = Progress("pretrain", 5000, done=3200)
        for step in range(3201, 3204):
            now += 2.0
            progress.count(step)
        silent = Progress("pretrain", 5000, silent=True)
        for step in range(1, 20):
            silent.count(step)
    assert estimates(caplog) == ["pretrain: about 60 min"]


def test_the_device_has_done_its_work_whenever_the_clock_is_read(caplog: pytest.LogCaptureFixture) -> None:
    waited: list[int] = []
    progress = Progress("pretrain", 50, wait=lambda: waited.append(step))
    for step in range(1, 51):
        progress.count(step)
    assert waited == [1, 10]
