"""A study that ends the same whatever runs beside what, and however often it is killed.

Trials are asked for in batches. Every question to the sampler and every decision of the pruner is a function of the
seed, the number of the trial and the trials that were finished before its batch began. So the journal need only hold
finished trials, in their order: what a kill leaves out of a batch is asked for again, with the same answers.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.errors import RepflowError
from repflow.randomness.seeds import derive_seed
from repflow.stages.searching.config import SearchConfig
from repflow.stages.searching.journal import open_storage
from repflow.stages.searching.objectives import accuracy, best_trial, directions
from repflow.stages.searching.pruning import PrunersJudge
from repflow.stages.searching.space import Point, Space, distributions, tidy
from repflow.stages.searching.workers import Outcome, Runner, describe

if TYPE_CHECKING:
    from repflow.training.cost import Meter

log = logging.getLogger(__name__)

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Search:
    """A search over `space`.

    Args:
        config: how to search.
        space: what may vary.
        default: the point of trial 0.
        seed: of all draws.
        place: of the finished trials, as `open_storage` takes it; a search that finds some goes on from there.
        meter: of what the trials cost; the storage keeps it too.
        name: of the search in its storage; one that others share must tell it from others.
    """

    def __init__(
        self,
        config: SearchConfig,
        space: Space,
        default: Point,
        seed: int,
        place: Path | str,
        meter: "Meter | None" = None,
        name: str = "tune",
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config, self._space, self._default, self._seed = config, space, default, seed
        self._distributions, self._meter = distributions(space), meter
        self._directions = directions(config.further)
        self._study = optuna.create_study(
            study_name=name, storage=open_storage(place), directions=self._directions, load_if_exists=True
        )

    @property
    def finished(self) -> list[FrozenTrial]:
        """The finished trials, by their numbers."""
        return self._study.get_trials(deepcopy=False)

    def run(self, workers: Runner) -> list[FrozenTrial]:
        """Run what is missing, and give all trials.

        Raises:
            RepflowError: every trial failed.
        """
        begun = time.monotonic()
        if self.finished:
            log.info("tune: %d of %d trials are there already", len(self.finished), self._config.trials)
            if self._meter is not None:
                self._meter.restore(self.finished[-1].user_attrs["cost"])
        while (done := len(self.finished)) < self._config.trials:
            if done % self._config.batch == 0 and done and self._late(begun):
                log.info("tune: the time is over after %d of %d trials", done, self._config.trials)
                break
            self._run_batch(workers, done)
        if self._config.trials and not best_trial(self.finished, self._config.further):
            reasons = sorted({trial.user_attrs.get("reason", "") for trial in self.finished})
            raise RepflowError(
                f"tune: all {len(self.finished)} trials failed: {'; '.join(reasons)}; mend finetune.training, or the"
                " ranges in tune.search.space"
            )
        return self.finished

    def _late(self, begun: float) -> bool:
        return self._config.time is not None and time.monotonic() - begun >= self._config.time

    def _run_batch(self, workers: Runner, done: int) -> None:
        """Run the trials of the batch that trial `done` belongs to, as far as they are missing, and write them down."""
        first = done - done % self._config.batch
        before = self.finished[:first]
        points = self.ask(before, range(first, min(first + self._config.batch, self._config.trials)))
        missing = {number: point for number, point in points.items() if number >= done}
        outcomes: dict[int, Outcome] = {}
        for number, outcome in workers.outcomes(missing, PrunersJudge(self._config.pruner, before)):
            outcomes[number] = outcome
            while (due := len(self.finished)) in outcomes:
                self._write(points[due], outcomes.pop(due))

    def ask(self, before: Sequence[FrozenTrial], numbers: "range") -> dict[int, Point]:
        """The points of the trials `numbers`, one batch, where only the trials `before` are known."""
        points: dict[int, Point] = {}
        for number in numbers:
            points[number] = self._draw(before, list(points.values()), number) if number else self._default
        return points

    def _draw(self, before: Sequence[FrozenTrial], beside: Sequence[Point], number: int) -> Point:
        # A new sampler for every trial: no state that a kill could lose. Its seed is 32 bits wide.
        seed = derive_seed(self._seed, "tune", number) % 2**32
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._config.startup)
        study = optuna.create_study(directions=self._directions, sampler=sampler)
        # Neighbours in the batch stand as running ones, so that the sampler looks elsewhere.
        running = [
            create_trial(state=TrialState.RUNNING, params=point, distributions=self._distributions) for point in beside
        ]
        # Optuna ranks trials that were given up only in searches for one objective.
        known = before if len(self._directions) == 1 else [each for each in before if each.state != TrialState.PRUNED]
        study.add_trials([*known, *running])
        return tidy(self._space, study.ask(self._distributions).params)

    def _write(self, point: Point, outcome: Outcome) -> None:
        """Add a finished trial to the journal: one line, so it is there whole or not at all."""
        number = len(self.finished)
        notes: dict[str, Any] = {"reason": outcome.reason} if outcome.reason else {}
        if self._meter is not None:
            self._meter.add(outcome.cost)
            notes["cost"] = self._meter.state()
        self._study.add_trial(
            create_trial(
                state=_STATES[outcome.state],
                values=_values(outcome, len(self._directions)),
                params=point,
                distributions=self._distributions,
                intermediate_values=dict(outcome.looks),
                user_attrs=notes,
            )
        )
        best = best_trial(self.finished, self._config.further)
        log.info(
            "tune: %d of %d: trial %d, %s: %s; best so far: %s",
            number + 1,
            self._config.trials,
            number,
            describe(point),
            outcome.reason or f"{outcome.state}, validation {self._shown(outcome)}",
            f"{accuracy(best):.4f} in trial {best.number}" if best else "none",
        )

    def _shown(self, outcome: Outcome) -> str:
        pairs = zip(self._config.further, outcome.further, strict=False)
        return ", ".join([f"{accuracy(self.finished[-1]):.4f}", *(f"{name} {value:.4f}" for name, value in pairs)])


def _values(outcome: Outcome, objectives: int) -> list[float] | None:
    """What the storage keeps: of a trial that was given up its last look, where there is one objective."""
    if outcome.state == "pruned" and objectives == 1:
        return [outcome.looks[max(outcome.looks)]]
    return [outcome.value, *outcome.further] if outcome.value is not None else None
