"""The throughput benchmark: its records and tables, and that all implementations do the same work."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import throughput
from repflow.data.store import open_store
from repflow.encoders import Encoder
from repflow.errors import DataError
from repflow.hardware.cpu import PASSIVE
from speed import augmentation, fixmatch, ingest, knn, profile, scaling, simclr, tables, targets, threads
from speed.images import Images, load
from speed.race import Clock, Rival, race
from speed.settings import Settings

BATCH = 4
SETTINGS = Settings(repeats=1, seconds=0, threads=1, workers=0, batch=BATCH, images=24, encoders=("small",))


@pytest.fixture(scope="module")
def images() -> Images:
    """24 pieces of photographs."""
    return load(None, SETTINGS.images, SETTINGS.size)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave PyTorch as it was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def seen() -> Iterator[list[tuple[int, ...]]]:
    """The shapes of what encoders are given."""
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, Encoder):
            shapes.append(tuple(given[0].shape))

    hook = register_module_forward_pre_hook(note)
    yield shapes
    hook.remove()


def test_the_command_records_every_implementation_and_fills_the_blocks_of_a_page(tmp_path: Path) -> None:
    record_file, page = tmp_path / "record.json", tmp_path / "page.md"
    blocks = {name: f"<!-- measured: {name} -->\nold\n<!-- /measured -->\n" for name in ("augmentation", "simclr cuda")}
    page.write_text("above\n" + "".join(blocks.values()) + "below\n")
    options = ["--only", "augmentation", "--repeats", "2", "--seconds", "0", "--images", "8", "--batch", "4"]
    throughput.main([*options, "--json", str(record_file), "--markdown", str(page)])

    record = json.loads(record_file.read_text())
    assert record["command"].startswith("python benchmarks/throughput.py --only augmentation")
    assert str(tmp_path) not in record_file.read_text()
    races = record["sections"]["augmentation"]
    assert [race["name"] for race in races] == ["simclr", "randaugment"]
    for entry in races:
        *others, mine = entry["rivals"]
        assert mine["name"] == "repflow"
        assert "times" not in mine
        assert len(others) >= 3
        for rival in others:
            assert len(rival["rates"]) == 2
            assert rival["times"]["low"] <= rival["times"]["median"] <= rival["times"]["high"]
            assert rival["about"]

    written = page.read_text()
    assert "| torchvision on PIL |" in written
    assert blocks["augmentation"] not in written
    assert written.startswith("above\n")
    assert written.endswith(blocks["simclr cuda"] + "below\n")

    throughput.main(["--read", str(record_file), "--markdown", str(page)])
    assert page.read_text() == written


def test_implementations_alternate_and_ratios_are_computed_round_by_round() -> None:
    order: list[str] = []
    rates = {"theirs": iter([1.0, 2.0, 5.0]), "ours": iter([9.0, 8.0, 10.0])}

    def rival(name: str) -> Rival:
        def run(seconds: float) -> float:
            order.append(name)
            return next(rates[name])

        return Rival(name, "", run)

    found = race("race", "things/s", [rival("theirs"), rival("ours")], repeats=2, seconds=1)
    assert order == ["theirs", "ours"] * 3
    assert found["rivals"][0]["times"] == {"median": 3.0, "low": 2.0, "high": 4.0}


@pytest.mark.parametrize("policy", ["simclr", "randaugment"])
def test_augmentations_give_new_views_of_the_same_shape(policy: str, images: Images) -> None:
    makers: list[Callable[..., augmentation.Act]] = [
        augmentation.torchvision_on_pillow,
        augmentation.torchvision_on_tensors,
        augmentation.repflow,
    ]
    makers += [augmentation.kornia_slices, augmentation.kornia_resampling][: 2 * (policy == "simclr")]
    makers += [augmentation.kornia_randaugment][: policy == "randaugment"]
    for maker in makers:
        act = maker(policy, images, 16)
        first, second = act(0), act(1)
        assert first.shape == second.shape == (16, 3, 32, 32), maker
        assert first.dtype == torch.float32, maker
        rounding = 1e-5  # kornia does not clamp what its resampling rounds above 1
        assert first.min() >= -rounding, maker
        assert first.max() <= 1 + rounding, maker
        assert not torch.equal(first, second), maker


@pytest.mark.parametrize("rival", [simclr.lightly, simclr.bare_loop, simclr.deterministic_bare_loop, simclr.repflow])
def test_simclr_implementations_encode_two_views_of_every_image(
    rival: Callable[..., None], images: Images, seen: list[tuple[int, ...]]
) -> None:
    clock = Clock(1, "cpu")
    rival("small", SETTINGS, images, clock)
    assert clock.steps_per_second > 0
    assert sum(shape[0] for shape in seen) == clock.total * 2 * BATCH
    assert {shape[1:] for shape in seen} == {(3, 32, 32)}


@pytest.mark.parametrize("rival", [fixmatch.torchvision_in_workers, fixmatch.bare_loop, fixmatch.repflow])
def test_fixmatch_implementations_use_labelled_weak_and_strong_views(
    rival: Callable[..., None], images: Images, seen: list[tuple[int, ...]]
) -> None:
    clock = Clock(1, "cpu")
    rival(SETTINGS, images, clock)
    many = BATCH * fixmatch.ratio()
    # repflow passes labelled images and strong views together, after the weak views.
    passes = [many, BATCH + many] if rival is fixmatch.repflow else [BATCH, many, many]
    assert [shape[0] for shape in seen] == clock.total * passes


def test_knn_implementations_predict_the_same() -> None:
    few = load(None, 400, 32)
    features = few.pixels.reshape(400, -1)[:, ::24].astype(np.float32)
    theirs, mine = (make(features, few.labels, 80)(0) for make in (knn.scikit_learn, knn.repflow))
    np.testing.assert_array_equal(theirs, mine)


def test_image_folder_reads_the_same_pixels_as_the_store(tmp_path: Path, images: Images) -> None:
    images.write(tmp_path / "png", "png", 24)
    ingest.repflow({"kind": "folder", "path": "png"}, 32, tmp_path, tmp_path)(0)
    read = ingest.image_folder(tmp_path / "png", 32, 0)(0)
    np.testing.assert_array_equal(read.numpy(), open_store(tmp_path / "store").images)


def test_real_images_come_from_a_folder_and_a_missing_one_is_refused(tmp_path: Path, images: Images) -> None:
    images.write(tmp_path / "png", "png", 24)
    loaded = load(tmp_path / "png", 30, 16)
    assert loaded.pixels.shape == (30, 3, 16, 16)
    assert "24 images of png" in loaded.origin
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        load(tmp_path / "nowhere", 30, 16)


def test_every_part_of_a_step_is_in_the_profile(images: Images) -> None:
    parts = profile.step_profile("small", SETTINGS, images)["shares"]
    named = {"gather", "augment", "encoder, forward", "head and loss", "backward", "optimiser", profile.OWN}
    assert set(parts) == named
    assert sum(parts.values()) == pytest.approx(1, abs=0.01)


def test_each_task_of_scaling_runs_in_its_own_process(tmp_path: Path, images: Images) -> None:
    scaling._prepare(tmp_path / "0", images, 24)
    for work in scaling.WORKS:
        found = scaling._run(work, tmp_path / "0", SETTINGS)
        assert found["peak"] >= found["before"] > 10, work


def test_trainings_start_together_and_are_counted_together(monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    monkeypatch.setattr(threads, "SITUATIONS", {"two trainings at once": (2, 1)})
    found = threads.measure(replace(SETTINGS, seconds=0.2), images)["situations"]["two trainings at once"]
    assert found["spin"]["median"] > 2 * BATCH
    assert found["sleep"]["median"] > 2 * BATCH


def test_the_environments_differ_in_what_idle_threads_do() -> None:
    assert threads.environment(sleep=True).items() >= PASSIVE.items()
    assert not threads.environment(sleep=False).keys() & PASSIVE.keys()


def test_targets_are_reached_missed_or_not_measured() -> None:
    def spread(middle: float) -> dict[str, float]:
        return {"median": middle, "low": 0.9 * middle, "high": 1.1 * middle}

    rivals: list[dict[str, Any]] = [
        {"name": "lightly's recipe", "times": spread(4.0)},
        {"name": "bare loop", "times": spread(0.8)},
    ]
    record = {"machine": {"device": "cpu"}, "sections": {"simclr": [{"name": "small", "rivals": rivals}]}}
    found = {target.what: reading for target, reading in targets.readings([record], targets.TARGETS)}
    against, over = (next(what for what in found if start in what) for start in ("lightly", "overhead"))
    assert found[against] == targets.Reading("4x (3.6 to 4.4)", True)
    assert found[over] == targets.Reading("25.0% (13.6% to 38.9%)", False)
    assert sum(reading is None for reading in found.values()) == len(found) - 2


def test_the_page_has_a_block_for_every_section() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    places = {found["name"] for found in tables.BLOCK.finditer(page)}
    assert {*throughput.SECTIONS, "machine", "targets"} <= places
