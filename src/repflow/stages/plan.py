"""The command `plan`: what the whole graph will cost on this machine, without running it.

Numbers of images come from the split, the stores or the sources, whichever is up to date; steps from the budgets; times
from a few real steps of each training on random images, and from some files that are decoded.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repflow.data.ingest.decode import without_decoder_warnings
from repflow.data.ingest.resizing import ImageFormat, Resize
from repflow.data.ingest.shards import decode_shard, facts_of
from repflow.data.read.rows import Side
from repflow.hardware.cpu import usable_cores
from repflow.schema import Positive
from repflow.stages import paths
from repflow.stages.parameters import read, read_raw
from repflow.stages.planning.counts import Data, read_data
from repflow.stages.planning.estimate import (
    Estimate,
    as_values,
    store_bytes,
    training_memory,
    training_seconds,
)
from repflow.stages.planning.listing import Listed
from repflow.stages.planning.status import outdated
from repflow.stages.planning.timing import Measured, Timer
from repflow.stages.planning.trainings import Training, trainings
from repflow.stages.planning.words import in_a_sentence, total_of
from repflow.stages.tabular import as_table
from repflow.units import duration_in_words, size_in_words

log = logging.getLogger("repflow")

_DECODING_SECONDS = 1.5
_NUMERIC = ("images", "steps", "batch", "time", "memory", "GPU memory", "disk")


def run(as_json: bool = False, everything: bool = False) -> None:
    """Print what each stage of the graph will cost, and all stages that run.

    Args:
        as_json: print JSON instead of a table.
        everything: also measure stages that are up to date, as `dvc repro --force` runs them.

    Raises:
        ParameterError: a parameter is not allowed.
        DataError: the images cannot be counted, or cannot be split as asked for.
    """
    rows = make_plan(everything)
    if as_json:
        sys.stdout.write(json.dumps({"stages": as_values(rows), "total": total_of(as_values(rows))}, indent=2) + "\n")
    else:
        sys.stdout.write(shown(rows))


def make_plan(everything: bool = False) -> list[Estimate]:
    """What each stage will cost, in the order of the stages; the arguments are those of `run`."""
    stale = outdated()
    domains = ("source", "target")
    places = {**{f"ingest@{name}": paths.STORES / name for name in domains}, "split": paths.SPLITS / "source.parquet"}
    is_outdated = {
        address: not place.exists() or (stale is not None and address in stale) for address, place in places.items()
    }
    data = read_data(is_outdated)
    planned = {each.stage: each for each in trainings(data, is_searched=stale is None or "tune" not in stale)}

    def runs(address: str) -> bool | None:
        return True if everything else None if stale is None else address in stale

    wanted = [each for each in planned.values() if runs(each.stage) is not False]
    timer = Timer() if wanted else None
    measured = {each.stage: _measure(timer, each, data) for each in wanted if timer}
    start = timer.start if timer else None
    every = _preparations(data)
    adaptations = [f"adapt@{key}" for key in read_raw("adapt") or {}]
    for address in ("pretrain", "probe", "tune", "finetune", *adaptations, "evaluate", "select", "report"):
        if address in planned:
            every.append(_training(planned[address], measured.get(address), data))
        else:
            every.append(_judgement(address, planned, measured, data))
    return [_completed(row, runs(row.stage), start) for row in every]


def _measure(timer: Timer, training: Training, data: Data) -> Measured:
    few = "a few of " if training.steps else ""
    log.info("plan: %s: times %s%s", training.stage, few, training.recipe.size)
    return timer.measure(training.stage, training.recipe, training.streams, data.classes, data.channels, data.size)


def _completed(row: Estimate, runs: bool | None, start: float | None) -> Estimate:
    """The row with whether it runs, and with the start of Python in its seconds."""
    values: dict[str, Any] = {**vars(row), "runs": runs}
    if runs is False:
        return Estimate(**{**values, **_last_run(row.stage)})
    if start is not None:
        values |= {"seconds": start + (row.seconds or 0.0), "basis": row.basis or "start"}
    return Estimate(**values)


def _last_run(stage: str) -> dict[str, Any]:
    """What an up-to-date stage cost when it ran in this checkout."""
    path = paths.STATE / "cost" / f"{stage.replace('@', '/')}.json"
    if not path.is_file():
        return {"seconds": None, "basis": ""}
    record = json.loads(path.read_text(encoding="utf-8"))
    return {"basis": "last run", **{key: record[key] for key in ("seconds", "memory_bytes", "gpu_memory_bytes")}}


def _preparations(data: Data) -> list[Estimate]:
    """The stages before any training."""
    pixels = data.channels * data.size**2
    numbers = {name: counts.on(*Side) for name, counts in data.counts.items()}
    rows = [Estimate("code")]
    for name, number in numbers.items():
        seconds = _ingestion(data.listed[name], data) if name in data.listed else None
        rows.append(
            Estimate(
                f"ingest@{name}",
                images=number,
                seconds=seconds,
                disk_bytes=store_bytes(number, pixels),
                basis="measured" if seconds is not None else "",
            )
        )
    rows += [Estimate(f"validate@{name}", images=number) for name, number in numbers.items()]
    labels = data.counts["source"].labels_on(Side.LABELLED, Side.VALIDATION)
    return [*rows, Estimate("split", images=sum(numbers.values())), Estimate("baseline", images=labels)]


def _ingestion(listed: Listed, data: Data) -> float:
    """Seconds to decode all files of a source, from some of them."""
    form = ImageFormat(data.size, data.channels, read("data.resize", Resize))
    threads, sample = min(8, usable_cores()), listed.sample
    with without_decoder_warnings():
        began, done = time.perf_counter(), 0
        while done < len(sample) and time.perf_counter() - began < _DECODING_SECONDS:
            step = min(len(sample) - done, 4 * threads)
            decode_shard(sample[done : done + step], form, threads)
            done += step
        if not sample:
            done = min(256, len(listed.rows))
            facts_of(_random(done, form), threads)
        seconds = time.perf_counter() - began
    return seconds / max(1, done) * len(listed.rows)


def _random(count: int, form: ImageFormat) -> np.ndarray:
    shape = (count, form.channels, form.size, form.size)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _training(training: Training, measured: Measured | None, data: Data) -> Estimate:
    config = training.recipe.section.training
    known: dict[str, Any] = {}
    if measured is not None:
        limit = read("runtime.memory", Positive) * 2**30
        known = {
            "seconds": training_seconds(training, measured),
            "memory_bytes": training_memory(training, measured, data.channels * data.size**2, limit),
            "gpu_memory_bytes": measured.gpu_memory,
            "disk_bytes": 0 if training.stage == "tune" else measured.weights,
            "basis": "measured",
        }
    batch_size = config.batch_size if training.steps else None
    return Estimate(training.stage, None, training.images, training.steps, batch_size, **known)


def _judgement(address: str, planned: Mapping[str, Training], measured: Mapping[str, Measured], data: Data) -> Estimate:
    """A stage that does not train: the predictions that it makes, at the rates that were measured; else its images."""
    source, target = data.counts["source"], data.counts["target"]
    tests = source.labels_on(Side.TEST) + target.labels_on(Side.TEST)
    images = {
        "probe": source.training + source.labels_on(Side.VALIDATION, Side.TEST),
        "evaluate": tests,
        "select": source.labels_on(Side.VALIDATION) + tests,
        "report": source.on(*Side) + target.on(*Side),
    }.get(address)
    if images is None:
        return Estimate(address, images=0, steps=0)  # an adaptation or a search that has nothing to do
    if address == "probe" and "pretrain" in measured:
        encoders = 2 + read_raw("probe")["random_encoders"]
        return Estimate(
            address, images=images, seconds=images * encoders * measured["pretrain"].image, basis="measured"
        )
    models = [measured[name] for name in measured if name == "finetune" or name.startswith("adapt@")]
    if address in ("evaluate", "select") and models:
        return Estimate(address, images=images, seconds=images * sum(each.image for each in models), basis="measured")
    return Estimate(address, images=images)


def shown(rows: Sequence[Estimate]) -> str:
    """The plan as a table with a line about the whole."""
    whole = total_of(as_values(rows))
    columns = ("stage", "state", *_NUMERIC)
    lines = [_line(row) for row in rows]
    used = [at for at, cells in enumerate(zip(*lines, strict=True)) if any(cells)]
    table = as_table([columns[at] for at in used], [[line[at] for at in used] for line in lines], _NUMERIC)
    return f"{table}\n{in_a_sentence(whole)}\n"


def _line(row: Estimate) -> list[str]:
    state = {True: "runs", False: "up to date", None: ""}[row.runs]
    time = "" if row.seconds is None else "seconds" if row.basis == "start" else duration_in_words(row.seconds)
    numbers = ("" if each is None else f"{each:,}" for each in (row.images, row.steps, row.batch_size))
    sizes = (
        "" if not each else size_in_words(each) for each in (row.memory_bytes, row.gpu_memory_bytes, row.disk_bytes)
    )
    return [row.stage, state, *numbers, time, *sizes]
