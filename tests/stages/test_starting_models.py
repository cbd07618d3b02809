"""Adaptations that start from the network of source only: what they read, what they keep, and what is refused."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from safetensors.torch import load_file

from graph import read_graph
from repflow.errors import ParameterError
from repflow.stages import adapt, plan
from repflow.stages.compose import check, composed
from repflow.stages.planning.counts import read_data
from repflow.stages.planning.trainings import Training, trainings
from repflow.stages.starting_models import check_starting_model, model_of

ROOT = Path(__file__).parents[2]
SOURCE_ONLY: dict[str, Any] = {
    "family": "adaptation",
    "name": "source_only",
    "start": "random",
    "starts_from": "models/pretrain",
    "encoder": {"name": "small", "widths": [4, 12]},
    "head": {"hidden": [16], "dropout": 0.5},
    "training": {"steps": 3, "batch_size": 16},
}
ALIGNED: dict[str, Any] = {
    "family": "adaptation",
    "name": "subspace_alignment",
    "start": "source_only",
    "starts_from": "models/adapt/source_only",
    "settings": {"dimension": 4},
    "training": {"steps": 0, "batch_size": 16},
}
FURTHER: dict[str, Any] = {
    "family": "adaptation",
    "name": "dann",
    "start": "source_only",
    "starts_from": "models/adapt/source_only",
    "training": {"steps": None, "batch_size": 16},
}
ADAPTATIONS = {"source_only": SOURCE_ONLY, "subspace_alignment": ALIGNED, "dann": FURTHER}


@pytest.fixture
def adaptable(project: Path) -> Path:
    """The small project with these three methods, and budgets."""
    change(adapt=ADAPTATIONS)
    return project


def change(**sections: Any) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    budget = {"passes": 1.0, "least": 100, "most": 10**6}
    parameters["budget"] = dict.fromkeys(("pretrain", "finetune", "adapt"), budget)
    parameters["pretrain"] = {"family": "pretext", "name": "rotation", "training": {"steps": 2, "batch_size": 8}}
    parameters |= {
        "probe": {"random_encoders": 1},
        "tune": {"search": {"trials": 0, "batch": 1, "space": {}}},
        **sections,
    }
    Path("params.yaml").write_text(yaml.safe_dump(copy.deepcopy(parameters), sort_keys=False))


def model(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"models/adapt/{name}/model.json").read_text())
    return found


def test_subspace_alignment_replaces_the_last_layer_of_source_only_and_trains_nothing(adaptable: Path) -> None:
    adapt.run("source_only")
    adapt.run("subspace_alignment")
    before, after = (
        load_file(f"models/adapt/{name}/weights.safetensors") for name in ("source_only", "subspace_alignment")
    )
    assert before.keys() == after.keys()
    differing = {name for name in before if before[name].numpy().tobytes() != after[name].numpy().tobytes()}
    last = sorted(name for name in before if name.startswith("head."))[-2:]
    assert differing == set(last), "the encoder and the hidden layer are those of source only, byte for byte"
    for key in ("encoder", "head", "classes", "preprocessing"):
        assert model("subspace_alignment")[key] == model("source_only")[key]
    assert model("subspace_alignment")["provenance"]["start"] == "source_only"
    metrics = json.loads(Path("metrics/adapt/subspace_alignment.json").read_text())
    assert metrics == {"steps": 0, "kept_step": 0, "images_seen": 0, "flops": 0}
    assert Path("plots/curves/adapt/subspace_alignment.tsv").read_text() == "step\n"
    assert Path(".repflow/cost/adapt/source_only.json").exists()
    assert not Path(".repflow/cost/adapt/subspace_alignment.json").exists(), "what does not train has no such cost"


def planned_trainings() -> dict[str, Training]:
    data = read_data(dict.fromkeys(("ingest@source", "ingest@target", "split"), False))
    return {each.stage: each for each in trainings(data, is_searched=True)}


def test_the_plan_knows_the_network_that_a_method_starts_from(adaptable: Path) -> None:
    planned = planned_trainings()  # before there is any model
    rows = {row.stage: row for row in plan.make_plan()}
    aligned, trained = rows["adapt@subspace_alignment"], rows["adapt@source_only"]
    assert (aligned.steps, aligned.batch_size, aligned.basis) == (0, None, "measured")
    assert aligned.disk_bytes == trained.disk_bytes
    assert aligned.seconds is not None
    assert aligned.seconds > 0
    adapt.run("source_only")
    for name in ("subspace_alignment", "dann"):
        adapt.run(name)
        section = planned[f"adapt@{name}"].recipe.section
        assert model(name)["encoder"]["widths"] == list(section.encoder.widths) == [4, 12]
        assert model(name)["head"]["hidden"] == list(section.head.hidden) == [16]
        steps = json.loads(Path(f"metrics/adapt/{name}.json").read_text())["steps"]
        assert steps == planned[f"adapt@{name}"].steps
    assert planned["adapt@dann"].steps > 0


def without(name: str, key: str | None = None, **values: Any) -> dict[str, Any]:
    """The methods without `name`, or without a key of it, or with other values of it."""
    found = copy.deepcopy(ADAPTATIONS)
    if key is None and not values:
        del found[name]
    else:
        found[name] = {entry: each for entry, each in {**found[name], **values}.items() if entry != key}
    return found


@pytest.mark.parametrize(
    ("adaptations", "message"),
    [
        (without("source_only"), r"source_only needs the model .* 'adapt=\[source_only,subspace_alignment,dann\]'"),
        (without("subspace_alignment", starts_from="models/pretrain"), r"starts_from: is models/pretrain, but start"),
        (without("subspace_alignment", key="starts_from"), r"starts_from: is None, .* reads models/adapt/source_only"),
        (without("subspace_alignment", start="random"), r"starts_from: is models/adapt/source_only, but start: random"),
        (without("subspace_alignment", encoder={"name": "small"}), r"encoder: the encoder of source_only cannot be"),
        (without("subspace_alignment", head={"hidden": [8]}), r"head: the head of source_only cannot be replaced"),
    ],
)
def test_a_model_that_will_not_be_there_or_that_dvc_does_not_watch_is_refused(
    adaptable: Path, adaptations: dict[str, Any], message: str
) -> None:
    adapt.run("source_only")  # a model that is left over does not count
    change(adapt=adaptations)
    with pytest.raises(ParameterError, match=message):
        adapt.run("subspace_alignment")
    with pytest.raises(ParameterError, match=message):
        planned_trainings()


def test_source_only_does_not_start_from_itself(adaptable: Path) -> None:
    changes = {"start": "source_only", "starts_from": model_of("source_only"), "encoder": None, "head": {}}
    with pytest.raises(ParameterError, match=r"adapt\.source_only\.start: it cannot start from itself"):
        check_starting_model(without("source_only", **changes), "source_only")


def test_compose_refuses_what_the_stage_refuses() -> None:
    whole = yaml.safe_load(composed(ROOT / "conf", []))
    check(whole)
    for name, key, message in (
        ("source_only", None, r"adapt\.subspace_alignment\.start: source_only needs .* add it: repflow compose"),
        ("dann", "starts_from", r"adapt\.dann\.starts_from: missing; add `starts_from: \$\{model_of:\$\{\.start\}\}`"),
    ):
        changed = copy.deepcopy(whole)
        del (changed["adapt"][name] if key else changed["adapt"])[key or name]
        with pytest.raises(ParameterError, match=message):
            check(changed)
    whole["finetune"] |= {"start": "source_only", "head": {}}
    with pytest.raises(ParameterError, match="finetune: start: source_only is for methods of adaptation"):
        check(whole)


def test_dvc_and_the_flow_know_what_a_method_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    chosen = ["adapt.train_on_target.start=pretrained", "adapt.train_on_target.encoder=null"]
    (tmp_path / "params.yaml").write_text(composed(ROOT / "conf", chosen))
    monkeypatch.chdir(tmp_path)
    Repo.init(".", no_scm=True).close()
    stages = read_graph(tmp_path)
    trained = {
        name: {each for each in stages[f"adapt@{name}"].upstream if each.startswith(("pretrain", "adapt"))}
        for name in ("source_only", "subspace_alignment", "dann", "train_on_target")
    }
    assert trained == {
        "source_only": {"pretrain"},
        "subspace_alignment": {"adapt@source_only"},
        "dann": {"pretrain"},
        "train_on_target": {"pretrain"},
    }
    assert stages["adapt@subspace_alignment"].level > stages["adapt@source_only"].level
