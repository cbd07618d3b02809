"""The command `compare`: its output for two revisions, and its error messages."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from repflow.cli.app import app

pytestmark = pytest.mark.xdist_group("history")  # which takes a while to make


def compare(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["compare", *arguments])
    assert result.exit_code == code, (result.stdout, result.stderr)
    return result.stderr if code and code != 6 else result.stdout


def comparison_of(*arguments: str) -> dict:
    return json.loads(compare(*arguments, "--format", "json"))


def metric(comparison: dict, name: str) -> dict:
    return next(each for each in comparison["metrics"] if each["name"] == name)


def test_a_fresh_clone_shows_what_became_better_and_why(clone: Path) -> None:
    comparison = comparison_of("base", "main")
    accuracy = metric(comparison, "learner.source.accuracy")
    assert (accuracy["assessment"], accuracy["basis"]) == ("better", "same rows")
    assert accuracy["change"]["low"] > 0
    assert accuracy["change"]["value"] == pytest.approx(accuracy["head"]["value"] - accuracy["base"]["value"])
    gain = metric(comparison, "learner.gain")
    assert (gain["assessment"], gain["basis"]) == ("within noise", "separate intervals")
    assert metric(comparison, "learner.source.ece")["assessment"] == "changed"
    assert comparison["parameters"] == {"skill": {"base": 0.6, "head": 0.9}}
    stages = {each["name"]: each for each in comparison["stages"]}
    assert list(stages) == ["learn", "evaluate", "summary"]
    assert stages["learn"]["parameters"] == ["skill"]
    assert stages["evaluate"]["upstream"] == ["learn"]
    assert not any(each["unexplained"] for each in stages.values())
    assert comparison["notes"] == []
    assert not (clone / ".dvc/cache").exists()


def test_the_page_shows_assessments_stages_parameters_curves_and_confusions(clone: Path) -> None:
    page = compare("base", "main")
    assert page.startswith("## base (")
    assert "**0 worse, 2 better, 1 within noise**; 3 more changed, without a confidence interval." in page
    assert "| `learn` | parameters `skill` | `models/learner`, `plots/curves/learn.tsv` |" in page
    assert "| `skill` | `0.6` | `0.9` |" in page
    chart = page.split("```mermaid\n")[1].split("```")[0]
    base, head = (line for line in chart.splitlines() if line.strip().startswith("line ["))
    assert base.count(",") == head.count(",") == 10
    assert "plots/confusion/learner.source.csv" in page
    assert page.count("<details>") == page.count("</details>")


def test_every_model_stands_beside_the_baseline_on_both_sides(clone: Path) -> None:
    comparison = comparison_of("base", "main")
    own, learner = comparison["baseline"]
    assert own["what"] == "baseline.source.accuracy"
    assert own["base"] == own["head"] == {"value": 0.7, "low": 0.64, "high": 0.76}
    assert learner["what"] == "learner"
    assert learner["head"]["low"] > 0 > learner["base"]["high"]
    assert metric(comparison, "learner.over_baseline")["assessment"] == "better"
    lines = compare("base", "main").split("### Beside the baseline\n\n")[1].split("\n\n")[0].splitlines()
    assert lines[2] == "| baseline.source.accuracy | 0.7 (0.64 to 0.76) | 0.7 (0.64 to 0.76) |"
    base, head = lines[3].split(" | ")[1:]
    assert lines[3].startswith("| `learner` over it | ")
    assert base.endswith(", **below**")
    assert head.endswith(", above |")
    assert "Beside the baseline" in compare("main"), "also where nothing has changed"
    (seeds,) = comparison_of("base,run/base-1,run/base-2", "main,run/better-*")["baseline"][1:]
    assert seeds["base"]["low"] < seeds["base"]["value"] < 0 < seeds["head"]["value"] < seeds["head"]["high"]


def test_without_a_baseline_there_is_no_table_of_it(clone: Path, in_git) -> None:
    for tag in ("base", "main"):
        in_git(clone, "checkout", "--quiet", "-B", f"old-{tag}", tag)
        path = Path("metrics/evaluate.json")
        found = json.loads(path.read_text())
        del found["baseline"], found["learner"]["over_baseline"]
        path.write_text(json.dumps(found))
        in_git(clone, "commit", "--quiet", "--all", "--message", "before there was a baseline")
    assert "### Beside the baseline" not in compare("old-base", "old-main")
    (own, learner) = comparison_of("old-base", "main")["baseline"]
    assert own["base"] is None
    assert learner["base"] is None
    assert "| `learner` over it |  | " in compare("old-base", "main")


def test_worse_ends_with_6_after_the_page_was_written(clone: Path) -> None:
    compare("main", "base")
    compare("main", "base", "--fail-on", "worse", "--output", "out/page.md", code=6)
    assert "**worse**" in Path("out/page.md").read_text()
    compare("base", "main", "--fail-on", "worse")


def test_other_test_rows_are_not_compared_row_by_row(clone: Path) -> None:
    accuracy = metric(comparison_of("base", "run/better-1"), "learner.source.accuracy")
    assert (accuracy["basis"], accuracy["assessment"]) == ("other rows", "better")


def test_confusion_matrices_of_another_run_than_the_metric_are_ignored(clone: Path, in_git) -> None:
    path = Path("plots/confusion/learner.source.csv")
    path.write_text(path.read_text() + "1,1\n" * 100)
    accuracy = metric(comparison_of("base"), "learner.source.accuracy")
    assert accuracy["basis"] == "separate intervals"


def test_the_working_tree_is_compared_as_it_is(clone: Path) -> None:
    assert "No metric changed." in compare("main")
    Path("metrics/evaluate.json").unlink()
    Path("params.yaml").write_text("seed: 0\nskill: 0.95\n")
    comparison = comparison_of("main")
    assert {each["assessment"] for each in comparison["metrics"]} == {"only in base"}
    assert comparison["parameters"] == {"skill": {"base": 0.9, "head": 0.95}}
    stale, missing = comparison["notes"]
    assert "run `dvc repro`" in stale
    assert "`learn`" in stale
    assert "metrics/evaluate.json" in missing


def test_figures_are_drawn_and_shown_on_a_page_of_their_own(clone: Path) -> None:
    assert "mermaid" in compare("base", "main", "--figures", "out/figures")
    page = Path("out/figures/comparison.md").read_text()
    for name in ("curves.learn", "confusion.learner.source.base", "confusion.learner.source.head"):
        assert f"({name}.png)" in page
        with Image.open(f"out/figures/{name}.png") as image:
            assert min(image.size) > 200
    assert "mermaid" not in page


def test_several_seeds_are_compared_by_their_means(clone: Path) -> None:
    for sides in (("base,run/base-1,run/base-2", "main,run/better-*"), ("run/base-[12]", "run/better-?")):
        comparison = comparison_of(*sides)
        accuracy = metric(comparison, "learner.source.accuracy")
        assert (accuracy["basis"], accuracy["assessment"]) == ("seeds", "better")
        assert accuracy["base"]["low"] < accuracy["base"]["value"] < accuracy["base"]["high"]
        assert metric(comparison, "learner.source.ece")["assessment"] == "better"
        assert comparison["parameters"] == {"skill": {"base": 0.6, "head": 0.9}}
        assert comparison["notes"] == []
    assert [each["seed"] for each in comparison["base"]] == [1, 2]
    assert "95 % interval" in compare(*sides)


def test_a_side_that_mixes_more_than_seeds_is_noted(clone: Path) -> None:
    notes = comparison_of("base,main", "run/better-1,run/better-2")["notes"]
    assert len(notes) == 2
    assert "same seed" in notes[0]
    assert "`skill`" in notes[1]


def test_an_experiment_is_a_revision(checkout: Path, in_git) -> None:
    commit = in_git(checkout, "rev-parse", "run/better-1")
    in_git(checkout, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/tried-out", commit)
    assert comparison_of("main", "tried-out")["head"][0]["commit"] == commit
    assert len(comparison_of("main,base", "tried-*,run/base-1")["head"]) == 2


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("bsae",), "bsae: no such branch"),
        (("nothing-*", "main"), "nothing-*: matches no branch"),
        (("base,main", "run/base-1"), "one run cannot be compared with several"),
        (("main,HEAD", "base,run/base-1"), "main and HEAD are the same commit"),
        (("main,", "base"), "name of a revision is empty"),
    ],
)
def test_what_cannot_be_compared_is_a_message(clone: Path, arguments: tuple[str, ...], output: str) -> None:
    assert output in compare(*arguments, code=2)


def test_a_detached_head_and_a_dirty_checkout_compare_as_any_other(clone: Path, in_git) -> None:
    in_git(clone, "checkout", "--quiet", "--detach", "base")
    Path("code/learn.py").write_text("# changed\n")
    comparison = comparison_of("main")
    assert metric(comparison, "learner.source.accuracy")["assessment"] == "worse"
    assert "out of date: `learn`" in comparison["notes"][0]
    assert Path("code/learn.py").read_text() == "# changed\n"
    assert comparison_of("HEAD", "main")["base"][0]["name"] == "HEAD"


def test_no_commit_no_git_and_no_dvc_are_messages(tmp_path: Path, monkeypatch, in_git) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    assert "not in a DVC project" in compare("main", code=2)
    Repo.init(str(tmp_path), no_scm=True).close()
    assert "not in a git repository" in compare("main", code=2)
    (tmp_path / "new").mkdir()
    in_git(tmp_path / "new", "init", "--quiet")
    Repo.init(str(tmp_path / "new")).close()
    monkeypatch.chdir(tmp_path / "new")
    assert "the repository has no commit yet" in compare("main", code=2)


def test_a_shallow_clone_says_how_to_get_the_rest(history: Path, tmp_path: Path, monkeypatch) -> None:
    command = ["git", "clone", "--quiet", "--depth=1", f"file://{history}", str(tmp_path / "shallow")]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path / "shallow")
    assert "git fetch --unshallow" in compare("main~1", code=2)


def test_a_revision_without_a_project_is_a_message(clone: Path, in_git) -> None:
    in_git(clone, "checkout", "--quiet", "-b", "broken")
    Path("dvc.yaml").write_text("stages: [")
    in_git(clone, "commit", "--quiet", "--all", "--message", "broken")
    assert "its DVC project cannot be read" in compare("main", "broken", code=3)


def test_names_from_the_data_cannot_break_the_page(clone: Path, in_git) -> None:
    path = Path("plots/confusion/learner.source.csv")
    path.write_text(path.read_text().replace("3,", "<script>|`,"))
    page = compare("main")
    assert "<script>" not in page
    assert "&lt;script>\\|'" in page
