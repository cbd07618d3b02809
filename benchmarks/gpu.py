"""What one GPU does in a few minutes: `python benchmarks/gpu.py --data CIFAR10.tar.xz --json FILE`.

Every part has its share of the minutes, prints a line and is written to the record when it ends, so that a stop loses
nothing; a part that fails or takes too long says so, and the next one begins. What is left of the minutes trains SimCLR
with ResNet-18, which a second call continues from its checkpoint. `--device cpu --minutes 1` runs all of it, small.
"""

import argparse
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from repflow.hardware.cpu import pin
from speed import knn_curve, machine, on_gpu, records
from speed.gpu_setup import Setup
from speed.images import Images, load

Part = Callable[[Setup, Images, float], dict[str, Any]]

SHARES: dict[Part, float] = {
    on_gpu.yardstick: 0.02,
    on_gpu.augmentation: 0.10,
    on_gpu.simclr: 0.14,
    on_gpu.compiled: 0.16,
    on_gpu.fixmatch: 0.06,
    on_gpu.masked_autoencoder: 0.06,
    on_gpu.kernels: 0.05,
    on_gpu.synchronisation: 0.03,
    on_gpu.determinism: 0.06,
    knn_curve.training: 1.0,
}
"""Each part and its share of the minutes, in the order in which they run; the last one gets what is left."""

MOST_MINUTES = 8.0


class TooLong(Exception):
    """A part has used up its time."""


def main(arguments: list[str]) -> None:
    """Run the parts one after the other."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    pin("native")
    began, minutes = time.monotonic(), min(options.minutes, MOST_MINUTES)
    setup = Setup.of(options.device, seconds=60 * minutes, state=options.state)
    images = load(options.data, setup.images, 32)
    record: dict[str, Any] = {"command": records.command_line("gpu.py", arguments)}
    record |= {"machine": machine.describe(setup.settings(1.0)), "images": images.origin, "targets": on_gpu.TARGETS}
    parts: dict[str, Any] = {}
    record["parts"] = parts
    for part, share in SHARES.items():
        name = part.__name__
        if name not in options.only:
            continue
        left = 60 * minutes - (time.monotonic() - began)
        parts[name] = run_part(part, setup, images, max(min(left, share * 60 * minutes), setup.least))
        print(f"{name}: {json.dumps(parts[name])}", flush=True)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def run_part(part: Part, setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """What a part measured, or why it did not; and the seconds that it took.

    Args:
        part: called with the setup, the images and the seconds that it may take.
        setup: device and sizes.
        images: the images.
        seconds: that the part should take; after half as long again it is given up.
    """
    began = time.monotonic()
    try:
        with limited(1.5 * seconds + setup.grace):
            found = part(setup, images, seconds)
    except TooLong:
        found = {"failed": f"given up after {time.monotonic() - began:.0f} s"}
    except Exception as error:  # whatever one part meets, the others are still worth measuring
        found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block after `seconds`."""

    def give_up(*_: Any) -> None:
        raise TooLong

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def parser() -> argparse.ArgumentParser:
    """The parser of the command-line options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    every = [part.__name__ for part in SHARES]
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--minutes", type=float, default=MOST_MINUTES, help=f"in all, at most {MOST_MINUTES:.0f}")
    made.add_argument("--only", nargs="+", choices=every, default=every, help="parts; default: all")
    made.add_argument("--data", type=Path, help="cifar10.tar.xz or a folder; default: pieces of photographs")
    made.add_argument("--json", type=Path, help="file to write the record to")
    made.add_argument("--state", type=Path, help="folder of the training's checkpoint, to continue it in a later call")
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
