"""What a report is made of, whatever page it stands on: sections of paragraphs, tables and figures, and headlines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from repflow.stages.reporting.style import Picture

_NUMBER = re.compile(r"[+−]?[\d.,]+( %| to [+−\d]| *$)")


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Table:
    """A table; the first column names its lines.

    Attributes:
        header: names of the columns.
        rows: a list of cells each.
        caption: what to look for, and what was measured.
        shade: 0 to 1 for each cell but the first, or None; how strongly the page colours it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    shade: Sequence[Sequence[float | None]] | None = None
    kind: Literal["table"] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether a column but the first holds numbers."""
        columns = list(zip(*self.rows, strict=True))[1:]
        return [False, *(all(_NUMBER.match(cell) for cell in column if cell) for column in columns)]


@dataclass(frozen=True)
class Figure:
    """A picture and what to look for in it."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room.

    Attributes:
        figures: in their order.
        size: how much room each takes: "chart" as much as a small chart, "wide" all there is, "small" half a chart.
        key: colours and what they stand for, as ("source", "source images"); colours are those of the page.
    """

    figures: Sequence[Figure]
    size: Literal["chart", "wide", "small"] = "chart"
    key: Sequence[tuple[str, str]] = ()
    kind: Literal["figures"] = "figures"

    @property
    def columns(self) -> int:
        """How many stand side by side on a wide page."""
        if self.size == "wide":
            return 1
        if self.size == "small":
            return 4
        return 2 if len(self.figures) in (1, 2, 4) else 3

    @property
    def key_in_words(self) -> str:
        """The key for a page without colours of its own."""
        words = {"source": "blue", "target": "orange"}
        return "; ".join(f"{words[colour]}: {name}" for colour, name in self.key if colour in words).capitalize()


@dataclass(frozen=True)
class Headline:
    """A number worth a large letter.

    Attributes:
        value: as it is read.
        what: what was measured.
        note: its interval, and on how much it rests.
    """

    value: str
    what: str
    note: str


Block = Paragraph | Table | Figures


@dataclass(frozen=True)
class Section:
    """A part of the report; one without blocks is left out."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The section's name in a link."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Report:
    """All that the pages show."""

    title: str
    summary: str
    headlines: Sequence[Headline]
    sections: Sequence[Section]

    @property
    def pictures(self) -> list[Picture]:
        """Every picture, once."""
        return [
            figure.picture
            for section in self.sections
            for block in section.blocks
            if isinstance(block, Figures)
            for figure in block.figures
        ]


def percent(share: float) -> str:
    """0.9667 as "96.7 %"."""
    return f"{100 * share:.1f} %"


def between(low: float, high: float) -> str:
    """The ends of an interval of shares, as "93.9 to 98.9 %"."""
    return f"{_sign(100 * low)} to {_sign(100 * high)} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def verdict(gain: float, low: float, high: float) -> str:
    """What an interval says of a gain in shares, as "is better, beyond the interval (+4.1 points, +1.2 to +7.3)"."""
    ends = f"({points(gain)} points, {points(low)} to {points(high)})"
    if low > 0:
        return f"is better, beyond the interval {ends}"
    if high < 0:
        return f"is worse, beyond the interval {ends}"
    return f"cannot be told apart on so many images {ends}"


def _sign(number: float) -> str:
    return f"{number:.1f}".replace("-", "−")


def listed(names: Sequence[str], at_most: int = 12) -> str:
    """Names in a sentence: "a, b and c", or the first ones and how many more there are."""
    if len(names) > at_most:
        return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)
