"""Ingestion on a real Dask cluster: the bytes of one machine, whichever worker decodes a shard, and though one dies."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from distributed import LocalCluster
from PIL import Image

from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.errors import ParameterError, RepflowError
from repflow.schema import build
from repflow.stages import ingest as stage
from repflow.stages import on_dask

pytestmark = pytest.mark.xdist_group("prefect")
VALUES = {
    "size": 16,
    "channels": 3,
    "resize": "crop",
    "source": {"kind": "folder", "path": "set"},
    "target": {"kind": "none"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two workers in processes of their own, which find this folder's modules."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)  # which workers inherit, those that take the place of a dead one, too
    try:
        with LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as started:
            yield started
    finally:
        sys.path.remove(folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with forty images, one of them damaged."""
    draw = np.random.default_rng(0)
    for number in range(40):
        place = tmp_path / "set" / "ab"[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(place)
    place.write_bytes(b"damaged")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "data": VALUES}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def alone(project: Path) -> dict[str, bytes]:
    ingest(build(DataConfig, VALUES, "test"), "source", 0, project, project / "alone")
    return content(project / "alone")


def test_the_stage_decodes_on_the_cluster_that_the_environment_names(
    project: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(project)
    monkeypatch.setenv("REPFLOW_DASK", cluster.scheduler_address)
    monkeypatch.setattr("repflow.data.ingest.decoders.decode_shard", None)  # nothing is decoded here
    stage.run("source")
    assert content(project / "data/stores/source") == expected


def test_a_shard_whose_worker_dies_is_decoded_by_another(
    project: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = importlib.import_module("dying_worker")
    expected = alone(project)
    monkeypatch.setattr(on_dask, "decode_there", dying.Decode(project / "death"))

    def decoders(shards: int, movable: bool) -> Any:
        return on_dask.dask_decoders(cluster.scheduler_address, shards, movable)

    config = build(DataConfig, VALUES, "test")
    ingest(config, "source", 0, project, project / "store", open_decoders=decoders, shard=3)
    assert (project / "death").exists()
    assert content(project / "store") == expected
    sys.modules.pop("dying_worker")


def test_files_that_a_worker_does_not_see_are_decoded_here(
    project: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dying = importlib.import_module("dying_worker")
    expected = alone(project)
    monkeypatch.setattr(on_dask, "decode_there", dying.decode_without_files)

    def decoders(shards: int, movable: bool) -> Any:
        return on_dask.dask_decoders(cluster.scheduler_address, shards, movable)

    config = build(DataConfig, VALUES, "test")
    ingest(config, "source", 0, project, project / "store", open_decoders=decoders, shard=30)
    assert "a worker could not read a/00.png: no such file; trying here" in caplog.text
    assert content(project / "store") == expected
    sys.modules.pop("dying_worker")


def test_a_worker_with_other_code_is_refused() -> None:
    with pytest.raises(RepflowError, match=r"code or libraries of the worker differ from those of `ingest`"):
        on_dask.decode_there("other", [], build(DataConfig, VALUES, "test").form)


def test_a_cluster_that_is_not_there_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setenv("REPFLOW_DASK", "tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ParameterError, match=r"REPFLOW_DASK: tcp://127\.0\.0\.1:9: no Dask scheduler there"),
    ):
        stage.run("source")
