"""Rivals that run in turns, so that what else the machine does hits all of them alike."""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from speed.spreads import rounded, spread

WARM = 3
"""Steps of a training before its clock starts: workers start, caches fill, kernels are chosen."""


@dataclass(frozen=True)
class Rival:
    """One way to do the work.

    Attributes:
        name: as the tables show it.
        about: what it does, exactly.
        run: works for about as many seconds as it is told, one unit of work at least, and gives units per second.
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
    """A rival that does one thing again and again.

    Args:
        name: of the rival.
        maker: called with `arguments`, gives what is done, which is told its number; its docstring says what that is.
        units: of work in doing it once.
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
    """Times the steps of one training, without its start.

    Args:
        steps: to be timed; the training has to do `total` of them.
        device: where it runs; its work is waited for when the clock starts and stops.
    """

    def __init__(self, steps: int, device: str):
        self.total = steps + WARM
        self._steps, self._device, self._done = steps, device, 0
        self._stamps: list[float] = []

    def tick(self) -> None:
        """Tell that one more step is done."""
        self._done += 1
        if self._done in (WARM, self.total):
            if self._device == "cuda":
                torch.cuda.synchronize()
            self._stamps.append(time.perf_counter())

    @property
    def steps_per_second(self) -> float:
        """Of the steps that were timed."""
        started, ended = self._stamps
        return self._steps / (ended - started)


def training(name: str, fit: Callable[..., None], units: int, device: str, *arguments: Any) -> Rival:
    """A rival that trains anew in every round, for as many steps as the time allows by the round before.

    Args:
        name: of the rival.
        fit: called with `arguments` and a clock, trains for `clock.total` steps and ticks after each; its docstring
            says how.
        units: of work in a step.
        device: where it trains.
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
    """The docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").split())


def race(
    name: str, unit: str, rivals: Sequence[Rival], repeats: int, seconds: float, **settings: Any
) -> dict[str, Any]:
    """Let every rival run once unmeasured, then all in turns; the last is ours.

    Args:
        name: of the race.
        unit: of work in a second.
        rivals: the last is what the others are held against.
        repeats: rounds.
        seconds: of each rival in each round.
        settings: what all of them share, for the record.

    Returns:
        `name`, `unit`, `settings` and `rivals`: of each the `rates` of every round, their `median`, `low` and `high`,
        and, but for the last, `times`: how many times as fast the last one is, as a spread over the rounds.
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
