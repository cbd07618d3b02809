"""A deterministic study: the result does not depend on the number of workers or on interruptions.

Trials are sampled in batches. Every suggestion of the sampler and every decision of the pruner is a function of the
seed, the number of the trial and the trials that were finished before its batch began. So the journal only stores
finished trials, in order: trials that are missing after a kill are sampled again, with the same values.
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
from repflow.stages.searching.pruning import PrunerRule
from repflow.stages.searching.space import Point, Space, distributions, round_point
from repflow.stages.searching.workers import Outcome, Runner, describe
from repflow.units import duration_in_words

if TYPE_CHECKING:
    from repflow.training.cost import Meter

log = logging.getLogger(__name__)

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class Search:
    """A hyperparameter search over `space`.

    Args:
        config: settings of the search.
        space: the search space.
        default: the point of trial 0.
        seed: the random seed.
        place: storage of finished trials, as in `open_storage`; a search resumes from the trials that it finds there.
        meter: adds up the cost of the trials; the storage keeps it too.
        name: name of the study in the storage; must be unique in a shared database.
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
        """The finished trials, sorted by number."""
        return self._study.get_trials(deepcopy=False)

    def run(self, workers: Runner) -> list[FrozenTrial]:
        """Run the missing trials, and return all trials.

        Raises:
            RepflowError: every trial failed.
        """
        begun = time.monotonic()
        if self.finished:
            log.info("tune: %d of %d trials are already finished", len(self.finished), self._config.trials)
            if self._meter is not None:
                self._meter.restore(self.finished[-1].user_attrs["cost"])
        while (done := len(self.finished)) < self._config.trials:
            if done % self._config.batch == 0 and done and self._is_over_time(begun):
                log.info("tune: the time limit was reached after %d of %d trials", done, self._config.trials)
                break
            now = time.monotonic()
            self._run_batch(workers, done)
            self._estimate(len(self.finished) - done, time.monotonic() - now)
        if self._config.trials and not best_trial(self.finished, self._config.further):
            reasons = sorted({trial.user_attrs.get("reason", "") for trial in self.finished})
            raise RepflowError(
                f"tune: all {len(self.finished)} trials failed: {'; '.join(reasons)}; change finetune.training or the"
                " ranges in tune.search.space"
            )
        return self.finished

    def _estimate(self, trials: int, seconds: float) -> None:
        """Log how long the rest takes, given a batch of trials."""
        left = self._config.trials - len(self.finished)
        if left:
            log.info("tune: about %s left", duration_in_words(seconds / max(1, trials) * left))

    def _is_over_time(self, begun: float) -> bool:
        return self._config.time is not None and time.monotonic() - begun >= self._config.time

    def _run_batch(self, workers: Runner, done: int) -> None:
        """Run the missing trials of the batch that trial `done` belongs to, and store their results."""
        first = done - done % self._config.batch
        before = self.finished[:first]
        points = self.ask(before, range(first, min(first + self._config.batch, self._config.trials)))
        missing = {number: point for number, point in points.items() if number >= done}
        outcomes: dict[int, Outcome] = {}
        for number, outcome in workers.outcomes(missing, PrunerRule(self._config.pruner, before)):
            outcomes[number] = outcome
            while (due := len(self.finished)) in outcomes:
                self._write(points[due], outcomes.pop(due))

    def ask(self, before: Sequence[FrozenTrial], numbers: "range") -> dict[int, Point]:
        """The points of the trials `numbers`, which are one batch, given only the trials `before`."""
        points: dict[int, Point] = {}
        for number in numbers:
            points[number] = self._sample(before, list(points.values()), number) if number else self._default
        return points

    def _sample(self, before: Sequence[FrozenTrial], same_batch: Sequence[Point], number: int) -> Point:
        # A new sampler for every trial, so that there is no sampler state to lose. Optuna takes seeds of 32 bits.
        seed = derive_seed(self._seed, "tune", number) % 2**32
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._config.startup)
        study = optuna.create_study(directions=self._directions, sampler=sampler)
        # Trials of the same batch are added as running trials, so that the sampler avoids their points.
        running = [
            create_trial(state=TrialState.RUNNING, params=point, distributions=self._distributions)
            for point in same_batch
        ]
        # Optuna can rank pruned trials only in studies with one objective.
        known = before if len(self._directions) == 1 else [each for each in before if each.state != TrialState.PRUNED]
        study.add_trials([*known, *running])
        return round_point(self._space, study.ask(self._distributions).params)

    def _write(self, point: Point, outcome: Outcome) -> None:
        """Add a finished trial to the storage; one line of the journal, so that a kill cannot leave half a trial."""
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
                intermediate_values=dict(outcome.step_scores),
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
    """The objective values to store; for a pruned trial its last score if there is one objective, else None."""
    if outcome.state == "pruned" and objectives == 1:
        return [outcome.step_scores[max(outcome.step_scores)]]
    return [outcome.value, *outcome.further] if outcome.value is not None else None
