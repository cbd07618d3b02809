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
