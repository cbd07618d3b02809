"""The command `check`: results match the code and parameters, and DVC's cache is intact."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repflow.cli.app import app

pytestmark = pytest.mark.xdist_group("history")  # which takes a while to make


def check(*options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *options])
    return result.exit_code, result.stderr


def replace(path: str, old: str, new: str) -> Callable[[], None]:
    def change() -> None:
        text = Path(path).read_text()
        assert old in text
        Path(path).write_text(text.replace(old, new, 1))

    return change


def test_a_fresh_clone_without_data_is_current(clone: Path) -> None:
    assert check()[0] == 0
    assert not any((clone / name).exists() for name in ("data", "models", ".dvc/cache/files"))


def test_a_checkout_with_data_is_current(checkout: Path) -> None:
    assert check()[0] == 0


NEW_STAGE = "  extra:\n    cmd: touch extra.txt\n    outs: [extra.txt]\n"


@pytest.mark.parametrize(
    ("change", "stage", "reason"),
    [
        (replace("params.yaml", "skill: 0.9", "skill: 0.8"), "learn", "params.yaml: skill modified"),
        (replace("params.yaml", "seed: 0", "seed: 1"), "rows", "params.yaml: seed modified"),
        (replace("code/evaluate.py", "0.06", "0.05"), "evaluate", "code/evaluate.py: modified"),
        (replace("dvc.yaml", "python code/rows.py", "python -B code/rows.py"), "rows", "command: changed"),
        (replace("metrics/evaluate.json", "0.9", "0.99"), "evaluate", "metrics/evaluate.json: modified"),
        (lambda: Path("metrics/evaluate.json").unlink(), "evaluate", "metrics/evaluate.json: missing"),
        (lambda: Path("code/learn.py").unlink(), "learn", "code/learn.py: missing"),
        (replace("dvc.yaml", "stages:\n", "stages:\n" + NEW_STAGE), "extra", "never run"),
    ],
)
def test_changes_without_a_run_are_listed(clone: Path, change, stage: str, reason: str) -> None:
    change()
    code, output = check()
    assert code == 7
    assert "run `dvc repro` and commit" in output
    assert f"  {stage}: {reason}" in output


def test_a_stage_that_was_run_alone_is_found_by_the_recorded_inputs_of_others(checkout: Path, in_git) -> None:
    replace("params.yaml", "skill: 0.9", "skill: 0.8")()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "learn"], check=True)
    in_git(checkout, "commit", "--quiet", "--all", "--message", "only one stage")
    in_git(checkout.parent, "clone", "--quiet", "checkout", "fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(checkout.parent / "fresh")
        code, output = check()
    assert code == 7
    assert "evaluate: models/learner: dvc.lock records one output and another input" in output
    assert "learn:" not in output


def entry(checkout: Path, content: str) -> Path:
    found = [path for path in checkout.glob(".dvc/cache/files/md5/*/*") if path.read_text() == content]
    assert len(found) == 1
    return found[0]


def test_an_intact_cache_is_reported(checkout: Path) -> None:
    code, output = check("--cache")
    assert code == 0
    assert "4 files in the cache are intact" in output


def test_a_damaged_file_that_dvc_trusts_is_listed(checkout: Path) -> None:
    damaged = entry(checkout, "0.9")
    damaged.chmod(0o644)
    damaged.write_text("0.8")
    damaged.chmod(0o444)
    Path("models/learner/skill.txt").unlink()
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "checkout", "--quiet"], check=True)
    assert Path("models/learner/skill.txt").read_text() == "0.8"
    assert "up to date" in subprocess.run([*dvc, "status"], capture_output=True, text=True).stdout
    code, output = check("--cache")
    assert code == 5
    assert "damaged; delete them" in output
    assert f"models/learner/skill.txt (of learn): {damaged}" in output


def test_missing_files_are_listed(checkout: Path) -> None:
    missing = entry(checkout, "0.9")
    missing.unlink()
    listing = next(path for path in checkout.glob(".dvc/cache/files/md5/*/*.dir") if "skill.txt" in path.read_text())
    assert check("--cache")[0] == 5
    listing.unlink()
    code, output = check("--cache")
    assert code == 5
    assert "missing; " in output
    assert f"models/learner (of learn): {listing}" in output
