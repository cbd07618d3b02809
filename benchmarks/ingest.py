"""How fast images come in: `python benchmarks/ingest.py [--data FOLDER]` prints one JSON object.

Measures whole ingests, from files on the disk to a store with every fact and hash: 60,000 MNIST images from IDX files
(where `--data` or REPFLOW_DATA names a folder that holds `mnist/`), and folders of small PNG and JPEG files, which are
made here from the embedded digits on photos.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repflow.data.ingestion import DataConfig, ingest
from repflow.data.resizing import Form
from repflow.data.sources.blended import Blended
from repflow.data.sources.contract import Request
from repflow.data.sources.digits import Digits
from repflow.data.sources.photos import BundledPhotos
from repflow.data.store import open_store
from repflow.schema import build


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("REPFLOW_DATA"), help="a folder that holds mnist/")
    parser.add_argument("--files", type=int, default=6000, help="how many image files to make of each kind")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.data:
            idx = {"kind": "idx", "images": "mnist/train-images-idx3-ubyte", "labels": "mnist/train-labels-idx1-ubyte"}
            for channels in (1, 3):
                results[f"mnist_{channels}x28x28"] = measure(idx, 28, channels, Path(arguments.data), Path(scratch))
        for ending in ("png", "jpg"):
            make_files(Path(scratch) / ending, ending, arguments.files)
            source = {"kind": "folder", "path": ending}
            results[f"folder_of_{ending}_3x32x32"] = measure(source, 32, 3, Path(scratch), Path(scratch))
    results["peak_resident_gigabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    print(json.dumps(results, indent=2))


def measure(source: dict[str, Any], size: int, channels: int, root: Path, scratch: Path) -> dict[str, float]:
    """Seconds on the clock, seconds of processor time and images per second of one ingest."""
    form = {"size": size, "channels": channels, "resize": "stretch"}
    config = build(DataConfig, {**form, "source": source, "target": {"kind": "none"}}, "benchmark")
    started, worked = time.perf_counter(), time.process_time()
    ingest(config, "source", 0, root, scratch / "store")
    seconds, work = time.perf_counter() - started, time.process_time() - worked
    count = len(open_store(scratch / "store").images)
    rates = {"seconds": round(seconds, 2), "processor_seconds": round(work, 2)}
    return {"images": count, **rates, "images_per_second": round(count / seconds)}


def make_files(folder: Path, ending: str, count: int) -> None:
    """Write `count` colour images of 32x32 pixels to ten class folders."""
    blended = Blended("blended", Digits("digits"), BundledPhotos("bundled"))
    collected = blended.collect(Request(Form(32, 3, "stretch"), folder, 0, "benchmark"))
    for number in range(count):
        row = number % len(collected.images)
        place = folder / str(collected.listing["given_class"][row])
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.ascontiguousarray(collected.images[row].transpose(1, 2, 0))
        Image.fromarray(pixels).save(place / f"{number:06}.{ending}")


if __name__ == "__main__":
    main()
