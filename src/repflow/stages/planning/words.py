"""The sum of a plan, in numbers and in words. It imports neither PyTorch nor pandas."""

from collections.abc import Mapping, Sequence
from typing import Any

from repflow.units import duration_in_words, size_in_words


def total_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the stages that run: the sum of their seconds and of what they write, and the largest memory.

    Args:
        rows: the attributes of an `Estimate` each.
    """
    running = [row for row in rows if row["runs"] is not False]

    def known(key: str) -> list[Any]:
        return [value for row in running if (value := row[key]) is not None]

    return {
        "stages": len(running),
        "seconds": sum(known("seconds")),
        "memory_bytes": max(known("memory_bytes"), default=None),
        "gpu_memory_bytes": max(known("gpu_memory_bytes"), default=None),
        "disk_bytes": sum(known("disk_bytes")),
    }


def in_a_sentence(whole: Mapping[str, Any]) -> str:
    """What all stages that run will cost, given the result of `total_of`."""
    if not whole["stages"]:
        return "Everything is up to date."
    parts = [f"about {duration_in_words(whole['seconds'])}"] if whole["seconds"] else []
    parts += [f"{size_in_words(whole['memory_bytes'])} of memory"] if whole["memory_bytes"] else []
    parts += [f"{size_in_words(whole['gpu_memory_bytes'])} of GPU memory"] if whole["gpu_memory_bytes"] else []
    parts += [f"{size_in_words(whole['disk_bytes'])} on disk, and as much in DVC's cache unless it links"]
    return f"{whole['stages']} stages run, one after another: {', '.join(parts)}."
