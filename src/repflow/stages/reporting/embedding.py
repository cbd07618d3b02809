"""Maps: features of test images brought to two dimensions, so that neighbours stay neighbours.

Only labels of the source are shown; the report reads no label of the target.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from repflow.stages.reporting.style import CLASSES, INK, PAPER, SOURCE, TARGET, Picture, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PCA_WIDTH = 50
_TSNE_STEPS = 500


@dataclass(frozen=True)
class Points:
    """Images on a map.

    Attributes:
        places: float [N, 2], between 0 and 1.
        is_target: bool [N].
        labels: int64 [N], -1 for the target.
        images: uint8 [N, channels, size, size].
    """

    places: np.ndarray
    is_target: np.ndarray
    labels: np.ndarray
    images: np.ndarray


def project(features: np.ndarray, method: Literal["tsne", "pca"], perplexity: float, seed: int) -> np.ndarray:
    """Features [N, width] to places [N, 2] between 0 and 1, by the cosines between features.

    t-SNE (van der Maaten, Hinton. JMLR 2008) keeps neighbours together; distances between groups mean little. PCA keeps
    the two directions of largest variance.
    """
    unit = normalize(features)
    width = min(_PCA_WIDTH, *unit.shape)
    # Threads add up their sums in any order, and t-SNE makes much of the last digit.
    with threadpool_limits(1):
        places = PCA(width, svd_solver="full").fit_transform(unit)
        places = np.pad(places, ((0, 0), (0, max(0, 2 - width))))
        if method == "tsne" and len(features) > 5:
            perplexity = min(perplexity, (len(features) - 1) / 3)
            search = TSNE(perplexity=perplexity, max_iter=_TSNE_STEPS, random_state=seed, init="pca", n_jobs=1)
            places = search.fit_transform(places)
    places = places[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    spread: np.ndarray = (places - low) / np.maximum(high - low, 1e-12)
    return spread


def map_with_thumbnails(name: str, alt: str, points: Points, thumbnails: int) -> Picture:
    """A large map: source points in the colours of their classes, target points as rings, and some of the images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 6.0))
    axes = _bare_axes(figure.add_axes((0, 0, 1, 1)))
    colours = np.array(CLASSES)[points.labels % len(CLASSES)]
    target = points.is_target
    x, y = points.places.T
    axes.scatter(x[~target], y[~target], s=26, c=colours[~target], lw=0.5, ec=PAPER)
    axes.scatter(x[target], y[target], s=20, facecolors="none", ec=INK, lw=0.8, alpha=0.75)
    width, height = 0.0332, 0.0332 * 8.4 / 6.0
    for row in spread_out(points.places, thumbnails):
        image = points.images[row]
        place = (x[row] - width / 2, x[row] + width / 2, y[row] - height / 2, y[row] + height / 2)
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else np.repeat(image[0][..., None], 3, axis=2)
        axes.imshow(pixels, extent=place, aspect="auto", interpolation="none", zorder=3)
        edge = INK if target[row] else colours[row]
        axes.plot(
            [place[0], place[1], place[1], place[0], place[0]],
            [place[2], place[2], place[3], place[3], place[2]],
            color=edge,
            lw=1.6,
            zorder=4,
            ls=(0, (2, 1)) if target[row] else "-",
        )
    _frame(axes)
    return picture(name, alt, figure)


def map_of_domains(name: str, alt: str, places: np.ndarray, is_target: np.ndarray) -> Picture:
    """A small map, in which only the domains are told apart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8, 2.4))
    axes = _bare_axes(figure.add_axes((0, 0, 1, 1)))
    for shown, colour in ((~is_target, SOURCE), (is_target, TARGET)):
        axes.scatter(places[shown, 0], places[shown, 1], s=7, color=colour, alpha=0.75, lw=0)
    _frame(axes)
    return picture(name, alt, figure)


def spread_out(places: np.ndarray, count: int) -> list[int]:
    """About `count` rows that cover the map: of each cell of a grid, the point next to the cell's middle."""
    side = max(1, round(np.sqrt(2.2 * count)))
    cells = np.minimum((places * side).astype(int), side - 1)
    distance = ((places * side - cells - 0.5) ** 2).sum(axis=1)
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
