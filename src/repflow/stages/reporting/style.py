"""How every chart looks, and how it becomes a PNG for Markdown and an SVG for the page.

A chart is drawn once in the colours below. In the SVG each of them turns into a variable of the page's style sheet, and
the letters into the page's own, so that one drawing suits a light and a dark page. Colours of data are from Okabe and
Ito's palette, which colour-blind people can tell apart.
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

INK = "#22262e"
"""Text."""
SOFT = "#666c78"
"""Text that stands back, such as the numbers on an axis."""
RULE = "#dadde3"
"""Lines that help the eye."""
PAPER = "#ffffff"
"""The ground."""
SOURCE = "#0072b2"
"""The source domain, and whatever is the subject of a chart."""
TARGET = "#d55e00"
"""The target domain, and errors."""
QUIET = "#9aa1ad"
"""What the subject is held against."""

_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    RULE: "rule",
    PAPER: "paper",
    SOURCE: "source",
    TARGET: "target",
    QUIET: "quiet",
}

LINES = (SOURCE, TARGET, QUIET)
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
"""Colours of classes, by Petroff (arXiv:2107.02270); they repeat where there are more classes."""

WIDTH = 4.2
"""Width of a chart in inches: at 9 points its letters are legible on a telephone."""
_DPI = 160


@dataclass(frozen=True)
class Picture:
    """A chart or a grid of images.

    Attributes:
        name: of the file `pictures/NAME.png`, and of the figure on the page.
        alt: what it shows, for those who do not see it.
        svg: the chart for the page, "" for a grid of images.
        png: the file's bytes.
        width: on a Markdown page, in pixels.
    """

    name: str
    alt: str
    png: bytes
    svg: str = ""
    width: int = 420

    @property
    def pixels(self) -> bool:
        """Whether it is a grid of images, to be enlarged pixel by pixel."""
        return self.name.startswith(("samples.", "augment.", "pretrain."))

    def write(self, folder: Path) -> None:
        """Write `NAME.png` to `folder`."""
        with writing(folder / f"{self.name}.png") as fresh:
            fresh.write_bytes(self.png)


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib in the report's style, whatever the user prefers elsewhere."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A class may be named in letters that Matplotlib's font lacks; the page shows them in its own.
        warnings.filterwarnings("ignore", message="Glyph")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": "DejaVu Sans",
                "font.size": 9.5,
                "text.color": INK,
                "text.parse_math": False,
                "axes.edgecolor": RULE,
                "axes.labelcolor": SOFT,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.spines.left": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": RULE,
                "grid.linewidth": 0.6,
                "xtick.color": SOFT,
                "ytick.color": SOFT,
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


def picture(name: str, alt: str, figure: "Figure") -> Picture:
    """The finished chart `figure`; the same bytes for the same drawing."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = name
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=_DPI, facecolor=PAPER, metadata={"Software": None})
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    width = round(100 * figure.get_figwidth())
    return Picture(name, alt, png.getvalue(), for_page(svg.getvalue(), name, alt), width)


def for_page(svg: str, name: str, alt: str) -> str:
    """Matplotlib's SVG file as an element of the page.

    Identifiers that only Matplotlib reads go, and those that are referred to get the chart's name, so that no two
    elements of the page share one.
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
