"""The cost of a stage (time, memory, energy), written to `.repflow/cost/`, which DVC does not track."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repflow.files import writing
from repflow.stages import paths
from repflow.stages.energy import EnergyMeter
from repflow.training.cost import Cost, Meter

FOLDER = paths.STATE / "cost"


@contextlib.contextmanager
def recorded(stage: str) -> Iterator[Meter]:
    """Measure the cost of the block; if it trained and succeeded, write the record of `stage`, as "adapt/dann"."""
    record = FOLDER / f"{stage}.json"
    with EnergyMeter() as energy:
        meter = Meter(energy.used)
        yield meter
    cost = meter.cost()
    if cost.steps:
        write_record(record, cost, energy.method)
    else:
        record.unlink(missing_ok=True)


def write_record(path: Path, cost: Cost, energy_method: str) -> None:
    """Write `cost` as JSON, with six significant digits."""
    training = cost.training_seconds
    figures = {
        "seconds": cost.seconds,
        "training_seconds": training,
        "waiting": cost.waiting_seconds / training if training else None,
        "steps": cost.steps,
        "images": cost.images,
        "images_per_second": cost.images / training if training else None,
        "flops": cost.flops,
        "memory_bytes": cost.memory,
        "gpu_memory_bytes": cost.gpu_memory,
        "energy_kwh": cost.energy,
        "energy_method": energy_method,
    }
    with writing(path) as fresh:
        fresh.write_text(json.dumps({key: _short(value) for key, value in figures.items()}, indent=2) + "\n")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
