"""The parts of the report: grids, maps, charts, words."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from repflow.augment.policy import Policy
from repflow.randomness.draws import Draw
from repflow.stages.reporting.charts import Estimate, confusion_chart, interval_chart
from repflow.stages.reporting.content import Table, between, listed, percent, points, verdict
from repflow.stages.reporting.cost_chart import cost_chart, round_numbers, spread
from repflow.stages.reporting.curves import panels
from repflow.stages.reporting.embedding import project, spread_out
from repflow.stages.reporting.grids import augmented, grid_picture, samples_by_class
from repflow.stages.reporting.methods import MethodCard, told_apart
from repflow.stages.reporting.page import escaped
from repflow.stages.reporting.style import drawing, for_page


def test_a_grid_has_its_images_line_by_line() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros((3, 1, 8, 8), np.uint8)
    picture = grid_picture("samples.x", "alt", images, columns=2)
    assert picture.width == 2 * 64 + 4
    with Image.open(io.BytesIO(picture.png)) as image:
        sheet = np.asarray(image)
    assert sheet[[0, 0, 68], [0, 68, 0], 0].tolist() == [0, 1, 2]
    assert sheet.shape == (132, 132, 4)


def test_views_stand_behind_their_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)

    class Invert(Policy):
        def __call__(self, images: torch.Tensor, draw: Draw) -> torch.Tensor:
            return 1 - images

    views = augmented(Invert(()), images, views=2, seed=0, name="invert")
    assert np.array_equal(views, np.stack([images, 255 - images, 255 - images], axis=1).reshape(-1, 3, 8, 8))


def test_samples_stand_in_columns_of_one_class() -> None:
    labels = np.array([2, 0, 0, 1, 2, 2, 0, -1])
    rows = samples_by_class(labels, classes=5, each=2, generator=np.random.default_rng(0))
    assert rows.shape == (2, 2)
    assert (labels[rows] == [0, 2]).all(), "class 1 has too few"
    assert samples_by_class(labels, 1, 2, np.random.default_rng(0)).shape == (2, 1)


def test_thumbnails_cover_the_map() -> None:
    places = np.random.default_rng(0).random((500, 2))
    rows = spread_out(places, 25)
    assert len(rows) == len(set(rows)) == 25
    assert spread_out(places, 0) == []
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    assert sorted(spread_out(corners, 10)) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_groups_stay_groups_on_the_map(method: str) -> None:
    generator = np.random.default_rng(0)
    group = np.arange(60) % 3
    features = 20 * np.eye(3, 12)[group] + generator.normal(size=(60, 12))
    places = project(features, method, 10, seed=0)
    assert places.min() == 0
    assert places.max() == 1
    centres = np.stack([places[group == number].mean(0) for number in range(3)])
    assert (np.linalg.norm(places[:, None] - centres, axis=2).argmin(1) == group).all()
    assert np.array_equal(places, project(features, method, 10, seed=0))


@pytest.mark.parametrize("shape", [(2, 5), (4, 1), (40, 1)])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_few_images_and_narrow_features_have_places_too(method: str, shape: tuple[int, int]) -> None:
    places = project(np.random.default_rng(0).normal(size=shape), method, 30, seed=0)
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_curves_are_parted_into_losses_and_shares() -> None:
    columns = ["step", "loss", "learning_rate", "domain_loss", "accuracy", "domain_accuracy", "validation", "empty"]
    curve = pd.DataFrame([[1, 2, 3, 4, 5, 6, 7, None]], columns=columns)
    assert panels(curve) == (["loss", "domain_loss"], ["validation", "accuracy", "domain_accuracy"])
    assert panels(pd.DataFrame({"step": []})) == ([], [])


def test_numbers_in_words() -> None:
    assert percent(0.96671) == "96.7 %"
    assert points(-0.0417) == "−4.2"
    assert between(-0.01, 0.5) == "−1.0 to 50.0 %"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
    assert listed([str(n) for n in range(20)], at_most=2) == "0, 1 and 18 more"
    assert verdict(0.1, 0.01, 0.2).startswith("is better, beyond the interval")
    assert verdict(-0.1, -0.2, -0.01).startswith("is worse, beyond the interval")
    assert verdict(0.1, 0.0, 0.2) == "cannot be told apart on so many images (+10.0 points, 0.0 to +20.0)"


def test_columns_of_numbers_are_known() -> None:
    table = Table(["a", "b", "c", "d"], [["1", "96.7 %", "−1.0 to 2.0", "SVM 2"], ["2", "", "1.0 to 2.0 %", "x"]])
    assert table.numeric == [False, True, True, False]


def test_names_inside_sentences() -> None:
    def card(name: str) -> MethodCard:
        return MethodCard("", name, "", "", "")

    inside = [card(name).inside for name in ("Source only", "DANN", "SimCLR", "Pseudo-label", "ImageNet start")]
    assert inside == ["source only", "DANN", "SimCLR", "pseudo-label", "ImageNet start"]
    names = [each.name for each in told_apart({"a": card("DANN"), "b": card("DANN"), "c": card("CORAL")}).values()]
    assert names == ["DANN (a)", "DANN (b)", "CORAL"]


def test_text_stays_text_in_markdown() -> None:
    assert escaped("a_b *c* <d> |") == r"a\_b \*c\* \<d\> \|"


def test_charts_of_one_name_are_the_same_and_take_the_colours_of_the_page() -> None:
    def chart() -> str:
        with drawing():
            return interval_chart("x", 'say "x" & <y>', "X", [Estimate("one", 0.5, 0.4, 0.6, 0.45)], "#0072b2").svg

    svg = chart()
    assert svg == chart()
    assert "var(--source)" in svg
    assert "#0072b2" not in svg
    assert 'aria-label="say &quot;x&quot; &amp; &lt;y>"' in svg
    assert "font-family" not in svg


def test_identifiers_in_a_drawing_carry_its_name() -> None:
    svg = (
        '<?xml?><svg width="1pt" height="1pt" viewBox=""><g id="axes_1"><path id="m1" style="fill: #22262e"/>'
        '<use xlink:href="#m1"/></g></svg>'
    )
    assert for_page(svg, "a.b", "A").startswith('<svg role="img" aria-label="A" viewBox="">')
    assert 'id="a-b-m1"' in for_page(svg, "a.b", "A")
    assert 'href="#a-b-m1"' in for_page(svg, "a.b", "A")
    assert "axes_1" not in for_page(svg, "a.b", "A")


@pytest.mark.parametrize("classes", [1, 3, 45])
def test_confusion_matrices_of_any_size(classes: int) -> None:
    counts = np.eye(classes, dtype=int) * 3
    counts[0, -1] += 2
    with drawing():
        drawn = confusion_chart("c", "C", "C", counts, [f"a class with a long name {n}" for n in range(classes)])
    assert drawn.png.startswith(b"\x89PNG")
    assert "a class …" in drawn.svg
    assert "a class with" not in drawn.svg


def test_names_beside_a_chart_stand_apart_in_their_order() -> None:
    heights = [0.5, 0.98, 0.51, 0.99, 0.0]
    moved = spread(heights, gap=0.1)
    assert [sorted(moved).index(place) for place in moved] == [sorted(heights).index(place) for place in heights]
    assert np.diff(sorted(moved)).min() == pytest.approx(0.1)
    assert max(moved) <= 1
    assert spread([0.2, 0.7], gap=0.1) == [0.2, 0.7]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.7, 6.0, [1, 2, 5]), (1e-5, 2e-5, [1e-5, 2e-5]), (3, 4e7, [10, 100, 1e3, 1e4, 1e5, 1e6, 1e7])],
)
def test_an_axis_of_work_is_marked_at_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high) == pytest.approx(expected)


def test_a_chart_of_one_model_and_a_long_name_is_drawn() -> None:
    with drawing():
        chart = cost_chart("cost", "alt", "title", [Estimate("a" * 40, 0.5, 0.5, 0.5)], [1e-6], "work", "#0072b2")
    assert f"{'a' * 19}…" in chart.svg
    assert "a" * 20 not in chart.svg
