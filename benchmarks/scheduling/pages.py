"""The targets of the flows, and the tables of a record."""

from collections.abc import Sequence

from speed import tables
from speed.targets import Reading, Record, Target, readings

MOST_MORE, MOST_IDLE, MOST_CANCELLED = 20.0, 25.0, 10.0
"""Seconds."""


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """The blocks of the page by name; a section that several records have is taken from the first."""
    found = {"targets": tables.reached(readings(records, TARGETS))}
    for record in reversed(records):
        for name, section in record["sections"].items():
            found[name] = f"{_origin(record)}\n{_SECTIONS[name](section)}"
    return found


def _origin(record: Record) -> str:
    machine = record["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"`{record['command']}` on {machine['processor']}, {machine['cores']} cores, {machine['memory_gigabytes']} GB; "
        f"load average at the start {machine['load']}. Python {machine['python']}, {versions}.\n"
    )


def _graph(section: Record) -> str:
    rows = [
        [f"all {section['stages']} stages, `dvc repro --force`", section["dvc"]],
        ["all stages, `python flows/pipeline.py --slots 1 --force`", section["flow"]],
        ["nothing to do, `dvc repro`", section["idle"]["dvc"]],
        ["nothing to do, `python flows/pipeline.py`, on a running server", section["idle"]["flow"]],
        ["nothing to do, `python flows/pipeline.py`, with a temporary server", section["idle"]["alone"]],
    ]
    same = "the same" if section["same"] else "**different**"
    return _seconds(rows) + f"\nBoth wrote {same} dvc.lock.\n"


def _sleeping(section: Record) -> str:
    what = f"{section['stages']} stages that sleep {section['seconds']:g} s"
    return _seconds(
        [
            [f"{what}, `dvc repro --force`", section["dvc"]],
            [f"{what}, `python flows/pipeline.py --slots {section['stages']} --force`", section["flow"]],
        ]
    )


def _cancel(section: Record) -> str:
    rows = [
        ["until no process of the training is left", section["training"]],
        ["until the flow run's state is *Cancelled*", section["run"]],
    ]
    resumed = (
        f"{section['resumed']} of the {section['runs'] - 1} runs that followed resumed where the one before was stopped"
    )
    return _seconds(rows) + f"\n{resumed}.\n"


def _isolated(section: Record) -> str:
    rows = [
        [f"{section['runs']} runs, from queueing the first to the end of the last", f"{section['seconds']:.0f}"],
        ["one run, from its start to its end", tables.ranged(section["each"], ".0f")],
        ["`repflow runs prune --finished`", f"{section['pruning']:.1f}"],
    ]
    return tables.table(["what", "seconds"], rows, 1)


_SECTIONS = {"graph": _graph, "sleeping": _sleeping, "cancel": _cancel, "isolated": _isolated}


def _seconds(rows: Sequence[Sequence[object]]) -> str:
    """A table of spreads."""
    shown = [[str(name), tables.ranged(dict(spread), ".1f")] for name, spread in rows]  # type: ignore[call-overload]
    return tables.table(["what", "seconds: median (lowest to highest)"], shown, 1)


def _more(record: Record) -> Reading:
    section = record["sections"]["graph"]
    return Reading(
        f"{tables.ranged(section['more'], '.1f')} s", section["more"]["median"] <= MOST_MORE and section["same"]
    )


def _idle(record: Record) -> Reading:
    seconds = record["sections"]["graph"]["idle"]["flow"]
    return Reading(f"{tables.ranged(seconds, '.1f')} s", seconds["median"] <= MOST_IDLE)


def _less(record: Record) -> Reading:
    section = record["sections"]["sleeping"]
    dvc, flow = section["dvc"], section["flow"]
    text = f"{tables.ranged(flow, '.1f')} s against {tables.ranged(dvc, '.1f')} s"
    return Reading(text, flow["median"] < dvc["median"])


def _cancelled(record: Record) -> Reading:
    section = record["sections"]["cancel"]
    text = f"{tables.ranged(section['training'], '.1f')} s, {section['resumed']} of {section['runs'] - 1} resumed"
    return Reading(text, section["training"]["high"] <= MOST_CANCELLED and section["resumed"] == section["runs"] - 1)


def _right(record: Record) -> Reading:
    section = record["sections"]["isolated"]
    text = (
        f"{section['right']} of {section['runs']} in {section['seconds']:.0f} s, {section['at_once']} at once at most"
    )
    return Reading(text, section["right"] == section["runs"] and section["at_once"] <= AT_ONCE)


def _untouched(record: Record) -> Reading:
    touched = record["sections"]["isolated"]["touched"]
    return Reading(f"changed: {', '.join(touched)}" if touched else "untouched", not touched)


def _nothing_left(record: Record) -> Reading:
    left = record["sections"]["isolated"]["left"]
    return Reading(f"{len(left)} things, as {left[0]}" if left else "nothing", not left)


AT_ONCE = 2
"""Runs; the concurrency limit of the deployment `pipeline/cpu`."""

TARGETS = (
    Target("the default graph by the flow, one slot, against `dvc repro`", f"at most {MOST_MORE:.0f} s more", _more),
    Target("four stages that sleep, four slots, against `dvc repro`", "less", _less),
    Target("a flow run with nothing to do", f"at most {MOST_IDLE:.0f} s, no stage run", _idle),
    Target("a run is cancelled", f"its training ends within {MOST_CANCELLED:.0f} s; the next resumes it", _cancelled),
    Target("isolated runs queued at once, two at a time", "all complete", _right),
    Target("the user's checkout, meanwhile", "untouched", _untouched),
    Target("of the runs, after pruning", "nothing left", _nothing_left),
)
