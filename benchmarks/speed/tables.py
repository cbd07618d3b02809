"""Markdown tables of records, and filling them into the marked blocks of a page."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speed.targets import TARGETS, Reading, Record, Target, readings

BLOCK = re.compile(r"(<!-- measured: (?P<name>[a-z ]+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def fill(page: Path, written: Mapping[str, str]) -> None:
    """Write blocks between the markers of a page, by name; blocks that are not given stay unchanged."""

    def filled(found: re.Match[str]) -> str:
        text = written.get(found["name"])
        return f"{found[1]}\n{text}\n{found[3]}" if text else found[0]

    page.write_text(BLOCK.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


def blocks(records: Sequence[Record]) -> dict[str, str]:
    """The name of every block to its text. The names of blocks of GPU records end in " cuda"."""
    found = {"targets": reached(readings(records, TARGETS))}
    for record in records:
        ending = "" if record["machine"]["device"] == "cpu" else f" {record['machine']['device']}"
        found[f"machine{ending}"] = _machine(record)
        for name, section in record["sections"].items():
            found[f"{name}{ending}"] = _section(name, section)
    return found


def _section(name: str, section: Any) -> str:
    if name == "scaling":
        return _scaling(section)
    if name == "threads":
        return _threads(section)
    return _profile(section) if name == "profile" else _races(section)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int) -> str:
    """A table whose columns from number `right` on are right-aligned."""
    rule = ["---" if column < right else "---:" for column in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def reached(found: Sequence[tuple[Target, Reading | None]]) -> str:
    """The table of targets, and whether they are reached."""
    rows = [
        [
            target.what,
            target.wanted,
            *((reading.text, "yes" if reading.reached else "no") if reading else ("not measured", "")),
        ]
        for target, reading in found
    ]
    return table(["quantity", "target", "measured: median (minimum to maximum)", "reached"], rows, 4)


def _machine(record: Record) -> str:
    machine, images = record["machine"], record["images"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    gpu = f"{machine['gpu']}; " if "gpu" in machine else ""
    instructions = f"{machine['instructions']} instructions ({machine['vectors']})"
    return (
        f"`{record['command']}`\n\n"
        f"{gpu}{machine['processor']}, {machine['cores']} cores, {instructions}, "
        f"{machine['memory_gigabytes']} GB; load average at the start {machine['load']}. "
        f"Python {machine['python']}, {versions}. {record['repeats']} rounds of about {record['seconds']:g} s per "
        f"implementation; {images['count']:,} images of {images['size']}x{images['size']}: {images['origin']}.\n"
    )


def _races(races: Sequence[dict[str, Any]]) -> str:
    parts = []
    for race in races:
        rows = [
            [
                rival["name"],
                ranged(rival, ",.0f"),
                ranged(rival["times"], ".3g") if "times" in rival else "",
            ]
            for rival in race["rivals"]
        ]
        head = [f"{race['name']} ({_settings(race['settings'])})", race["unit"], "speed-up of repflow"]
        parts.append(table(head, rows, 1))
    descriptions = {rival["name"]: rival["about"] for race in races for rival in race["rivals"]}
    parts.append("".join(f"- *{name}*: {text}\n" for name, text in descriptions.items()))
    return "\n".join(parts)


def _scaling(section: dict[str, Any]) -> str:
    rows = []
    for work, found in section["works"].items():
        for count, size, seconds, beyond in zip(
            section["images"], section["megabytes"], found["seconds"], found["beyond"], strict=True
        ):
            rows.append([work, f"{count:,}", f"{size:.0f}", ranged(seconds, ".3g"), ranged(beyond, ".3g")])
    head = [f"task ({_settings(section['settings'])})", "images", "MB of images", "seconds", "additional MB"]
    return table(head, rows, 1)


def _threads(section: dict[str, Any]) -> str:
    rows = [
        [name, *(ranged(found[kind], ",.0f") for kind in ("spin", "sleep")), ranged(found["times"], ".3g")]
        for name, found in section["situations"].items()
    ]
    head = [f"situation ({_settings(section['settings'])})", "threads spin: images/s", "threads sleep", "ratio"]
    return table(head, rows, 1)


def _profile(profiles: Sequence[dict[str, Any]]) -> str:
    parts = []
    for profile in profiles:
        head = [f"{profile['name']} ({_settings(profile['settings'])}): {profile['milliseconds']:.3g} ms", "share"]
        parts.append(table(head, [[name, f"{share:.1%}"] for name, share in profile["shares"].items()], 1))
    return "\n".join(parts)


def ranged(spread: dict[str, float], form: str) -> str:
    """A spread as "median (minimum to maximum)"."""
    return f"{spread['median']:{form}} ({spread['low']:{form}} to {spread['high']:{form}})"


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
