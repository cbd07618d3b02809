"""Embedding maps: features of test images, projected to two dimensions by t-SNE or PCA.

Only source labels are shown; the report reads no target labels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from repflow.stages.reporting.style import BACKGROUND, CLASSES, SOURCE, TARGET, TEXT, Graphic, render_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PCA_WIDTH = 50
_TSNE_STEPS = 500


@dataclass(frozen=True)
class MapPoints:
    """Images on a map.

    Attributes:
        positions: float [N, 2] in [0, 1].
        is_target: bool [N].
        labels: int64 [N], -1 for the target.
        images: uint8 [N, channels, size, size].
    """

    positions: np.ndarray
    is_target: np.ndarray
    labels: np.ndarray
    images: np.ndarray


def project(features: np.ndarray, method: Literal["tsne", "pca"], perplexity: float, seed: int) -> np.ndarray:
    """Project features [N, width] to positions [N, 2] in [0, 1], after normalising them to unit length.

    t-SNE (van der Maaten, Hinton. JMLR 2008) preserves neighbourhoods; distances between clusters mean little. PCA
    keeps the two directions of largest variance.
    """
    unit = normalize(features)
    width = min(_PCA_WIDTH, *unit.shape)
    # The order of sums in several threads is not fixed, and t-SNE amplifies rounding differences.
    with threadpool_limits(1):
        positions = PCA(width, svd_solver="full").fit_transform(unit)
        positions = np.pad(positions, ((0, 0), (0, max(0, 2 - width))))
        if method == "tsne" and len(features) > 5:
            perplexity = min(perplexity, (len(features) - 1) / 3)
            search = TSNE(perplexity=perplexity, max_iter=_TSNE_STEPS, random_state=seed, init="pca", n_jobs=1)
            positions = search.fit_transform(positions)
    positions = positions[:, :2]
    low, high = positions.min(axis=0), positions.max(axis=0)
    spread: np.ndarray = (positions - low) / np.maximum(high - low, 1e-12)
    return spread


def map_with_thumbnails(name: str, alt: str, points: MapPoints, thumbnails: int) -> Graphic:
    """A large map: source points coloured by class, target points as rings, and thumbnails of some images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 6.0))
    axes = _bare_axes(figure.add_axes((0, 0, 1, 1)))
    colours = np.array(CLASSES)[points.labels % len(CLASSES)]
    target = points.is_target
    x, y = points.positions.T
    axes.scatter(x[~target], y[~target], s=26, c=colours[~target], lw=0.5, ec=BACKGROUND)
    axes.scatter(x[target], y[target], s=20, facecolors="none", ec=TEXT, lw=0.8, alpha=0.75)
    width, height = 0.0332, 0.0332 * 8.4 / 6.0
    for row in pick_thumbnails(points.positions, thumbnails):
        image = points.images[row]
        place = (x[row] - width / 2, x[row] + width / 2, y[row] - height / 2, y[row] + height / 2)
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else np.repeat(image[0][..., None], 3, axis=2)
        axes.imshow(pixels, extent=place, aspect="auto", interpolation="none", zorder=3)
        edge = TEXT if target[row] else colours[row]
        axes.plot(
            [place[0], place[1], place[1], place[0], place[0]],
            [place[2], place[2], place[3], place[3], place[2]],
            color=edge,
            lw=1.6,
            zorder=4,
            ls=(0, (2, 1)) if target[row] else "-",
        )
    _frame(axes)
    return render_chart(name, alt, figure)


def map_of_domains(name: str, alt: str, positions: np.ndarray, is_target: np.ndarray) -> Graphic:
    """A small map, coloured by domain."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8, 2.4))
    axes = _bare_axes(figure.add_axes((0, 0, 1, 1)))
    for shown, colour in ((~is_target, SOURCE), (is_target, TARGET)):
        axes.scatter(positions[shown, 0], positions[shown, 1], s=7, color=colour, alpha=0.75, lw=0)
    _frame(axes)
    return render_chart(name, alt, figure)


def pick_thumbnails(positions: np.ndarray, count: int) -> list[int]:
    """About `count` rows that cover the map: in each cell of a grid, the point nearest to the cell's centre."""
    side = max(1, round(np.sqrt(2.2 * count)))
    cells = np.minimum((positions * side).astype(int), side - 1)
    distance = ((positions * side - cells - 0.5) ** 2).sum(axis=1)
    nearest: dict[tuple[int, int], int] = {}
    for row in np.argsort(distance, kind="stable"):
        nearest.setdefault((int(cells[row, 0]), int(cells[row, 1])), int(row))
    return list(nearest.values())[:count]


def _bare_axes(axes: "Axes") -> "Axes":
    axes.set_axis_off()
    return axes


def _frame(axes: "Axes") -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.045, 1.045)
