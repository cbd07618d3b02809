"""Trainings beside other work, with idle threads that sleep and with threads that spin, as PyTorch's do by default.

`python -m speed.threads SECONDS THREADS BATCH SIZE` is one training: a process that prints "ready", waits for a line on
its standard input, trains for so many seconds and prints its images per second.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repflow.hardware.cpu import PASSIVE, let_threads_sleep
from speed.images import Images
from speed.settings import Settings
from speed.spreads import spread

BATCH = 256
BUSY = "while True: pass"
SITUATIONS: Mapping[str, tuple[int, int]] = {
    "one training alone": (1, 0),
    "two trainings at once": (2, 0),
    "one training beside a busy process": (1, 1),
}
"""Name to the number of trainings and of other processes that each keep one core busy."""


def measure(settings: Settings, images: Images) -> dict[str, Any]:
    """Measure every situation with threads that spin and with threads that sleep, in alternating rounds.

    Returns:
        `settings`; and `situations`: for each `spin` and `sleep`, the images/s of all its trainings together, and
        `times`, their ratio, as spreads over the rounds.
    """
    rates: dict[str, dict[str, list[float]]] = {name: {"spin": [], "sleep": []} for name in SITUATIONS}
    for _ in range(settings.repeats):
        for name, (trainings, busy) in SITUATIONS.items():
            for kind, measured in rates[name].items():
                measured.append(_together(settings, environment(sleep=kind == "sleep"), trainings, busy))
    situations = {}
    for name, found in rates.items():
        ratios = [sleep / spin for sleep, spin in zip(found["sleep"], found["spin"], strict=True)]
        situations[name] = {"spin": spread(found["spin"]), "sleep": spread(found["sleep"]), "times": spread(ratios)}
    shared = {"threads": settings.threads, "batch": settings.batch or BATCH, "size": settings.size}
    return {"settings": shared, "situations": situations}


def environment(sleep: bool) -> dict[str, str]:
    """The variables of a process whose idle threads sleep, or do what PyTorch's do by default."""
    variables = {name: value for name, value in os.environ.items() if name not in PASSIVE}
    if sleep:
        let_threads_sleep(variables)
    return variables


def _together(settings: Settings, variables: dict[str, str], trainings: int, busy: int) -> float:
    """Images per second of all trainings that start at the same time."""
    values = [settings.seconds, settings.threads, settings.batch or BATCH, settings.size]
    command = [sys.executable, "-m", "speed.threads", *map(str, values)]
    started = [
        subprocess.Popen(
            command,
            cwd=Path(__file__).parents[1],
            env=variables,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(trainings)
    ]
    others: list[subprocess.Popen[bytes]] = []
    try:
        for process in started:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} ended before it trained")
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(float(process.communicate()[0]) for process in started)
    finally:
        running: list[subprocess.Popen[Any]] = [*started, *others]
        for process in running:
            process.kill()
            process.wait()


class _Over(Exception):
    """The time is over."""


def main(seconds: float, threads: int, batch: int, size: int) -> None:
    """One training."""
    from repflow.data.read.rows import Rows
    from speed import ours
    from speed.race import WARM, Clock

    pixels = np.random.default_rng(0).integers(0, 256, (2048, 3, size, size), dtype=np.uint8)
    images = Images(pixels, np.zeros(len(pixels), np.int64), "")
    rows = {"unlabelled": Rows(pixels, images.labels, np.arange(len(pixels)), ())}
    training = {**ours.read("training", "pretext"), "batch_size": batch}
    settings = Settings(threads=threads, batch=batch, size=size)
    done, began = 0, 0.0

    class Timer(Clock):
        """Waits for the others after the warm-up, and ends the training when its time is over."""

        def tick(self) -> None:
            nonlocal done, began
            done += 1
            if done == WARM:
                print("ready", flush=True)
                sys.stdin.readline()
                began = time.perf_counter()
            elif done > WARM and time.perf_counter() - began >= seconds:
                raise _Over

    try:
        ours.fit(ours.new_simclr("small", images), rows, training, settings, Timer(10**6, "cpu"))
    except _Over:
        print((done - WARM) * batch / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), *map(int, sys.argv[2:]))
