"""The flow's graph is that of DVC."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo

from graph import read_graph

EDGES = {
    "begin": (),
    "broken": ("begin",),
    "side@left": ("begin",),
    "side@right": ("begin",),
    "after": ("broken",),
    "end": ("side@left", "side@right"),
    "endless": (),
    "full": (),
    "patient": (),
    "behind": ("patient",),
    "preempted": (),
    "validate@source": (),
}


def test_every_stage_is_read_with_its_upstream_stages(project: Path) -> None:
    stages = read_graph(project)
    assert {address: stage.upstream for address, stage in stages.items()} == EDGES
    assert [stages[name].level for name in ("begin", "side@left", "end")] == [0, 1, 2]
    assert stages["end"].metrics == ("metrics/adapt/Train_on.json", "metrics/evaluate.json")
    assert "reports/report.md" in stages["end"].outputs


def test_upstream_stages_come_first(project: Path) -> None:
    order = list(read_graph(project))
    assert all(order.index(before) < order.index(stage) for stage, upstream in EDGES.items() for before in upstream)


def test_addresses_do_not_depend_on_the_working_directory(project: Path, tmp_path: Path) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert set(read_graph(project)) == set(EDGES)
    finally:
        os.chdir(before)


def test_a_target_includes_what_it_depends_on(project: Path) -> None:
    assert set(read_graph(project, ["side@left"])) == {"begin", "side@left"}
    assert set(read_graph(project, ["side", "broken"])) == {"begin", "side@left", "side@right", "broken"}


def test_an_unknown_target_is_reported_with_the_known_ones(project: Path) -> None:
    with pytest.raises(ValueError, match=r"side@middle: no such stage \(there are: after, begin, "):
        read_graph(project, ["side@middle"])


def test_a_stage_that_depends_on_the_hardware_occupies_a_slot_of_its_kind(
    make_project: Callable[..., Path], tmp_path: Path
) -> None:
    graph = "stages: {cheap: {cmd: 'true'}, train: {cmd: 'true', params: [hardware]}}"
    project = make_project(tmp_path, graph)
    assert {address: stage.slot for address, stage in read_graph(project).items()} == {"cheap": "cpu", "train": "cpu"}
    parameters = (project / "params.yaml").read_text().replace("accelerator: cpu", "accelerator: cuda")
    (project / "params.yaml").write_text(parameters)
    assert {address: stage.slot for address, stage in read_graph(project).items()} == {"cheap": "cpu", "train": "gpu"}


def test_a_graph_in_a_folder_of_another_repository_has_addresses_of_its_own(tmp_path: Path) -> None:
    """As benchmarks/zoo: a DVC repository that lies in a checkout, with the graph in a folder of it."""
    folder = tmp_path / "checkout/benchmarks/board"
    folder.mkdir(parents=True)
    Repo.init(str(folder.parent), no_scm=True)
    stage = "{cmd: 'true > ${item.data}-${item.seed}.txt', outs: ['${item.data}-${item.seed}.txt'], matrix: %s}"
    (folder / "dvc.yaml").write_text(f"stages: {{learn: {stage % '{data: [digits, letters], seed: [0, 1]}'}}}")
    found = read_graph(folder)
    assert set(found) == {f"learn@{data}-{seed}" for data in ("digits", "letters") for seed in (0, 1)}
    assert found["learn@digits-1"].outputs == ("digits-1.txt",)
    assert set(read_graph(folder, ["learn@digits-*"])) == {"learn@digits-0", "learn@digits-1"}
    with pytest.raises(ValueError, match=r"learn@numbers-\*: no such stage"):
        read_graph(folder, ["learn@numbers-*"])
