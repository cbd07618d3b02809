"""What was chosen beside the defaults is said once by whatever starts a run: `dvc repro`, `dvc exp run`, the queue."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from repflow.stages.compose import composed
from repflow.stages.composing.announcement import SAID, announce, announce_once
from repflow.stages.composing.choices import Choices

ROOT = Path(__file__).parents[3]
STAGE = (
    f'{sys.executable} -c \'import logging; logging.basicConfig(level=20, format="%(message)s");'
    " from repflow.stages.composing.announcement import announce_once as once; once()'"
)
LINE = "differs from the defaults in: encoder=small seed=3"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the real conf/ and choices; the working directory."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/chosen.yaml").write_text(Choices({"override /encoder": "small"}, {"seed": 3}).text)
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", *SAID):
        monkeypatch.setenv(name, "")  # so that it is restored even where it is not set now
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize("command", ["{}", "{}; true"], ids=["replaces its shell", "child of a shell"])
def test_the_first_stage_of_each_dvc_repro_says_it(project: Path, command: str) -> None:
    stages = {name: {"cmd": command.format(STAGE), "always_changed": True} for name in ("one", "two")}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-m", "dvc", "repro"], check=True, capture_output=True, text=True)
        assert (done.stdout + done.stderr).count("Running stage") == 2
        assert (done.stdout + done.stderr).count(f"params.yaml {LINE}") == 1


def test_dvc_exp_run_says_it_where_it_composes_and_its_stages_do_not(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dvc")
    compose_and_dump("params.yaml", str(project / "conf"), None, "config", str(ROOT / "src"), ["seed=5"])
    assert [each.message for each in caplog.records if "differs" in each.message] == [f"the checkout {LINE}"]
    os.environ["DVC_STAGE"] = "one"
    caplog.set_level("INFO", "repflow")
    announce_once()
    assert caplog.text.count("differs") == 1


def test_composing_by_repflow_itself_says_nothing_of_it(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dvc")
    assert "seed: 3" in composed(project / "conf", [])
    assert "differs" not in caplog.text
    assert SAID.keys().isdisjoint(os.environ)


def test_a_stage_that_dvc_did_not_start_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "repflow")
    announce_once()
    assert caplog.text == ""


def test_choices_that_are_not_readable_do_not_end_a_stage(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.environ["DVC_STAGE"] = "one"
    (project / "conf/chosen.yaml").write_text("<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> other\n")
    announce_once()
    assert "conf/chosen.yaml: not readable" in caplog.text


def test_nothing_is_said_of_the_defaults(project: Path) -> None:
    said: list[str] = []
    (project / "conf/chosen.yaml").write_text(Choices().text)
    announce(project / "conf", "the checkout", said.append)
    announce(project / "nowhere", "the checkout", said.append)
    assert said == []
