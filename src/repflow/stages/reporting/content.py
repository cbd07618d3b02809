"""The content of a report, independent of its format: key results, and sections of paragraphs, tables and figures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from repflow.stages.reporting.style import Graphic

_NUMBER = re.compile(r"[+−]?[\d.,]+( %| to [+−\d]| *$)")


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Table:
    """A table; its first column contains the row headers.

    Attributes:
        header: names of the columns.
        rows: the cells of every row.
        caption: what was measured.
        shade: strength of the background colour of each cell, 0 to 1 or None; None for no colours.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    shade: Sequence[Sequence[float | None]] | None = None
    kind: Literal["table"] = "table"

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether it contains numbers; false for the first."""
        columns = list(zip(*self.rows, strict=True))[1:]
        return [False, *(all(_NUMBER.match(cell) for cell in column if cell) for column in columns)]


@dataclass(frozen=True)
class Figure:
    """A graphic with its caption."""

    graphic: Graphic
    caption: str


@dataclass(frozen=True)
class Figures:
    """A group of figures, side by side if the page is wide enough.

    Attributes:
        figures: the figures in order.
        size: width of each figure: "chart" for a chart, "wide" for the full width, "small" for half of a chart.
        key: the legend, pairs of a colour name of the page and a label, as ("source", "source images").
    """

    figures: Sequence[Figure]
    size: Literal["chart", "wide", "small"] = "chart"
    key: Sequence[tuple[str, str]] = ()
    kind: Literal["figures"] = "figures"

    @property
    def columns(self) -> int:
        """The number of columns on a wide page."""
        if self.size == "wide":
            return 1
        if self.size == "small":
            return 4
        return 2 if len(self.figures) in (1, 2, 4) else 3

    @property
    def key_text(self) -> str:
        """The legend as text, for Markdown."""
        words = {"source": "blue", "target": "orange"}
        return "; ".join(f"{words[colour]}: {name}" for colour, name in self.key if colour in words).capitalize()


@dataclass(frozen=True)
class Headline:
    """A key result, shown in large type.

    Attributes:
        value: the formatted value.
        what: what was measured.
        note: its confidence interval, and the number of images.
    """

    value: str
    what: str
    note: str


Block = Paragraph | Table | Figures


@dataclass(frozen=True)
class Section:
    """A section of the report; sections without blocks are left out."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The anchor of links to the section."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Report:
    """The complete content of the report."""

    title: str
    summary: str
    headlines: Sequence[Headline]
    sections: Sequence[Section]

    @property
    def graphics(self) -> list[Graphic]:
        """The graphics of all figures."""
        return [
            figure.graphic
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figures)
            for figure in block.figures
        ]


def percent(share: float) -> str:
    """0.9667 as "96.7 %"."""
    return f"{100 * share:.1f} %"


def between(low: float, high: float) -> str:
    """An interval of shares in per cent, as "93.9 to 98.9 %"."""
    return f"{_sign(100 * low)} to {_sign(100 * high)} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with a sign."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def describe_gain(gain: float, low: float, high: float) -> str:
    """A gain with its confidence interval in words, as "is significantly better (+4.1 points, +1.2 to +7.3)"."""
    ends = f"({points(gain)} points, {points(low)} to {points(high)})"
    if low > 0:
        return f"is significantly better {ends}"
    if high < 0:
        return f"is significantly worse {ends}"
    return f"is not significantly different {ends}"


def _sign(number: float) -> str:
    return f"{number:.1f}".replace("-", "−")


def join_names(names: Sequence[str], at_most: int = 12) -> str:
    """Names joined for a sentence: "a, b and c", or the first ones and the number of the others."""
    if len(names) > at_most:
        return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)
