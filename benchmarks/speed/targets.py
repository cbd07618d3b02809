"""What the engine has to reach, and whether a record says that it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a record says of one target.

    Attributes:
        text: the figure, with its spread.
        reached: whether the median is on the right side.
    """

    text: str
    reached: bool


@dataclass(frozen=True)
class Target:
    """One row of the table.

    Attributes:
        what: is measured.
        wanted: how much at least or at most.
        read: finds the figure in a record; KeyError where it was not measured.
    """

    what: str
    wanted: str
    read: Callable[[Record], Reading]


def readings(records: Sequence[Record], targets: Sequence[Target]) -> list[tuple[Target, Reading | None]]:
    """Every target and the first reading of it in the records, None where there is none."""
    return [
        (target, next((found for record in records if (found := _try(target, record))), None)) for target in targets
    ]


def _try(target: Target, record: Record) -> Reading | None:
    try:
        return target.read(record)
    except KeyError:
        return None


def named(entries: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry of that name."""
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
    """At most this share slower than `rival`."""

    def read(record: Record) -> Reading:
        spread = named(named(_on(record, "cpu")["sections"]["simclr"], race)["rivals"], rival)["times"]
        low, median, high = (1 / spread[key] - 1 for key in ("high", "median", "low"))
        return Reading(f"{median:.1%} ({low:.1%} to {high:.1%})", median < most)

    return read


def rate(race: str, least: float) -> Callable[[Record], Reading]:
    """At least this rate of repflow's on a GPU."""

    def read(record: Record) -> Reading:
        mine = named(named(_on(record, "cuda")["sections"]["simclr"], race)["rivals"], "repflow")
        text = (
            f"{mine['median']:,.0f} views/s ({mine['low']:,.0f} to {mine['high']:,.0f}) on {record['machine']['gpu']}"
        )
        return Reading(text, mine["median"] >= least)

    return read


def memory(work: str, most: float) -> Callable[[Record], Reading]:
    """Twice the images need no more than this share of them beyond the images themselves."""

    def read(record: Record) -> Reading:
        scaling = record["sections"]["scaling"]
        half, whole = (spread["median"] for spread in scaling["works"][work]["beyond"])
        fewer, more = scaling["megabytes"]
        text = f"{half:.0f} MB and {whole:.0f} MB beyond {fewer:.0f} and {more:.0f} MB"
        return Reading(text, whole - half <= most * (more - fewer))

    return read


def time(work: str, most: float) -> Callable[[Record], Reading]:
    """Twice the images take at most this many times as long."""

    def read(record: Record) -> Reading:
        spread = record["sections"]["scaling"]["works"][work]["times"]
        text = f"{spread['median']:.2f} times ({spread['low']:.2f} to {spread['high']:.2f})"
        return Reading(text, spread["median"] <= most)

    return read


def _on(record: Record, device: str) -> Record:
    if record["machine"]["device"] != device:
        raise KeyError(device)
    return record


KORNIA = ("kornia, slices", "kornia, resampling")
NOISE = 0.1
"""What scaling may be off: a tenth of the time, or of the added images' memory."""

TARGETS = (
    Target(
        "SimCLR augmentation per core, against per-image torchvision on PIL",
        "10x",
        times("augmentation", "simclr", ("torchvision on PIL",), 10),
    ),
    Target(
        "the same, against the faster of kornia's two ways, same threads",
        "2x",
        times("augmentation", "simclr", KORNIA, 2),
    ),
    Target(
        "SimCLR training, small encoder, CPU, against lightly's recipe",
        "3x",
        times("simclr", "small", ("lightly's recipe",), 3),
    ),
    Target(
        "trainer overhead over the bare loop, small encoder, CPU", "under 5 %", overhead("small", "bare loop", 0.05)
    ),
    Target("SimCLR, ResNet-18, 32x32, bf16, one GPU", "30,000 views/s", rate("resnet18", 30_000)),
    Target(
        "memory of training beyond the images, for some and twice as many",
        "the same",
        memory("simclr", NOISE),
    ),
    Target("time of training for twice the images", "2 times", time("simclr", 2 + NOISE)),
    Target("memory of an ingest beyond the images, for some and twice as many", "the same", memory("ingest", NOISE)),
    Target("time of an ingest for twice the images", "2 times", time("ingest", 2 + NOISE)),
)
