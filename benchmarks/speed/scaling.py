"""Scaling with the number of images: time and memory of ingestion and of an epoch of SimCLR, in separate processes.

`python -m speed.scaling WORK FOLDER` is such a process. It works in FOLDER and prints one JSON object.
"""

import contextlib
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.data.read.rows import Side, open_domain
from repflow.data.store import open_store
from repflow.schema import build
from speed.images import CLASSES, Images
from speed.settings import Settings
from speed.spreads import rounded, spread

BATCH, REPEATS = 256, 3
TIMES = 4
"""How often the images are repeated, so that they need more memory than it varies from run to run."""
WIDTHS = (8, 16)
"""Widths of the encoder: so small that the data are most of the work."""
WORKS = ("ingest", "simclr")


def measure(settings: Settings, images: Images) -> dict[str, Any]:
    """Measure both tasks with the images repeated twice and four times, in alternating rounds.

    Returns:
        `images`: the two numbers of images; `megabytes` of each; and for each task `seconds` and `beyond`, the peak
        resident memory minus that of the process before it read data, minus the images, in megabytes: for each number a
        spread over the rounds. `times` is the spread of the ratio of the seconds.
    """
    counts = (len(images) * TIMES // 2, len(images) * TIMES)
    sizes = [count * images.pixels[0].nbytes / 2**20 for count in counts]
    found: dict[str, list[list[dict[str, float]]]] = {work: [[], []] for work in WORKS}
    with tempfile.TemporaryDirectory() as name:
        for place, count in enumerate(counts):
            _prepare(Path(name) / str(place), images, count)
        for _ in range(min(REPEATS, settings.repeats)):
            for work in WORKS:
                for place in range(2):
                    found[work][place].append(_run(work, Path(name) / str(place), settings))
    works = {}
    for work, (half, whole) in found.items():
        works[work] = {
            "seconds": [spread([one["seconds"] for one in runs]) for runs in (half, whole)],
            "times": spread([two["seconds"] / one["seconds"] for one, two in zip(half, whole, strict=True)]),
            "beyond": [
                spread([one["peak"] - one["before"] - size for one in runs])
                for runs, size in zip((half, whole), sizes, strict=True)
            ],
        }
    shared = {"threads": settings.threads, "batch": settings.batch or BATCH, "encoder_widths": "8 and 16"}
    return {"images": counts, "megabytes": list(map(rounded, sizes)), "settings": shared, "works": works}


def _prepare(folder: Path, images: Images, count: int) -> None:
    """Write the images as IDX files, and the split of the store that will be made from them."""
    folder.mkdir()
    pixels = images.pixels.transpose(0, 2, 3, 1)
    turns = [pixels[: count - first] for first in range(0, count, len(images))]
    with (folder / "images").open("wb") as file:
        file.write(struct.pack(">HBB4I", 0, 8, 4, count, *pixels.shape[1:]))
        file.writelines(turn.tobytes() for turn in turns)
    labels = np.resize(images.labels, count).astype(np.uint8)
    (folder / "labels").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes())
    splits = folder / "splits"
    splits.mkdir()
    sides = pd.DataFrame({"index": np.arange(count), "side": [Side.UNLABELLED.value] * count})
    sides.to_parquet(splits / "source.parquet")
    (splits / "classes.json").write_text(json.dumps([str(label) for label in range(CLASSES)]))


def _run(work: str, folder: Path, settings: Settings) -> dict[str, float]:
    values = [work, str(folder), str(settings.threads), str(settings.batch or BATCH), str(settings.size)]
    command = [sys.executable, "-m", "speed.scaling", *values]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main(work: str, folder: Path, threads: int, batch: int, size: int) -> None:
    """Run one task and print its time and memory."""
    act = {"ingest": _ingest, "simclr": _simclr}[work](folder, threads, batch, size)
    before, started = _memory("VmRSS"), time.perf_counter()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which the imports raised
    act()
    print(json.dumps({"seconds": time.perf_counter() - started, "before": before, "peak": _memory("VmHWM")}))


def _memory(kind: str) -> float:
    """Resident memory in megabytes: current ("VmRSS") or peak ("VmHWM").

    Not from getrusage, whose peak a new process inherits from its parent.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RuntimeError("memory is read from /proc/self/status, which exists only on Linux") from error
    return float(next(line.split()[1] for line in lines if line.startswith(f"{kind}:"))) / 2**10


def _ingest(folder: Path, threads: int, batch: int, size: int) -> Callable[[], None]:
    source = {"kind": "idx", "images": "images", "labels": "labels"}
    values = {"size": size, "channels": 3, "resize": "stretch", "source": source, "target": {"kind": "none"}}
    config = build(DataConfig, values, "benchmark")
    return lambda: ingest(config, "source", 0, folder, folder / "stores" / "source")


def _simclr(folder: Path, threads: int, batch: int, size: int) -> Callable[[], None]:
    """One epoch, from opening the store to the trained encoder. Imports and creating the model are not included."""
    from speed import ours
    from speed.race import Clock

    few = np.array(open_store(folder / "stores" / "source").images[:256])
    method = ours.new_simclr("small", Images(few, np.zeros(len(few), np.int64), ""), widths=WIDTHS)
    settings = Settings(threads=threads, batch=batch, size=size)

    def act() -> None:
        rows = open_domain("source", folder / "stores", folder / "splits").rows(Side.UNLABELLED)
        clock = Clock(0, "cpu")
        clock.total = max(1, len(rows) // batch)
        ours.fit(
            method, {"unlabelled": rows}, {**ours.read("training", "pretext"), "batch_size": batch}, settings, clock
        )

    return act


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
