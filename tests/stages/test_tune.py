"""The stage `tune`: its output depends on its inputs alone, and the current parameters are always among the trials."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from repflow.errors import DataError, ParameterError
from repflow.stages import tune
from repflow.stages.finetune import found_by_search
from repflow.stages.learning import read_recipe
from repflow.stages.searching.trial import shortened

SEARCH: dict[str, Any] = {
    "trials": 8,
    "batch": 4,
    "steps": 30,
    "every": 5,
    "startup": 4,
    "pruner": {"name": "median", "startup": 2, "warmup": 5},
    "threads": 1,
    "space": {
        "training": {
            # With the highest rate the loss soon is NaN.
            "optimizer": {"learning_rate": {"type": "categorical", "choices": [1.0e-4, 0.01, 1.0e30]}},
            "batch_size": {"type": "int", "low": 8, "high": 32},
        },
        "settings": {"label_smoothing": {"type": "float", "low": 0.0, "high": 0.3}},
    },
}
HALTING = """
import time
from repflow.stages import tune
from repflow.stages.searching.study import Search

write = Search._write
def halt(search, *given):
    while len(search.finished) == 2:
        time.sleep(1)
    write(search, *given)

Search._write = halt
tune.run()
"""
"""A search that goes no further once two trials are in its journal."""
OUTPUTS = ("models/tune/best.yaml", "models/tune/trials.csv", "metrics/tune.json", "plots/tune")


def write_tune(workers: int | None = 1, **search: Any) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["tune"] = {"workers": workers, "search": {**SEARCH, **search}}
    Path("params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))


def outputs() -> dict[str, bytes]:
    files = [path for name in OUTPUTS for path in sorted([Path(name), *Path(name).glob("*")]) if path.is_file()]
    assert len(files) == 5
    return {str(path): path.read_bytes() for path in files}


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(Path("models/tune/trials.csv").read_text().splitlines()))


def journals() -> list[Path]:
    return list(Path(".repflow/tune").rglob("journal.log"))


def journaled_trials() -> int:
    """Trials in the journal, whose first line is the study's."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in journals())


@pytest.fixture
def killed_search(project: Path) -> None:
    """A search with one process that was killed during its first batch."""
    write_tune(workers=1)
    stage = subprocess.Popen([sys.executable, "-c", HALTING])
    while journaled_trials() < 2:
        assert stage.poll() is None
        time.sleep(0.02)
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()


def test_a_killed_search_ends_with_the_bytes_of_an_undisturbed_one(killed_search: None, caplog: Any) -> None:
    assert journaled_trials() == 2
    assert not Path("models/tune").exists()
    write_tune(workers=2)
    with caplog.at_level(logging.INFO, "repflow"):
        tune.run()
    assert "of 8 trials are already finished" in caplog.text
    assert journals() == []
    resumed = outputs()
    tune.run()
    assert outputs() == resumed

    trials, metrics = rows(), json.loads(resumed["metrics/tune.json"])
    assert [row["number"] for row in trials] == [str(number) for number in range(8)]
    assert list(trials[0]) == ["number", "state", "steps", "value", *tune.read_search_space(config(), recipe())[0]]
    assert trials[0]["training.optimizer.learning_rate"] == "0.01"
    assert {row["state"] for row in trials} == {"complete", "pruned", "fail"}
    assert all(int(row["steps"]) < SEARCH["steps"] for row in trials if row["state"] != "complete")
    assert metrics["best"] >= metrics["default"] == round(float(trials[0]["value"]), 4)
    assert metrics["trials"] == 8
    cost = json.loads(Path(".repflow/cost/tune.json").read_text())
    assert (cost["images"], cost["flops"]) == (metrics["images_seen"], metrics["flops"])
    # A diverged trial trained for some steps after its last validation.
    assert cost["steps"] > sum(int(row["steps"]) for row in trials) > 0
    best = trials[metrics["best_trial"]]
    assert {key: json.loads(best[key]) for key in found_by_search()} == found_by_search()
    assert read_recipe("finetune", found_by_search()).section.training.steps == 40


def test_without_trials_the_fine_tuning_is_unchanged(project: Path) -> None:
    write_tune(trials=0)
    tune.run()
    assert found_by_search() == {}
    assert rows() == []
    assert json.loads(Path("metrics/tune.json").read_text())["trials"] == 0
    assert len(outputs()) == 5


def test_a_space_that_does_not_match_the_method_ends_before_any_trial(project: Path) -> None:
    write_tune(space={"settings": {"threshold": {"type": "float", "low": 0.5, "high": 0.99}}})
    with pytest.raises(ParameterError, match=r"params.yaml: tune.search.space.settings.threshold: .*tune=default"):
        tune.run()
    assert not Path(".repflow").exists()


def test_a_search_without_validation_rows_says_so(project: Path) -> None:
    import pandas as pd

    split = pd.read_parquet("data/splits/source.parquet")
    split.replace({"side": {"validation": "test"}}).to_parquet("data/splits/source.parquet", index=False)
    write_tune()
    with pytest.raises(DataError, match="no validation rows"):
        tune.run()


def test_a_search_resumes_only_if_nothing_has_changed(project: Path) -> None:
    write_tune(workers=1)
    before = tune.fingerprint(config())
    write_tune(workers=2)
    assert tune.fingerprint(config()) == before
    write_tune(steps=31)
    assert tune.fingerprint(config()) != before
    write_tune()
    weights = Path("models/pretrain/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert tune.fingerprint(config()) != before


def test_a_trial_trains_like_the_fine_tuning_except_for_its_length(project: Path) -> None:
    write_tune()
    whole, short = recipe(), shortened(recipe(), config())
    assert (short.section.training.steps, short.section.training.early_stopping.every) == (30, 5)
    assert short.section.training.optimizer == whole.section.training.optimizer
    assert short.settings == whole.settings


def config() -> Any:
    return tune.read("tune", tune.TuneConfig).search


def recipe() -> Any:
    return read_recipe("finetune")
