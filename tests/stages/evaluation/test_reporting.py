"""The parts of the report: image grids, maps, charts, and the wording of numbers."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from repflow.augment.policy import Policy
from repflow.randomness.draws import Draw
from repflow.stages.method_cards import MethodCard, with_unique_names
from repflow.stages.reporting.charts import Estimate, confusion_chart, interval_chart
from repflow.stages.reporting.content import Table, between, describe_gain, join_names, percent, points
from repflow.stages.reporting.cost_chart import cost_chart, round_ticks, spread_labels
from repflow.stages.reporting.curves import panels
from repflow.stages.reporting.embedding import pick_thumbnails, project
from repflow.stages.reporting.grids import augmented_views, grid_graphic, samples_by_class
from repflow.stages.reporting.page import escaped
from repflow.stages.reporting.style import inline_svg, report_style


def test_a_grid_has_its_images_row_by_row() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros((3, 1, 8, 8), np.uint8)
    render_chart = grid_graphic("samples.x", "alt", images, columns=2)
    assert render_chart.width == 2 * 64 + 4
    with Image.open(io.BytesIO(render_chart.png)) as image:
        sheet = np.asarray(image)
    assert sheet[[0, 0, 68], [0, 68, 0], 0].tolist() == [0, 1, 2]
    assert sheet.shape == (132, 132, 4)


def test_views_follow_their_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)

    class Invert(Policy):
        def __call__(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
            return 1 - images

    views = augmented_views(Invert(()), images, views=2, seed=0, name="invert")
    assert np.array_equal(views, np.stack([images, 255 - images, 255 - images], axis=1).reshape(-1, 3, 8, 8))


def test_samples_have_one_class_per_column() -> None:
    labels = np.array([2, 0, 0, 1, 2, 2, 0, -1])
    rows = samples_by_class(labels, classes=5, each=2, generator=np.random.default_rng(0))
    assert rows.shape == (2, 2)
    assert (labels[rows] == [0, 2]).all(), "class 1 has too few"
    assert samples_by_class(labels, 1, 2, np.random.default_rng(0)).shape == (2, 1)


def test_thumbnails_cover_the_map() -> None:
    positions = np.random.default_rng(0).random((500, 2))
    rows = pick_thumbnails(positions, 25)
    assert len(rows) == len(set(rows)) == 25
    assert pick_thumbnails(positions, 0) == []
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    assert sorted(pick_thumbnails(corners, 10)) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_clusters_stay_clusters_on_the_map(method: str) -> None:
    generator = np.random.default_rng(0)
    group = np.arange(60) % 3
    features = 20 * np.eye(3, 12)[group] + generator.normal(size=(60, 12))
    positions = project(features, method, 10, seed=0)
    assert positions.min() == 0
    assert positions.max() == 1
    centres = np.stack([positions[group == number].mean(0) for number in range(3)])
    assert (np.linalg.norm(positions[:, None] - centres, axis=2).argmin(1) == group).all()
    assert np.array_equal(positions, project(features, method, 10, seed=0))


@pytest.mark.parametrize("shape", [(2, 5), (4, 1), (40, 1)])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_few_images_and_few_features_are_projected_too(method: str, shape: tuple[int, int]) -> None:
    positions = project(np.random.default_rng(0).normal(size=shape), method, 30, seed=0)
    assert positions.shape == (shape[0], 2)
    assert np.isfinite(positions).all()


def test_curves_are_divided_into_losses_and_shares() -> None:
    columns = ["step", "loss", "learning_rate", "domain_loss", "accuracy", "domain_accuracy", "validation", "empty"]
    curve = pd.DataFrame([[1, 2, 3, 4, 5, 6, 7, None]], columns=columns)
    assert panels(curve) == (["loss", "domain_loss"], ["validation", "accuracy", "domain_accuracy"])
    assert panels(pd.DataFrame({"step": []})) == ([], [])


def test_numbers_in_words() -> None:
    assert percent(0.96671) == "96.7 %"
    assert points(-0.0417) == "−4.2"
    assert between(-0.01, 0.5) == "−1.0 to 50.0 %"
    assert join_names(["a", "b", "c"]) == "a, b and c"
    assert join_names(["a"]) == "a"
    assert join_names([str(n) for n in range(20)], at_most=2) == "0, 1 and 18 more"
    assert describe_gain(0.1, 0.01, 0.2).startswith("is significantly better")
    assert describe_gain(-0.1, -0.2, -0.01).startswith("is significantly worse")
    assert describe_gain(0.1, 0.0, 0.2) == "is not significantly different (+10.0 points, 0.0 to +20.0)"


def test_columns_of_numbers_are_detected() -> None:
    table = Table(["a", "b", "c", "d"], [["1", "96.7 %", "−1.0 to 2.0", "SVM 2"], ["2", "", "1.0 to 2.0 %", "x"]])
    assert table.numeric == [False, True, True, False]


def test_names_inside_sentences() -> None:
    def card(name: str) -> MethodCard:
        return MethodCard("", name, "", "", "")

    names = [
        card(name).name_in_sentence for name in ("Source only", "DANN", "SimCLR", "Pseudo-label", "ImageNet start")
    ]
    assert names == ["source only", "DANN", "SimCLR", "pseudo-label", "ImageNet start"]
    names = [
        each.name for each in with_unique_names({"a": card("DANN"), "b": card("DANN"), "c": card("CORAL")}).values()
    ]
    assert names == ["DANN (a)", "DANN (b)", "CORAL"]


def test_markdown_characters_are_escaped() -> None:
    assert escaped("a_b *c* <d> |") == r"a\_b \*c\* \<d\> \|"


def test_charts_are_deterministic_and_use_the_colours_of_the_page() -> None:
    def chart() -> str:
        with report_style():
            return interval_chart("x", 'say "x" & <y>', "X", [Estimate("one", 0.5, 0.4, 0.6, 0.45)], "#0072b2").svg

    svg = chart()
    assert svg == chart()
    assert "var(--source)" in svg
    assert "#0072b2" not in svg
    assert 'aria-label="say &quot;x&quot; &amp; &lt;y>"' in svg
    assert "font-family" not in svg


def test_identifiers_in_an_svg_start_with_the_name_of_the_chart() -> None:
    svg = (
        '<?xml?><svg width="1pt" height="1pt" viewBox=""><g id="axes_1"><path id="m1" style="fill: #22262e"/>'
        '<use xlink:href="#m1"/></g></svg>'
    )
    assert inline_svg(svg, "a.b", "A").startswith('<svg role="img" aria-label="A" viewBox="">')
    assert 'id="a-b-m1"' in inline_svg(svg, "a.b", "A")
    assert 'href="#a-b-m1"' in inline_svg(svg, "a.b", "A")
    assert "axes_1" not in inline_svg(svg, "a.b", "A")


@pytest.mark.parametrize("classes", [1, 3, 45])
def test_confusion_matrices_of_any_size(classes: int) -> None:
    counts = np.eye(classes, dtype=int) * 3
    counts[0, -1] += 2
    with report_style():
        drawn = confusion_chart("c", "C", "C", counts, [f"a class with a long name {n}" for n in range(classes)])
    assert drawn.png.startswith(b"\x89PNG")
    assert "a class …" in drawn.svg
    assert "a class with" not in drawn.svg


def test_labels_of_a_chart_do_not_overlap_and_keep_their_order() -> None:
    heights = [0.5, 0.98, 0.51, 0.99, 0.0]
    moved = spread_labels(heights, gap=0.1)
    assert [sorted(moved).index(place) for place in moved] == [sorted(heights).index(place) for place in heights]
    assert np.diff(sorted(moved)).min() == pytest.approx(0.1)
    assert max(moved) <= 1
    assert spread_labels([0.2, 0.7], gap=0.1) == [0.2, 0.7]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.7, 6.0, [1, 2, 5]), (1e-5, 2e-5, [1e-5, 2e-5]), (3, 4e7, [10, 100, 1e3, 1e4, 1e5, 1e6, 1e7])],
)
def test_the_ticks_of_compute_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(expected)


def test_a_chart_of_one_model_and_a_long_name_is_drawn() -> None:
    with report_style():
        chart = cost_chart("cost", "alt", "title", [Estimate("a" * 40, 0.5, 0.5, 0.5)], [1e-6], "work", "#0072b2")
    assert f"{'a' * 19}…" in chart.svg
    assert "a" * 20 not in chart.svg
