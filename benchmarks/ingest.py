"""Ingestion of many photographs, and of a killed one what is left to do: `python benchmarks/ingest.py`.

Photographs are made as JPEG files, half as wide again as the stored images, in 100 folders; one process ingests them,
another is killed when half is done, and a third goes on. Resident memory is the sum over the process and its children,
every 50 ms. `--markdown docs/performance.md` writes the table between the markers of that page, and `--read` writes it
from the records of earlier runs without measuring.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from speed import machine, records, tables
from speed.settings import cores

PACKAGES = ("numpy", "pillow", "pandas", "pyarrow")
CLASSES = 100

INGEST = """
import sys
from pathlib import Path
from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.schema import build

if __name__ == "__main__":
    root, size = Path(sys.argv[1]), int(sys.argv[2])
    values = {"size": size, "channels": 3, "resize": "crop", "target": {"kind": "none"}}
    values["source"] = {"kind": "folder", "path": "photographs"}
    ingest(build(DataConfig, values, "benchmark"), "source", 0, root, root / sys.argv[3])
"""


def main(arguments: Sequence[str]) -> None:
    """Measure, or read records, and write the table."""
    options = parser().parse_args(arguments)
    if options.read:
        found = records.read(options.read)
    else:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            record = {"command": records.command_line("ingest.py", arguments), "machine": machine.known(PACKAGES)}
            found = [{**record, **measure(Path(name), options.images, options.size)}]
        if options.json:
            options.json.write_text(json.dumps(found[0], indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        tables.fill(options.markdown, {"photographs": table(found)})
    else:
        print(table(found))


def measure(folder: Path, count: int, size: int) -> dict[str, Any]:
    """Make photographs in `folder`, ingest them, ingest them again, be killed, and go on."""
    write_photographs(folder / "photographs", count, size)
    (folder / "ingest.py").write_text(INGEST, encoding="utf-8")
    whole = ingested(folder, size, "whole")
    store = digest(folder / "whole")
    (folder / "whole/images.npy").unlink()  # there may be room for one store only
    killed = ingested(folder, size, "resumed", until=lambda: decoded(folder, size) >= count // 2)
    kept = decoded(folder, size)
    resumed = ingested(folder, size, "resumed")
    return {
        "images": count,
        "size": size,
        "megabytes": round(count * 3 * size**2 / 2**20),
        "seconds": whole["seconds"],
        "images_per_second": round(count / whole["seconds"]),
        "peak_megabytes": whole["peak_megabytes"],
        "processes": whole["processes"],
        "killed": {
            "after_seconds": killed["seconds"],
            "images_kept": kept,
            "seconds_to_go_on": resumed["seconds"],
            "peak_megabytes": resumed["peak_megabytes"],
            "same_bytes": digest(folder / "resumed") == store,
        },
    }


def write_photographs(folder: Path, count: int, size: int) -> None:
    """JPEG files that look like photographs to a decoder: crops of blurred noise with grain on it."""
    draw = np.random.default_rng(0)
    side = 8 * size
    blurred = Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((side, side), 3)
    grain = draw.normal(0, 6, (side, side, 3))
    texture = np.clip(np.asarray(blurred) + grain, 0, 255).astype(np.uint8)
    high, wide = size, size * 3 // 2
    places = np.column_stack([draw.integers(0, side - high, count), draw.integers(0, side - wide, count)])
    for number in range(CLASSES):
        (folder / f"{number:02}").mkdir(parents=True, exist_ok=True)

    def write(number: int) -> None:
        top, left = places[number]
        crop = Image.fromarray(texture[top : top + high, left : left + wide])
        crop.save(folder / f"{number % CLASSES:02}" / f"{number:07}.jpg", quality=90)

    with ThreadPoolExecutor(cores()) as pool:
        for first in range(0, count, 10_000):
            list(pool.map(write, range(first, min(count, first + 10_000))))


def ingested(folder: Path, size: int, store: str, until: Callable[[], bool] | None = None) -> dict[str, Any]:
    """Run an ingestion, and kill it as soon as `until` says so: its seconds, peak memory and number of processes."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, str(folder / "ingest.py"), str(folder), str(size), store])
    peak, most = 0, 1
    while child.poll() is None:
        sizes = resident(psutil.Process(child.pid))
        peak, most = max(peak, sum(sizes)), max(most, len(sizes))
        if until is not None and until():
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.05)
    if child.returncode not in (0, -signal.SIGKILL if until else 0):
        raise SystemExit(f"the ingestion ended with {child.returncode}")
    seconds = round(time.perf_counter() - started, 1)
    return {"seconds": seconds, "peak_megabytes": round(peak / 2**20), "processes": most}


def resident(process: psutil.Process) -> list[int]:
    """Resident bytes of a process and of all that it has started."""
    sizes = []
    try:
        for each in (process, *process.children(recursive=True)):
            sizes.append(each.memory_info().rss)
    except psutil.NoSuchProcess:
        pass
    return sizes


def decoded(folder: Path, size: int) -> int:
    """How many images an unfinished ingestion has stored."""
    files = list(folder.glob(".resumed.shards/*/images.npy"))
    return files[0].stat().st_size // (3 * size**2) if files else 0


def digest(store: Path) -> str:
    """A hash of all files of a store."""
    found = []
    for path in sorted(store.iterdir()):
        with path.open("rb") as file:
            found.append((path.name, hashlib.file_digest(file, "sha256").hexdigest()))
    return repr(found)


def table(found: Sequence[dict[str, Any]]) -> str:
    """The table of the page, a row for each record."""
    head = ("photographs", "MB of images", "seconds", "images/s", "peak MB", "killed after", "gone on in", "same bytes")
    rows = []
    for record in found:
        killed = record["killed"]
        rows.append(
            (
                f"{record['images']:,} of {record['size']} pixels, {record['machine']['cores']} cores",
                f"{record['megabytes']:,}",
                f"{record['seconds']:,.0f}",
                f"{record['images_per_second']:,}",
                f"{record['peak_megabytes']:,}",
                f"{killed['images_kept']:,} images, {killed['after_seconds']:,.0f} s",
                f"{killed['seconds_to_go_on']:,.0f} s",
                "yes" if killed["same_bytes"] else "no",
            )
        )
    about = "\n".join(
        f"`{record['command']}`: {record['machine']['processor']}, load {record['machine']['load']} at the start."
        for record in found
    )
    return tables.table(head, rows, 1) + "\n" + about + "\n"


def parser() -> argparse.ArgumentParser:
    """The parser of the command-line options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--images", type=int, default=20_000, help="number of photographs")
    made.add_argument("--size", type=int, default=128, help="width and height of the stored images, in pixels")
    made.add_argument("--folder", type=Path, help="where files are made, and removed afterwards; default: temporary")
    made.add_argument("--json", type=Path, help="file to write the record to")
    made.add_argument("--markdown", type=Path, help="page with a marked block to fill with the table")
    made.add_argument("--read", type=Path, nargs="+", help="read records of earlier runs instead of measuring")
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
