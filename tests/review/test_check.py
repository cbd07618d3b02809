"""check: the record is of the code and parameters beside it, and the cache holds what it names."""

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
        (lambda: Path("metrics/evaluate.json").unlink(), "evaluate", "metrics/evaluate.json: not there"),
        (lambda: Path("code/learn.py").unlink(), "learn", "code/learn.py: not there"),
        (replace("dvc.yaml", "stages:\n", "stages:\n" + NEW_STAGE), "extra", "never run"),
    ],
)
def test_what_was_changed_without_a_run_is_named(clone: Path, change, stage: str, reason: str) -> None:
    change()
    code, said = check()
    assert code == 7
    assert "run `dvc repro` and commit" in said
    assert f"  {stage}: {reason}" in said


def test_a_stage_that_was_run_alone_is_found_by_what_others_recorded_of_it(checkout: Path, in_git) -> None:
    replace("params.yaml", "skill: 0.9", "skill: 0.8")()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "learn"], check=True)
    in_git(checkout, "commit", "--quiet", "--all", "--message", "only one stage")
    in_git(checkout.parent, "clone", "--quiet", "checkout", "fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(checkout.parent / "fresh")
        code, said = check()
    assert code == 7
    assert "evaluate: models/learner: dvc.lock records one output and another input" in said
    assert "learn:" not in said


def entry(checkout: Path, content: str) -> Path:
    found = [path for path in checkout.glob(".dvc/cache/files/md5/*/*") if path.read_text() == content]
    assert len(found) == 1
    return found[0]


def test_a_whole_cache_is_told(checkout: Path) -> None:
    code, said = check("--cache")
    assert code == 0
    assert "4 entries of the cache are whole" in said


def test_a_damaged_entry_that_dvc_believes_is_named(checkout: Path) -> None:
    damaged = entry(checkout, "0.9")
    damaged.chmod(0o644)
    damaged.write_text("0.8")
    damaged.chmod(0o444)
    Path("models/learner/skill.txt").unlink()
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "checkout", "--quiet"], check=True)
    assert Path("models/learner/skill.txt").read_text() == "0.8"
    assert "up to date" in subprocess.run([*dvc, "status"], capture_output=True, text=True).stdout
    code, said = check("--cache")
    assert code == 5
    assert "damaged, remove them" in said
    assert f"models/learner/skill.txt (of learn): {damaged}" in said


def test_missing_entries_are_named(checkout: Path) -> None:
    missing = entry(checkout, "0.9")
    missing.unlink()
    listing = next(path for path in checkout.glob(".dvc/cache/files/md5/*/*.dir") if "skill.txt" in path.read_text())
    assert check("--cache")[0] == 5
    listing.unlink()
    code, said = check("--cache")
    assert code == 5
    assert "`dvc pull` fetches them" in said
    assert f"models/learner (of learn): {listing}" in said
