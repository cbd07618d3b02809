"""The command `plan`: the steps that the stages then take, before anything is ingested and after; as JSON."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.errors import DataError, ParameterError
from repflow.stages import adapt, finetune, plan, pretrain
from repflow.stages.planning.counts import read_data
from repflow.stages.planning.trainings import Training, _turns, trainings

SECTIONS: dict[str, Any] = {
    "budget": {
        "pretrain": {"passes": 2.0, "least": 100, "most": 10**9},
        "finetune": {"passes": 20.0, "least": 100, "most": 10**9},
        "adapt": {"passes": 1.0, "least": 1000, "most": 10**9},
    },
    "split": {"labels_per_class": 4, "validation": 0.2, "test": 0.2, "near_duplicate_distance": 2},
    "pretrain": {
        "family": "pretext",
        "name": "rotation",
        "settings": {"augment": []},
        "training": {"steps": None, "batch_size": 8},
    },
    "probe": {"random_encoders": 1},
    "tune": {
        "workers": 2,
        "search": {
            "trials": 3,
            "batch": 2,
            "share": 0.5,
            "space": {"settings": {"label_smoothing": {"type": "float", "low": 0.0, "high": 0.3}}},
        },
    },
    "adapt": {
        "source_only": {
            "family": "adaptation",
            "name": "source_only",
            "start": "random",
            "settings": {"augment": []},
            "training": {"steps": None, "batch_size": 16},
        }
    },
}
OUTDATED = {"ingest@source": True, "ingest@target": True, "split": True}


def change(**sections: Any) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["finetune"]["training"]["steps"] = None
    Path("params.yaml").write_text(yaml.safe_dump({**parameters, **sections}, sort_keys=False))


@pytest.fixture
def planned(project: Path) -> Path:
    """The small project, with budgets and without a DVC graph."""
    change(**SECTIONS)
    return project


def planned_trainings() -> dict[str, Training]:
    data = read_data(dict.fromkeys(OUTDATED, False))
    return {each.stage: each for each in trainings(data, is_searched=True)}


def steps_of(name: str) -> int:
    found: int = json.loads(Path(f"metrics/{name}.json").read_text())["steps"]
    return found


def test_the_stages_take_the_steps_of_the_plan(planned: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = planned_trainings()
    Path("models/tune").mkdir(parents=True)
    Path("models/tune/best.yaml").write_text("{}\n")
    caplog.set_level("INFO", logger="repflow")
    pretrain.run()
    finetune.run()
    adapt.run("source_only")
    assert steps_of("pretrain") == expected["pretrain"].steps == 80  # two passes over 160 images of either domain
    assert steps_of("finetune") == expected["finetune"].steps == 75  # twenty passes over 60 labels
    assert steps_of("adapt/source_only") == expected["adapt@source_only"].steps == 63  # 1,000 images at least
    assert expected["tune"].steps == 3 * 38
    said = [record.getMessage() for record in caplog.records]
    assert "pretrain: 80 steps of 8 images (budget.pretrain: 2 passes over 320 images)" in said
    assert "adapt@source_only: 63 steps of 16 images (budget.adapt: 1,000 images at least)" in said


def test_the_result_of_an_outdated_search_is_not_taken(planned: Path) -> None:
    Path("models/tune").mkdir(parents=True)
    Path("models/tune/best.yaml").write_text("training.batch_size: 4\n")
    data = read_data(dict.fromkeys(OUTDATED, False))
    sizes = [
        {each.stage: each.recipe.section.training.batch_size for each in trainings(data, searched)}["finetune"]
        for searched in (True, False)
    ]
    assert sizes == [4, 16]


@pytest.mark.parametrize(("workers", "turns"), [(1, 3), (2, 2), (4, 2)])
def test_trials_of_a_batch_run_side_by_side(workers: int, turns: int) -> None:
    assert _turns(3, 2, workers) == turns


def test_json_says_everything_for_each_stage_and_for_all(planned: Path) -> None:
    result = CliRunner().invoke(app, ["plan", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    stages = {row["stage"]: row for row in found["stages"]}
    assert list(stages) == [
        *("code", "ingest@source", "ingest@target", "validate@source", "validate@target", "split", "baseline"),
        *("pretrain", "probe", "tune", "finetune", "adapt@source_only", "evaluate", "select", "report"),
    ]
    keys = {"stage", "runs", "images", "steps", "batch_size", "seconds", "memory_bytes", "gpu_memory_bytes"}
    assert all(row.keys() == keys | {"disk_bytes", "basis"} for row in stages.values())
    assert {row["runs"] for row in stages.values()} == {None}, "there is no DVC project"
    trained = [row for row in stages.values() if row["steps"]]
    assert {row["stage"]: row["steps"] for row in trained} == {
        each.stage: each.steps for each in planned_trainings().values()
    }
    assert {row["basis"] for row in trained} == {"measured"}
    assert all(2**26 < row["memory_bytes"] < 2**34 for row in trained)
    assert all(row["seconds"] > 0 for row in stages.values())
    whole = found["total"]
    assert whole["seconds"] == pytest.approx(sum(row["seconds"] for row in stages.values()), rel=1e-4)
    assert whole["memory_bytes"] == max(row["memory_bytes"] for row in trained)
    assert stages["ingest@source"]["disk_bytes"] == 300 * (64 + 300)
    assert not Path("metrics").exists(), "nothing was run"


def make_folder(root: Path, per_class: int) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = generator.integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


@pytest.mark.parametrize(("given", "size"), [(8, 8), (None, 20)])
def test_a_folder_is_planned_before_it_is_ingested_as_its_split_will_be(
    planned: Path, monkeypatch: pytest.MonkeyPatch, given: int | None, size: int
) -> None:
    from repflow.stages import ingest, split

    make_folder(Path("pictures"), 30)
    shutil.rmtree("data")
    source = {"kind": "folder", "path": "pictures"}
    change(data={"size": given, "channels": 1, "resize": "crop", "source": source, "target": {"kind": "none"}})
    before = read_data(OUTDATED)
    row = next(row for row in plan._preparations(before) if row.stage == "ingest@source")
    assert (row.images, row.basis) == (60, "measured")
    assert row.seconds is not None
    assert 0 < row.seconds < 60
    for domain in ("source", "target"):
        ingest.run(domain)
    stored = read_data({**OUTDATED, "ingest@source": False, "ingest@target": False})
    split.run()
    after = read_data(dict.fromkeys(OUTDATED, False))
    assert before.counts == stored.counts == after.counts
    assert (before.classes, before.channels, before.size) == (("cat", "dog"), 1, size)
    assert {each.stage for each in trainings(before, False)} == {"pretrain", "tune", "finetune"}


def test_a_folder_that_is_not_there_and_an_unknown_method_are_messages(planned: Path) -> None:
    change(pretrain={**SECTIONS["pretrain"], "name": "rotatoin"})
    with pytest.raises(ParameterError, match=r"pretext\.rotatoin: there is no method of this name"):
        plan.make_plan()
    shutil.rmtree("data")
    source = {"kind": "folder", "path": "pictures"}
    change(data={"size": 8, "channels": 1, "resize": "crop", "source": source, "target": {"kind": "none"}})
    with pytest.raises(DataError, match="pictures: no such folder"):
        plan.make_plan()
