"""The style of all charts, and their export as PNG for Markdown and as inline SVG for the HTML page.

A chart is drawn once in the colours below. In the SVG, each colour is replaced by a CSS variable and the font by that
of the page, so that the chart fits a light and a dark page. Data colours are from the palette of Okabe and Ito, which
is safe for colour-blind readers.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repflow.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT = "#22262e"
"""Text colour."""
MUTED_TEXT = "#666c78"
"""Colour of secondary text, such as the numbers of an axis."""
GRID = "#dadde3"
"""Colour of grid lines and axes."""
BACKGROUND = "#ffffff"
"""Background colour."""
SOURCE = "#0072b2"
"""Colour of the source domain, and the main colour of other charts."""
TARGET = "#d55e00"
"""Colour of the target domain and of errors."""
REFERENCE = "#9aa1ad"
"""Colour of baselines and reference lines."""

_VARIABLES = {
    TEXT: "ink",
    MUTED_TEXT: "soft",
    GRID: "rule",
    BACKGROUND: "paper",
    SOURCE: "source",
    TARGET: "target",
    REFERENCE: "quiet",
}

LINES = (SOURCE, TARGET, REFERENCE)
"""Colours of several lines in one chart."""

CLASSES = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
"""Colours of classes, by Petroff (arXiv:2107.02270); they repeat if there are more classes."""

WIDTH = 4.2
"""Width of a chart in inches: text of 9 points is legible on a phone screen."""
_DPI = 160


@dataclass(frozen=True)
class Graphic:
    """A chart or a grid of images.

    Attributes:
        name: name of the file `figures/NAME.png`, and of the figure on the page.
        alt: alternative text.
        png: the bytes of the PNG file.
        svg: the chart as inline SVG, "" for a grid of images.
        width: width on a Markdown page, in pixels.
    """

    name: str
    alt: str
    png: bytes
    svg: str = ""
    width: int = 420

    @property
    def pixels(self) -> bool:
        """Whether it is a grid of images, which the page scales without smoothing."""
        return self.name.startswith(("samples.", "augment.", "pretrain."))

    def write(self, folder: Path) -> None:
        """Write `NAME.png` to `folder`."""
        with writing(folder / f"{self.name}.png") as fresh:
            fresh.write_bytes(self.png)


@contextmanager
def report_style() -> Iterator[None]:
    """Matplotlib in the style of the report, independent of the user's own settings."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Class names may have characters that Matplotlib's font lacks; the HTML page uses other fonts.
        warnings.filterwarnings("ignore", message="Glyph")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": "DejaVu Sans",
                "font.size": 9.5,
                "text.color": TEXT,
                "text.parse_math": False,
                "axes.edgecolor": GRID,
                "axes.labelcolor": MUTED_TEXT,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.spines.left": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": GRID,
                "grid.linewidth": 0.6,
                "xtick.color": MUTED_TEXT,
                "ytick.color": MUTED_TEXT,
                "xtick.major.size": 0,
                "ytick.major.size": 0,
                "image.composite_image": False,
                "svg.fonttype": "none",
            }
        )
        yield


def new_axes(height: float, left: float = 0.45, right: float = 0.15, top: float = 0.3, bottom: float = 0.4) -> "Axes":
    """Axes of a chart `WIDTH` inches wide and `height` high, with margins in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    place = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - top - bottom) / height)
    return figure.add_axes(place)


def render_chart(name: str, alt: str, figure: "Figure") -> Graphic:
    """Render the Matplotlib figure of a chart as PNG and SVG; byte-identical for the same figure."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = name
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=_DPI, facecolor=BACKGROUND, metadata={"Software": None})
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    width = round(100 * figure.get_figwidth())
    return Graphic(name, alt, png.getvalue(), inline_svg(svg.getvalue(), name, alt), width)


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Convert Matplotlib's SVG file to inline SVG for the HTML page.

    Unused identifiers are removed, and the others are prefixed with the name of the chart, so that they are unique on
    the page.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)
    svg = re.sub(r'(id="|href="#|url\(#)', lambda found: f"{found[1]}{name.replace('.', '-')}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{_escaped(alt)}"', 1)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
