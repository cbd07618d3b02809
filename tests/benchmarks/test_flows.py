"""The benchmark of the flows: its checks, and the tables of its records."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flows
from scheduling import graph, isolated, pages, scratch
from speed import tables

PAGE = Path(__file__).parents[2] / "docs" / "flows.md"
GRAPH = "stages: {one: {cmd: echo 1 > one.txt, outs: [one.txt]}}\n"


def spread(middle: float) -> dict[str, float]:
    return {"median": middle, "low": middle - 1, "high": middle + 1}


@pytest.fixture
def record() -> dict[str, Any]:
    """A record that reaches every target."""
    machine = {"processor": "a CPU", "cores": 2, "memory_gigabytes": 8, "load": 0.1, "python": "3", "versions": {}}
    idle = {"dvc": spread(3), "flow": spread(10), "alone": spread(20)}
    by_default = {"stages": 15, "dvc": spread(200), "flow": spread(210), "more": spread(10), "same": True, "idle": idle}
    many: dict[str, Any] = {"runs": 20, "right": 20, "at_once": 2, "seconds": 240.0, "each": spread(20)}
    many |= {"pruning": 3.0, "touched": [], "left": []}
    asleep = {"stages": 4, "seconds": 10.0, "dvc": spread(44), "flow": spread(20)}
    cancelled = {"runs": 3, "training": spread(3), "run": spread(5), "resumed": 2}
    sections = {"graph": by_default, "sleeping": asleep, "cancel": cancelled, "isolated": many}
    return {"command": "python benchmarks/flows.py", "machine": machine, "sections": sections}


def targets(record: dict[str, Any]) -> list[str]:
    """The last column of the table of targets."""
    return [line.split("|")[-2].strip() for line in pages.blocks([record])["targets"].splitlines()[2:]]


def test_a_record_that_reaches_every_target_says_so(record: dict[str, Any]) -> None:
    assert targets(record) == ["yes"] * 7


@pytest.mark.parametrize(
    ("section", "key", "value", "row"),
    [
        ("graph", "more", spread(20.1), 0),
        ("sleeping", "flow", spread(44), 1),
        ("graph", "idle", {"dvc": spread(3), "flow": spread(25.1), "alone": spread(20)}, 2),
        ("cancel", "training", spread(9.5), 3),
        ("cancel", "resumed", 1, 3),
        ("isolated", "right", 19, 4),
        ("isolated", "at_once", 3, 4),
        ("isolated", "touched", ["params.yaml"], 5),
        ("isolated", "left", ["branch run/seed-1"], 6),
    ],
)
def test_a_target_that_is_missed_says_so(
    record: dict[str, Any], section: str, key: str, value: object, row: int
) -> None:
    record["sections"][section][key] = value
    assert [number for number, reached in enumerate(targets(record)) if reached == "no"] == [row]


def test_a_section_that_was_not_measured_has_no_result(record: dict[str, Any]) -> None:
    del record["sections"]["graph"]
    assert targets(record) == ["", "yes", "", "yes", "yes", "yes", "yes"]
    assert set(pages.blocks([record])) == {"targets", "sleeping", "cancel", "isolated"}


def test_the_page_has_a_place_for_every_section() -> None:
    places = {found["name"] for found in tables.BLOCK.finditer(PAGE.read_text())}
    assert places == {*flows.SECTIONS, "targets"}


@pytest.mark.parametrize(
    ("said", "cached"),
    [
        ("Completed: 15 stages, 1 of them cached", False),
        ("Completed: 15 stages, 14 of them cached", True),
        ("Failed: x", True),
    ],
)
def test_a_flow_run_with_too_many_or_too_few_cached_stages_is_an_error(said: str, cached: bool) -> None:
    with pytest.raises(RuntimeError, match="the flow was to run"):
        graph._stages([said], cached)
    assert graph._stages(["Completed: 15 stages, 15 of them cached", "07:13 | Stopping"], cached=True) == 15


def test_spans_that_touch_are_not_at_once() -> None:
    assert isolated.most_at_once([(0, 2), (1, 3), (2, 4), (3, 5)]) == 2
    assert isolated.most_at_once([(0, 9), (1, 3), (2, 4)]) == 3
    assert isolated.most_at_once([]) == 0


def test_a_command_that_fails_ends_the_measurement_with_its_output(tmp_path: Path) -> None:
    assert scratch.timed(tmp_path, ["sh", "-c", "echo first; echo last"])[1] == ["first", "last"]
    with pytest.raises(RuntimeError, match="exit code 3\nbroken"):
        scratch.timed(tmp_path, ["sh", "-c", "echo broken; exit 3"])


def test_what_a_run_commits_changes_and_leaves_is_found(tmp_path: Path) -> None:
    project = scratch.clone(tmp_path / "clone", GRAPH)
    assert not (project / "metrics").exists()
    assert (project / "flows" / "pipeline.py").exists()
    before = isolated._checkout(project)
    assert isolated._left(project) == []
    assert not isolated._committed(project, 1)

    tree = project / ".repflow" / "runs" / "seed-1"
    scratch.git(project, "worktree", "add", "--quiet", "-b", "run/seed-1", str(tree))
    for name, text in {"params.yaml": "seed: 1", "metrics/evaluate.json": '{"seed": 1}', "dvc.lock": "x"}.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text)
    scratch.commit(tree, "What came out")
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tree, stdin=subprocess.PIPE):
        left = isolated._left(project)
    kinds = {entry.split()[0] for entry in left}
    assert {"branch", "worktree", "process", ".repflow/runs/seed-1"} <= kinds
    assert isolated._committed(project, 1)
    assert isolated._checkout(project) == before

    (tree / "README.md").write_text("touched, too")
    scratch.git(tree, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert not isolated._committed(project, 1)
    (project / "README.md").write_text("touched")
    changed = {name for name, _ in before.items() ^ isolated._checkout(project).items()}
    assert changed == {"README.md", "git status"}
