"""Compare implementations in alternating rounds, so that other load on the machine affects all of them alike."""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from speed.spreads import rounded, spread

WARM = 3
"""Warm-up steps of a training before its clock starts: workers start, caches fill, kernels are selected."""


@dataclass(frozen=True)
class Rival:
    """One implementation of the work.

    Attributes:
        name: its name in the tables.
        about: a description of exactly what it does.
        run: works for about the given number of seconds, at least one unit of work, and returns units per second.
    """

    name: str
    about: str
    run: Callable[[float], float]


def again(
    name: str,
    maker: Callable[..., Callable[[int], Any]],
    units: int,
    *arguments: Any,
    now: Callable[[], float] = time.perf_counter,
) -> Rival:
    """An implementation that calls one function repeatedly.

    Args:
        name: name of the implementation.
        maker: called with `arguments`; returns the function, which gets the number of the call. Its docstring is the
            description.
        units: units of work per call.
        now: the clock, in seconds.
    """
    act = maker(*arguments)
    number = 0

    def run(seconds: float) -> float:
        nonlocal number
        first, started = number, now()
        while True:
            act(number)
            number += 1
            elapsed = now() - started
            if elapsed >= seconds:
                return (number - first) * units / elapsed

    return Rival(name, about(maker), run)


class Clock:
    """Times the steps of one training, without warm-up.

    Args:
        steps: number of timed steps; the training has to do `total` steps.
        device: device of the training, which is synchronised when the clock starts and stops.
    """

    def __init__(self, steps: int, device: str):
        self.total = steps + WARM
        self._steps, self._device, self._done = steps, device, 0
        self._stamps: list[float] = []

    def tick(self) -> None:
        """Count a finished step."""
        self._done += 1
        if self._done in (WARM, self.total):
            if self._device == "cuda":
                torch.cuda.synchronize()
            self._stamps.append(time.perf_counter())

    @property
    def steps_per_second(self) -> float:
        """Rate of the timed steps."""
        started, ended = self._stamps
        return self._steps / (ended - started)


def training(name: str, fit: Callable[..., None], units: int, device: str, *arguments: Any) -> Rival:
    """An implementation that trains from scratch in every round, for as many steps as the last round's rate allows.

    Args:
        name: name of the implementation.
        fit: called with `arguments` and a clock; trains for `clock.total` steps and calls `clock.tick` after each. Its
            docstring is the description.
        units: units of work per step.
        device: device of the training.
    """
    rate = 0.0

    def run(seconds: float) -> float:
        nonlocal rate
        clock = Clock(max(2, round(seconds * rate)), device)
        fit(*arguments, clock)
        rate = clock.steps_per_second
        return rate * units

    return Rival(name, about(fit), run)


def about(thing: Callable[..., Any]) -> str:
    """The docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


def race(
    name: str, unit: str, rivals: Sequence[Rival], repeats: int, seconds: float, **settings: Any
) -> dict[str, Any]:
    """Run every implementation once as warm-up, then all of them in alternating rounds; the last one is repflow.

    Args:
        name: name of the comparison.
        unit: unit of the rates.
        rivals: the implementations; the others are compared with the last one.
        repeats: number of rounds.
        seconds: time per implementation and round.
        settings: settings that all of them share, for the record.

    Returns:
        `name`, `unit`, `settings` and `rivals`: for each the `rates` of every round, their `median`, `low` and `high`,
        and, except for the last one, `times`: the speed-up of the last one, as a spread over the rounds.
    """
    for rival in rivals:
        rival.run(0.0)
    rates: dict[str, list[float]] = {rival.name: [] for rival in rivals}
    for _ in range(repeats):
        for rival in rivals:
            rates[rival.name].append(rival.run(seconds))
    ours = rates[rivals[-1].name]
    measured: list[dict[str, Any]] = []
    for rival in rivals:
        each = [rounded(rate) for rate in rates[rival.name]]
        entry: dict[str, Any] = {"name": rival.name, "about": rival.about, "rates": each}
        entry |= spread(rates[rival.name])
        if rival is not rivals[-1]:
            entry["times"] = spread([mine / theirs for mine, theirs in zip(ours, rates[rival.name], strict=True)])
        measured.append(entry)
    return {"name": name, "unit": unit, "settings": settings, "rivals": measured}
