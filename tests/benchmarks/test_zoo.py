"""The leaderboard: every method is an entry, and its tables match the metrics."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.repo import Repo
from torch import nn

from repflow.data.read.rows import Domain
from repflow.data.watched import check_watched
from repflow.encoders import Classifier, build_encoder
from repflow.evaluation.linear_probe import LinearConfig
from repflow.evaluation.probes import ProbeConfig
from repflow.fingerprints import closure
from repflow.methods import registry
from repflow.randomness.draws import seeded
from repflow.stages.learning import check_method
from repflow.training.cost import Meter
from zoo import CEILING, FLOOR, HERE, LONG, classical, code, compose, floor_of, is_floor, learn, scatter_plot, table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, Any]]:
    """Data set to the sections of its entries."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(HERE.glob("settings/*/*.yaml")):
        found.setdefault(path.parent.name, {})[path.stem] = yaml.safe_load(path.read_text())["method"]
    return found


def test_every_method_is_measured_on_each_data_set(settings: dict[str, dict[str, Any]]) -> None:
    names = {path.stem for path in (ROOT / "conf/pretrain").glob("*.yaml")} | {FLOOR, CEILING}
    own = {
        name
        for name in names
        if settings["digits"].get(name, {}).get("encoder") != settings["digits"][FLOOR]["encoder"]
    }
    assert own == {
        path.stem for path in (ROOT / "conf/pretrain").glob("*.yaml") if "encoder" in yaml.safe_load(path.read_text())
    }
    assert {"masked_autoencoder", "split_brain"} < own
    names |= {floor_of(name) for name in own}
    for name in own:
        assert settings["digits"][floor_of(name)]["encoder"] == settings["digits"][name]["encoder"]
    params = yaml.safe_load((HERE / "params.yaml").read_text())
    assert set(params["methods"]) == names
    assert set(settings) == set(compose.IMAGES)
    assert set(params["data"]) == {data for data in compose.IMAGES if not data.endswith(LONG)}
    assert all(set(sections) == names for sections in settings.values())


def test_the_written_settings_are_composed_from_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "HERE", tmp_path)
    (tmp_path / "settings/digits").mkdir(parents=True)
    (tmp_path / "settings/digits/of_old.yaml").touch()
    compose.main()
    written = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.glob("**/*.yaml")}
    assert set(written) == {path.relative_to(HERE) for path in HERE.glob("**/*.yaml")} - {Path("dvc.yaml")}
    for path, text in written.items():
        assert (HERE / path).read_text() == text, f"{path}: run `python -m zoo.compose` in benchmarks/"


def test_the_main_pipeline_does_not_include_the_leaderboard() -> None:
    with Repo(str(ROOT)) as project, Repo(str(HERE.parent)) as benchmarks:
        assert not [stage.addressing for stage in project.index.stages if "zoo" in stage.path_in_repo]
        assert {stage.path_in_repo for stage in benchmarks.index.stages} == {"zoo/dvc.yaml"}


def test_the_data_are_prepared_again_if_their_code_changed() -> None:
    graph = yaml.safe_load((HERE / "dvc.yaml").read_text())
    commands = graph["stages"]["prepare"]["do"]["cmd"].split(" && ")
    assert {f"repflow.stages.{command.split()[1]}" for command in commands} == code.PREPARE


def test_the_data_of_the_leaderboard_can_be_read_and_do_not_depend_on_a_label_budget() -> None:
    for data in (each for each in compose.IMAGES if not each.endswith(LONG)):
        params = yaml.safe_load((HERE / data / "params.yaml").read_text())
        for name in ("source", "target"):
            check_watched(params["data"], name)  # the paths there are relative to a folder of the leaderboard
        assert params["split"]["validation_within_budget"] is False


def test_the_baseline_is_a_stage_with_its_own_code() -> None:
    stages = yaml.safe_load((HERE / "dvc.yaml").read_text())["stages"]
    assert stages["classical"]["matrix"]["features"] == list(classical.FEATURES)
    modules = code.code_of(code.CLASSICAL)
    assert {"zoo.classical", "repflow.encoders.classical", "repflow.evaluation.linear_probe"} <= set(modules)


@pytest.mark.parametrize("name", list(classical.FEATURES))
def test_the_baseline_is_read_with_few_labels_and_with_all(domain: Domain, name: str) -> None:
    first, other = (classical.read(LinearConfig(), classical.FEATURES[name], domain, seed) for seed in (0, 1))
    assert np.array_equal(first["linear"], other["linear"]), "all labels are the same with every seed"
    assert first["linear"].shape == (40,)
    colours = name == "colour_histogram"  # of grey digits: how dark they are, and no more
    assert (0.1 if colours else 0.3) < first["linear_few"].mean() <= 1
    assert first["linear"].mean() > (0.15 if colours else 0.6)


def test_the_table_has_the_baseline_beside_the_methods_without_neighbours_and_clusters(tmp_path: Path) -> None:
    for seed, shift in enumerate((-0.01, 0.01)):
        run(tmp_path, FLOOR, seed, 0.5 + shift)
        run(tmp_path, "good", seed, 0.8 + shift)
        path = tmp_path / f"metrics/digits/hog-{seed}.json"
        path.write_text(json.dumps({"linear": 0.7, "linear_few": 0.4 + shift, "images": 0, "flops": 0}))
    found = table.read(tmp_path)
    lines = table.table(found).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == ["good", "hog", FLOOR]
    assert lines[1] == "| `hog` |  |  | 0.400 ± 0.010 | 0.700 ± 0.000 |  |  |  | 0 |  |  |"
    assert "| `hog` |  | 0.700 ± 0.000 |  |" in table.short(found)
    assert "Images seen by each method: 40,000." in table.conditions(found)


def test_every_method_has_the_same_training_budget(settings: dict[str, dict[str, Any]]) -> None:
    for data, sections in settings.items():
        for name, section in sections.items():
            seen = section["training"]["steps"] * section["training"]["batch_size"]
            wanted = 0 if is_floor(name) else compose.IMAGES[data]
            assert wanted - section["training"]["batch_size"] < seen <= wanted


def test_an_entry_depends_on_every_method_that_it_uses(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[str] = set()

    def spy(name: str) -> Any:
        made.add(name)
        return importlib.import_module(name)

    monkeypatch.setattr(registry, "importlib", SimpleNamespace(import_module=spy))
    for name, modules in code.roots(HERE / "settings").items():
        section = settings["digits"][name]
        if is_floor(name):
            continue
        kind, config, read = check_method(section, name)
        with seeded(0, "weights"):
            encoder: Any = build_encoder(read.encoder, 3, 32)
            kind(config, Classifier(encoder, nn.Linear(1, 1)) if name == CEILING else encoder)
        assert made
        assert made <= set(closure(modules, code.SOURCE)), name
        made.clear()


def test_a_changed_method_retrains_only_the_methods_that_use_it() -> None:
    needs = {name: code.code_of(modules) for name, modules in code.roots(HERE / "settings").items()}

    def affected(module: str) -> set[str]:
        return {name for name, modules in needs.items() if module in modules}

    assert not [file for modules in needs.values() for file in modules if "/" in file]
    assert affected("repflow.methods.pretext.gan") == {"gan", "self_supervised_gan"}
    assert affected("repflow.methods.pretext.rotation") == {
        "rotation",
        "bag_of_visual_words",
        "mixture_of_pretext_tasks",
    }
    assert affected("repflow.methods.parts.mixtures.gaussians") == {"deep_dpm"}
    for everywhere in ("repflow.training.loop", "repflow.evaluation.knn", "repflow.randomness.draws", "zoo.learn"):
        assert affected(everywhere) == set(needs)


@pytest.fixture
def domain(digits_domain: Callable[[int, int, int], Domain]) -> Domain:
    """160 digits."""
    return digits_domain(100, 20, 40)


@pytest.mark.parametrize("name", [FLOOR, floor_of("split_brain"), CEILING, "simclr"])
def test_an_entry_is_trained_and_evaluated(settings: dict[str, Any], domain: Domain, name: str) -> None:
    section = settings["digits"][name]
    steps = 0 if is_floor(name) else 2
    values = {**section, "training": {**section["training"], "steps": steps, "batch_size": 16}}
    meter = Meter()
    encoder, method = learn.learn(values, domain, name, 0, meter)
    found, right = learn.read(ProbeConfig(), encoder, method, domain, 0)
    assert set(found) == {"knn", "linear", "linear_few", "neighbours", "chosen", "rows", "clusters"}
    assert all(0 <= found[each] <= 1 for each in ("knn", "linear", "linear_few"))
    assert {name: each.shape for name, each in right.items()} == dict.fromkeys(
        ("knn", "linear", "chosen_knn", "chosen_linear"), (found["rows"],)
    )
    assert meter.cost().images == steps * 16
    assert not encoder.training


def test_only_the_upper_baseline_is_trained_with_labels(
    settings: dict[str, Any], domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def spy(method: Any, rows: Any, *arguments: Any, **named: Any) -> None:
        seen[named["title"]] = {int(label) for each in rows.values() for label in each.labels}

    monkeypatch.setattr(learn, "train", spy)
    for name in (CEILING, "simclr"):
        learn.learn(settings["digits"][name], domain, name, 0, Meter())
    assert seen == {CEILING: set(range(10)), "simclr": {-1}}


def run(
    folder: Path, name: str, seed: int, knn: float, own: dict[str, Any] | None = None, linear: float | None = None
) -> None:
    path = folder / "metrics" / "digits" / f"{name}-{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    k_means = {"acc": 0.5, "nmi": 0.4, "ari": 0.3}
    values = {
        "knn": knn,
        "linear": knn if linear is None else linear,
        "linear_few": knn / 2,
        "chosen": {"knn": knn + 0.02, "linear": knn + 0.03},
        "rows": 1000,
        "clusters": {"k_means": k_means, **({"own": own} if own else {})},
        "flops": 2e12,
        "images": 40_000,
    }
    path.write_text(json.dumps(values))
    cost = folder / "costs" / "digits" / path.name
    cost.parent.mkdir(parents=True, exist_ok=True)
    cost.write_text(json.dumps({"seconds": 30.0, "machine": "a CPU, 2 threads"}))


def test_the_table_sorts_methods_and_shows_which_exceed_random_weights(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    easy = generator.random(1000)
    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        for name, accuracy in ((FLOOR, 0.5), ("good", 0.8), ("close", 0.502)):
            run(tmp_path, name, seed, accuracy + shift)
            right = easy + 0.1 * generator.standard_normal(1000) < accuracy + shift
            file = tmp_path / f"right/digits/{name}-{seed}.safetensors"
            learn.write_right(file, {"chosen_knn": right, "chosen_linear": right})
    lines = table.table(table.read(tmp_path), tmp_path / "right").splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["good", "close", FLOOR]
    assert lines[2].startswith("| `good` | 0.800 ± 0.006 | 0.820 ± 0.006 | 0.400 ± 0.003 | 0.800 ± 0.006 | 0.830 ±")
    assert lines[2].endswith("| 2 | 30 | yes |")
    assert re.search(r"\| no \(kNN by .* ± .* points, linear by .* points\) \|$", lines[3])
    assert lines[4].endswith("| 30 |  |")


def test_the_short_table_has_the_same_order_and_numbers(tmp_path: Path) -> None:
    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        run(tmp_path, FLOOR, seed, 0.5 + shift)
        run(tmp_path, "good", seed, 0.4 + shift, linear=0.8 + shift)
    found = table.read(tmp_path)
    assert table.ordered(found) == ["good", FLOOR], "by the linear probe, not by the neighbours"
    assert table.short(found).splitlines()[2:] == [
        "| `good` | 0.400 ± 0.006 | 0.800 ± 0.006 | 30 |",
        f"| `{FLOOR}` | 0.500 ± 0.006 | 0.500 ± 0.006 | 30 |",
    ]


def test_clusters_of_a_method_are_compared_with_k_means(tmp_path: Path) -> None:
    run(tmp_path, "simclr", 0, 0.5)
    assert table.clusters(table.read(tmp_path)) == ""
    for seed in (0, 1):
        run(tmp_path, "deep_dpm", seed, 0.5, {"acc": 0.6, "nmi": 0.5 + seed / 50, "ari": 0.4, "clusters": 9 + seed})
    (line,) = table.clusters(table.read(tmp_path)).splitlines()[2:]
    own, k_means = "0.600 ± 0.000 | 0.510 ± 0.010 | 0.400 ± 0.000", "0.500 ± 0.000 | 0.400 ± 0.000 | 0.300 ± 0.000"
    assert line == f"| `deep_dpm` | 9, 10 | {own} | {k_means} |"


def test_the_number_of_clusters_is_shown_by_the_settings_that_it_depends_on(tmp_path: Path) -> None:
    assert table.sensitivity(tmp_path) == ""
    for name, count in (("2000-5", 3), ("16000-5", 12), ("16000-10", 15)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"acc": 0.5, "clusters": count}))
    lines = table.sensitivity(tmp_path).splitlines()
    assert lines[2:] == [
        "| 2,000 | 3 clusters, ACC 0.500 |  |",
        "| 16,000 | 12 clusters, ACC 0.500 | 15 clusters, ACC 0.500 |",
    ]


def test_the_conditions_of_the_measurements_are_below_the_table(tmp_path: Path) -> None:
    for seed in (0, 1):
        run(tmp_path, "good", seed, 0.8)
    conditions = table.conditions(table.read(tmp_path))
    seeds = "Seeds 0, 1; ± is the standard error over seeds."
    assert conditions == f"{seeds} Images seen by each method: 40,000. Seconds on a CPU, 2 threads."


def test_the_pages_are_up_to_date() -> None:
    found = table.read(HERE)
    for path in table.PAGES:
        page = path.read_text(encoding="utf-8")
        assert page == table.filled(page, found), "run `python -m zoo.table` in benchmarks/"
    page = (ROOT / "docs/methods.md").read_text()
    for module in (ROOT / "src/repflow/methods").glob("*/*.py"):
        if module.parent.name in ("pretext", "clustering") and module.stem != "__init__":
            assert f"\n| `{module.stem}` | " in page


@pytest.mark.parametrize("spread", [0.3, 0.003])
def test_labels_in_the_plot_cover_neither_points_nor_each_other(spread: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    generator = np.random.default_rng(0)
    names = [path.stem for path in (ROOT / "conf/pretrain").glob("*.yaml")]
    places = {name: tuple(generator.normal(1, spread, 2)) for name in names}
    axes = Figure(figsize=(11, 8)).subplots()
    axes.plot(*np.transpose(list(places.values())), "o", markersize=4)
    axes.set(xlim=(0, 2), ylim=(0, 2))
    texts = scatter_plot.write_names(axes, places)
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert {text.get_text() for text in texts} == {name.replace("_", " ") for name in names}
    points = axes.transData.transform(list(places.values()))
    for number, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:number])
        assert not any(box.contains(*point) for point in points)
