"""Composing params.yaml from conf/: the committed file, DVC's own composition, and messages for invalid values."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.errors import ParameterError
from repflow.stages.compose import check, composed, differences, section_checks
from repflow.stages.parameters import SECTIONS

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
GIVEN = {
    "data=folder": ["data.source.path=a", "data.target.path=b"],
    "data=one_folder": ["data.source.path=a"],
    "data=huggingface": ["data.source.path=a"],
    "data=parquet": ["data.source.path=a"],
    "data=webdataset": ["data.source.path=a"],
    "data=cifar_binary": ["data.source.path=a"],
    "data=domains": ["data.root=a", "data.source.domains=[b,c]", "data.target.domains=[d]"],
}
"""Values that some choices require from the user."""
PARTS = {"adaptation", "training"}
"""Groups that are used by other groups."""
METHODS = {"pretrain", "adapt"}
"""Groups whose choices are methods that no other group changes; the fixture `configuration` has composed them all."""
FILES = [file for file in sorted(CONF.glob("*/*.yaml")) if file.parent.name not in PARTS]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the real conf/ and the params.yaml that it composes to; the working directory."""
    shutil.copytree(CONF, tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compose(*overrides: str):
    return CliRunner().invoke(app, ["compose", *overrides])


def test_the_committed_parameters_are_composed_from_conf() -> None:
    assert (ROOT / "params.yaml").read_text() == composed(CONF, []), "run `repflow compose` and commit params.yaml"


@pytest.mark.parametrize(
    "choice", [f"{file.parent.name}={file.stem}" for file in FILES if file.parent.name not in METHODS]
)
def test_every_choice_matches_the_schema(choice: str) -> None:
    check(yaml.safe_load(composed(CONF, [choice, *GIVEN.get(choice, [])])))


@pytest.mark.parametrize(
    ("group", "name"), [(file.parent.name, file.stem) for file in FILES if file.parent.name in METHODS]
)
def test_every_method_matches_the_schema(configuration: dict[str, Any], group: str, name: str) -> None:
    whole = {key: section for key, section in configuration.items() if key != "methods"}
    methods = configuration["methods"][group]
    several = {each: methods[each] for each in ("source_only", name)} if group == "adapt" else {}  # they start from it
    check({**whole, group: several or methods[name]})


@pytest.mark.parametrize("overrides", [[], ["pretrain=rotation", "seed=3"], ["split.labels_per_class=null"]])
def test_dvc_composes_the_same_bytes(tmp_path: Path, overrides: list[str]) -> None:
    compose_and_dump(tmp_path / "params.yaml", str(CONF), None, "config", str(tmp_path), overrides)
    assert (tmp_path / "params.yaml").read_text() == composed(CONF, overrides)


def test_dvc_exp_run_takes_groups_and_keys(project: Path) -> None:
    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, capture_output=True)

    subprocess.run(["git", "init", "--quiet"], check=True)
    dvc("init", "--quiet")
    shutil.copy(ROOT / ".dvc" / "config", ".dvc/config")
    Path("dvc.yaml").write_text("stages:\n  one:\n    cmd: cp params.yaml seen.yaml\n    outs: [seen.yaml]\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "start"], check=True)
    overrides = ["pretrain=rotation", "seed=3"]
    dvc("exp", "run", "-S", overrides[0], "-S", overrides[1])
    assert Path("seen.yaml").read_text() == composed(Path("conf"), overrides)


def test_compose_writes_the_choice_and_logs_the_changes(project: Path) -> None:
    result = compose("pretrain=rotation", "seed=3")
    assert result.exit_code == 0
    assert "seed: 0 -> 3" in result.stderr
    assert "pretrain.name: 'simclr' -> 'rotation'" in result.stderr
    assert Path("params.yaml").read_text() == composed(Path("conf"), ["pretrain=rotation", "seed=3"])


def test_composing_again_changes_nothing(project: Path) -> None:
    assert compose().stderr == "params.yaml: unchanged\n"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "pretrain=rotatoin",
            "pretrain=rotatoin: no such choice in conf/pretrain/; did you mean 'rotation'? (allowed: ",
        ),
        ("pretrian=rotation", "pretrian: no such key in conf/; did you mean 'pretrain'? (allowed: "),
        ("split.labels_per_clas=3", "split.labels_per_clas: no such key in conf/; did you mean 'labels_per_class'?"),
        ("+split.labels_per_clas=3", "split.labels_per_clas: unknown parameter; did you mean 'labels_per_class'?"),
        ("split.test=1.5", "split.test: 1.5 is not allowed"),
        ("seed=three", 'seed: "three" is not allowed'),
        ("seed=1,2", "seed=1,2: has several values"),
        ("seed", "Error parsing override 'seed'"),
        ("seed=${nothing}", "Interpolation key 'nothing' not found"),
        ("pretrain.settings.temprature=1", "pretrain.settings.temprature: no such key in conf/"),
        ("+pretrain.settings.temprature=1", "pretrain.settings.temprature: unknown parameter"),
        ("pretrain.name=nothing", "pretext.nothing: there is no method of this name"),
        ("data=folder", "data.source.path, data.target.path: must be set with these choices"),
        ("~seed", "seed: missing"),
    ],
)
def test_an_invalid_override_is_one_message_and_changes_nothing(project: Path, override: str, message: str) -> None:
    before = Path("params.yaml").read_bytes()
    result = compose(override)
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == 2
    assert Path("params.yaml").read_bytes() == before


def test_outside_a_project_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = compose()
    assert (result.exit_code, result.stderr) == (
        2,
        "error: conf/config.yaml: not found; run in the project's root\n",
    )


def test_no_section_goes_unchecked() -> None:
    whole = yaml.safe_load(composed(CONF, []))
    assert {key.split(".")[0] for key, _ in section_checks(whole)} == set(SECTIONS)


def test_all_invalid_values_are_listed_at_once() -> None:
    whole = yaml.safe_load(composed(CONF, ["split.test=2", "evaluate.bins=-1"]))
    with pytest.raises(ParameterError, match=r"split\.test: 2[^\n]*\n[^\n]*evaluate\.bins: -1"):
        check(whole)


def test_differences_list_new_removed_and_changed_values() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": []}) == [
        "a.b: 1 -> 3",
        "d: [] (new)",
        "a.c: removed (was 2)",
    ]
