"""The default graph, first every stage and then none: the flow with one slot compared with `dvc repro`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scheduling.scratch import DVC, FLOW, clone, timed
from speed.spreads import spread

IDLE = 3
"""Rounds with nothing to do, which are short."""


def measure(scratch: Path, url: str, repeats: int) -> dict[str, Any]:
    """Run the graph in two clones, by turns.

    Args:
        scratch: folder for the clones.
        url: of a Prefect server.
        repeats: rounds; one takes about eight minutes on two cores.

    Returns:
        `stages`, how many; as spreads over the rounds, the seconds of `dvc`, of `flow` and of the difference (`more`);
        `same`, whether both wrote the same dvc.lock; and under `idle` the seconds with nothing to do of both, and of a
        flow run with a temporary server (`alone`).

    Raises:
        RuntimeError: a stage failed, ran although nothing had changed, or did not run.
    """
    by_dvc, by_flow = clone(scratch / "dvc"), clone(scratch / "flow")
    pairs, stages = [], 0
    for _ in range(repeats):
        theirs, _ = timed(by_dvc, [*DVC, "repro", "--force"])
        mine, said = timed(by_flow, [*FLOW, "--slots", "1", "--force"], url)
        stages = _stages(said, cached=False)
        pairs.append((theirs, mine))
    own = scratch / "own"
    idle: dict[str, list[float]] = {"dvc": [], "flow": [], "alone": []}
    for _ in range(IDLE):
        idle["dvc"].append(timed(by_dvc, [*DVC, "repro"])[0])
        for name, target, home in (("flow", url, None), ("alone", None, own)):
            seconds, said = timed(by_flow, FLOW, target, home)
            if _stages(said, cached=True) != stages:
                raise RuntimeError(f"not the graph that ran before: {said[-1]}")
            idle[name].append(seconds)
    return {
        "stages": stages,
        "dvc": spread([theirs for theirs, _ in pairs]),
        "flow": spread([mine for _, mine in pairs]),
        "more": spread([mine - theirs for theirs, mine in pairs]),
        "same": (by_dvc / "dvc.lock").read_bytes() == (by_flow / "dvc.lock").read_bytes(),
        "idle": {name: spread(seconds) for name, seconds in idle.items()},
    }


def _stages(said: Sequence[str], cached: bool) -> int:
    """The number of stages of a flow run, from its output; all of them or none must be cached."""
    ended = next((line for line in reversed(said) if line.startswith(("Completed: ", "Failed: "))), "")
    found = re.fullmatch(r"Completed: (\d+) stages, (\d+) of them cached", ended)
    if found is None or int(found[2]) != (int(found[1]) if cached else 0):
        raise RuntimeError(f"the flow was to run {'no' if cached else 'every'} stage: {ended}")
    return int(found[1])
