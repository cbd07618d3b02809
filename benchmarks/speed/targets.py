"""Performance targets, and whether a record reaches them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """The measurement of one target.

    Attributes:
        text: the value with its spread.
        reached: whether the median reaches the target.
    """

    text: str
    reached: bool


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Attributes:
        what: the measured quantity.
        wanted: the minimum or maximum.
        read: reads the quantity from a record; KeyError if it was not measured.
    """

    what: str
    wanted: str
    read: Callable[[Record], Reading]


def readings(records: Sequence[Record], targets: Sequence[Target]) -> list[tuple[Target, Reading | None]]:
    """Every target with its first measurement in the records, None if there is none."""
    return [
        (target, next((found for record in records if (found := _try(target, record))), None)) for target in targets
    ]


def _try(target: Target, record: Record) -> Reading | None:
    try:
        return target.read(record)
    except KeyError:
        return None


def named(entries: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry with the given name."""
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def times(
    section: str, race: str, rivals: Sequence[str], least: float, device: str = "cpu"
) -> Callable[[Record], Reading]:
    """At least `least` times as fast as the fastest of `rivals`."""

    def read(record: Record) -> Reading:
        entries = named(_on(record, device)["sections"][section], race)["rivals"]
        spread = min((named(entries, rival)["times"] for rival in rivals), key=lambda one: one["median"])
        text = f"{spread['median']:.3g}x ({spread['low']:.3g} to {spread['high']:.3g})"
        return Reading(text, spread["median"] >= least)

    return read


def overhead(race: str, rival: str, most: float) -> Callable[[Record], Reading]:
    """At most `most` (a share) slower than `rival`."""

    def read(record: Record) -> Reading:
        spread = named(named(_on(record, "cpu")["sections"]["simclr"], race)["rivals"], rival)["times"]
        low, median, high = (1 / spread[key] - 1 for key in ("high", "median", "low"))
        return Reading(f"{median:.1%} ({low:.1%} to {high:.1%})", median < most)

    return read


def rate(race: str, least: float) -> Callable[[Record], Reading]:
    """repflow's rate on a GPU is at least `least`."""

    def read(record: Record) -> Reading:
        mine = named(named(_on(record, "cuda")["sections"]["simclr"], race)["rivals"], "repflow")
        text = (
            f"{mine['median']:,.0f} views/s ({mine['low']:,.0f} to {mine['high']:,.0f}) on {record['machine']['gpu']}"
        )
        return Reading(text, mine["median"] >= least)

    return read


def memory(work: str, most: float) -> Callable[[Record], Reading]:
    """Twice the images need at most `most` (a share of the added images) more memory besides the images."""

    def read(record: Record) -> Reading:
        scaling = record["sections"]["scaling"]
        half, whole = (spread["median"] for spread in scaling["works"][work]["beyond"])
        fewer, more = scaling["megabytes"]
        text = f"{half:.0f} MB and {whole:.0f} MB in addition to {fewer:.0f} and {more:.0f} MB"
        return Reading(text, whole - half <= most * (more - fewer))

    return read


def time(work: str, most: float) -> Callable[[Record], Reading]:
    """Twice the images take at most `most` times as long."""

    def read(record: Record) -> Reading:
        spread = record["sections"]["scaling"]["works"][work]["times"]
        text = f"{spread['median']:.2f} times ({spread['low']:.2f} to {spread['high']:.2f})"
        return Reading(text, spread["median"] <= most)

    return read


def together() -> Callable[[Record], Reading]:
    """Two trainings at once process at least as many images per second as one alone."""

    def read(record: Record) -> Reading:
        found = record["sections"]["threads"]["situations"]
        alone, both = (found[name]["sleep"] for name in ("one training alone", "two trainings at once"))
        text = f"{both['median']:,.0f} ({both['low']:,.0f} to {both['high']:,.0f}) and {alone['median']:,.0f} images/s"
        return Reading(text, both["median"] >= alone["median"])

    return read


def alone(least: float) -> Callable[[Record], Reading]:
    """One training alone is at least `least` times as fast with threads that sleep."""

    def read(record: Record) -> Reading:
        spread = record["sections"]["threads"]["situations"]["one training alone"]["times"]
        text = f"{spread['median']:.3g}x ({spread['low']:.3g} to {spread['high']:.3g})"
        return Reading(text, spread["median"] >= least)

    return read


def _on(record: Record, device: str) -> Record:
    if record["machine"]["device"] != device:
        raise KeyError(device)
    return record


KORNIA = ("kornia, slices", "kornia, resampling")
NOISE = 0.1
"""Tolerance of scaling: a tenth of the time, or of the memory of the added images."""

TARGETS = (
    Target(
        "SimCLR augmentation per core, compared with per-image torchvision on PIL",
        "10x",
        times("augmentation", "simclr", ("torchvision on PIL",), 10),
    ),
    Target(
        "the same, compared with the faster crop mode of kornia, same threads",
        "2x",
        times("augmentation", "simclr", KORNIA, 2),
    ),
    Target(
        "SimCLR training, small encoder, CPU, compared with lightly's recipe",
        "3x",
        times("simclr", "small", ("lightly's recipe",), 3),
    ),
    Target(
        "trainer overhead over the bare loop, small encoder, CPU", "under 5 %", overhead("small", "bare loop", 0.05)
    ),
    Target("SimCLR, ResNet-18, 32x32, bf16, one GPU", "30,000 views/s", rate("resnet18", 30_000)),
    Target(
        "memory of training besides the images, for N and 2N images",
        "the same",
        memory("simclr", NOISE),
    ),
    Target("time of training for twice the images", "2 times", time("simclr", 2 + NOISE)),
    Target("memory of ingestion besides the images, for N and 2N images", "the same", memory("ingest", NOISE)),
    Target("time of ingestion for twice the images", "2 times", time("ingest", 2 + NOISE)),
    Target("two trainings at once, compared with one alone", "no fewer images/s", together()),
    Target("one training alone whose threads sleep, compared with one whose threads spin", "1x", alone(1 - NOISE / 2)),
)
