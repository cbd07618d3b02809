"""Kept choices: every composition starts from them, DVC's as well, until they are reset."""

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.errors import ParameterError
from repflow.stages.compose import composed
from repflow.stages.composing.choices import Choices, read_choices

ROOT = Path(__file__).parents[3]
CONF = Path("conf")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the real conf/ without choices; the working directory."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/chosen.yaml").write_text(Choices().text)
    monkeypatch.chdir(tmp_path)
    # The checks import torch; that the schema holds is tested elsewhere.
    monkeypatch.setattr("repflow.stages.compose.check", lambda whole: None)
    return tmp_path


def compose(*overrides: str) -> str:
    ended = CliRunner().invoke(app, ["compose", "--", *overrides])
    assert ended.exit_code == 0, ended.output
    return ended.output


def parameters() -> dict:
    return yaml.safe_load(Path("params.yaml").read_text())


@pytest.mark.parametrize(
    "overrides",
    [
        ["data=one_folder", "data.source.path=images", "seed=3"],
        ["adapt=[dann,source_only]"],
        ["~adapt.dann"],
        ["encoder=vit_tiny", "pretrain=rotation", "tune=off"],
        ["+adapt.dann.training.keep=1e-3", "++report.note='1e-3'"],
        ["split.labels_per_class=null", "report.published=null"],
        ["+report.heading='it\\'s #1: a, b = c'"],
        ["+augment.mine=[{op: greyscale}]", "pretrain.settings.augment=${augment.mine}"],
        ["augment.simclr.0.degrees=3.5"],
        ["training@finetune.training=pretext"],
    ],
    ids=" ".join,
)
def test_what_was_chosen_is_what_dvc_composes_next(tmp_path: Path, overrides: list[str]) -> None:
    once = composed(CONF, overrides)
    compose(*overrides)
    assert Path("params.yaml").read_text() == once
    compose_and_dump(tmp_path / "next.yaml", str(CONF.resolve()), None, "config", str(tmp_path), [])
    assert Path("next.yaml").read_text() == once
    compose()
    assert Path("params.yaml").read_text() == once


def test_later_choices_add_to_earlier_ones_and_replace_them() -> None:
    compose("seed=3", "pretrain=rotation")
    said = compose("seed=4", "split.test=0.3")
    assert (parameters()["seed"], parameters()["pretrain"]["name"], parameters()["split"]["test"]) == (
        4,
        "rotation",
        0.3,
    )
    assert "kept in conf/chosen.yaml: pretrain=rotation seed=4 split.test=0.3" in said


def test_what_is_set_for_one_run_wins_over_what_was_chosen() -> None:
    compose("seed=3", "pretrain=rotation")
    run = yaml.safe_load(composed(CONF, ["seed=5", "pretrain=simclr"]))
    assert (run["seed"], run["pretrain"]["name"]) == (5, "simclr")
    assert parameters()["seed"] == 3


def test_another_choice_of_a_group_forgets_the_values_of_the_one_before() -> None:
    compose("pretrain.settings.temperature=0.3", "seed=3")
    compose("pretrain=simclr")
    assert parameters()["pretrain"]["settings"]["temperature"] == 0.3
    compose("pretrain=rotation")
    assert "temperature" not in parameters()["pretrain"]["settings"]
    assert parameters()["seed"] == 3


def test_a_value_that_was_added_can_be_taken_back() -> None:
    compose("+report.note=x")
    compose("~report.note")
    assert read_choices(CONF) == Choices()


def test_a_deletion_that_cannot_be_kept_is_said() -> None:
    said = compose("~report.title")
    assert "~report.title: not kept" in said
    assert "title" not in parameters()["report"]


def test_reset_goes_back_to_the_defaults() -> None:
    compose("seed=3", "pretrain=rotation")
    assert CliRunner().invoke(app, ["compose", "--reset", "split.test=0.3"]).exit_code == 0
    assert read_choices(CONF) == Choices(values={"split": {"test": 0.3}})
    assert CliRunner().invoke(app, ["compose", "--reset"]).exit_code == 0
    assert Path("conf/chosen.yaml").read_bytes() == (Choices().text).encode()
    assert Path("params.yaml").read_text() == composed(CONF, [])


def test_a_refused_choice_is_not_kept() -> None:
    compose("seed=3")
    before = Path("conf/chosen.yaml").read_bytes()
    assert CliRunner().invoke(app, ["compose", "pretrain=rotatoin"]).exit_code == 2
    assert Path("conf/chosen.yaml").read_bytes() == before
    assert sorted(path.name for path in CONF.glob(".*")) == []


def test_a_conflicting_merge_is_one_message() -> None:
    Path("conf/chosen.yaml").write_text("<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> other\n")
    with pytest.raises(ParameterError, match=r"conf/chosen\.yaml: not readable .* empty it: repflow compose --reset"):
        read_choices(CONF)
