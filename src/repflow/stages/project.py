"""Files that most stages read or write: the project's domains and its metrics."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repflow.data.read.rows import Domain, open_domain
from repflow.files import writing
from repflow.schema import Positive
from repflow.stages import paths
from repflow.stages.parameters import read

log = logging.getLogger("repflow")


def open_project_domain(name: str) -> Domain:
    """The project's domain `name`, "source" or "target"; images beyond `runtime.memory` stay memory-mapped."""
    return open_domain(name, paths.STORES, paths.SPLITS, memory=read("runtime.memory", Positive) * 2**30)


def samples(stage: str, used: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Say in the log of which rows a stage takes a sample, and return it for the metrics.

    Args:
        stage: its name.
        used: name of the rows to how many are used and how many there are.

    Returns:
        `sampled`, with `used` and `of` of each, where fewer rows are used than there are; else nothing.
    """
    fewer = {name: {"used": few, "of": many} for name, (few, many) in used.items() if few < many}
    for name, each in fewer.items():
        log.info("%s: takes a sample of the %s rows, %s of %s", stage, name, f"{each['used']:,}", f"{each['of']:,}")
    return {"sampled": fewer} if fewer else {}


def write_metrics(path: Path, values: Mapping[str, Any]) -> None:
    """Write metrics as JSON, with numbers rounded to four decimals."""
    with writing(path) as fresh:
        fresh.write_text(json.dumps(_rounded(values), indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value
