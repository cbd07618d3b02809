"""Which stages `repflow plan` says that DVC would run, in a real DVC project."""

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from repflow.stages import code
from repflow.stages.planning.status import outdated

GRAPH = """
stages:
  begin: {cmd: cp input.txt begin.txt, deps: [input.txt], outs: [begin.txt]}
  pretrain: {cmd: cp begin.txt model.txt, deps: [begin.txt, code/pretrain.json], outs: [model.txt]}
  adapt: {foreach: [dann], do: {cmd: cp model.txt dann.txt, deps: [model.txt], outs: [dann.txt]}}
  aside: {cmd: cp input.txt aside.txt, deps: [input.txt], outs: [aside.txt]}
"""
EXAMPLE = {"family": "pretext", "name": "rotation"}


@pytest.fixture
def reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose stages are all up to date."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump({"pretrain": EXAMPLE, "finetune": EXAMPLE, "adapt": {}}))
    Path("input.txt").write_text("1")
    code.run()
    Path("dvc.yaml").write_text(GRAPH)
    with Repo.init(".", no_scm=True) as repo:
        repo.reproduce()


def test_what_depends_on_a_changed_stage_runs_too(reproduced: None) -> None:
    assert outdated() == set()
    Path("model.txt").write_text("2")
    assert outdated() == {"pretrain", "adapt@dann"}
    Path("input.txt").write_text("3")
    assert outdated() == {"begin", "pretrain", "adapt@dann", "aside"}


def test_changed_code_counts_before_the_stage_code_has_run(reproduced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = code.fingerprints

    def edited(values: dict[str, object], source: object) -> dict[str, dict[str, str]]:
        digests = found(values, source)  # type: ignore[arg-type]
        return {**digests, "pretrain": {**digests["pretrain"], "repflow.stages.pretrain": "0" * 16}}

    monkeypatch.setattr(code, "fingerprints", edited)
    assert outdated() == {"pretrain", "adapt@dann"}


def test_outside_a_dvc_project_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outdated() is None
