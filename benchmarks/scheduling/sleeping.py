"""Four independent stages that only sleep: the flow with four slots compared with `dvc repro`."""

from pathlib import Path
from typing import Any

from scheduling.scratch import DVC, FLOW, clone, timed
from speed.spreads import spread

STAGES = 4
SECONDS = 10.0

_GRAPH = """
stages:
  pretrain:
    cmd: mkdir -p models && echo encoder > models/encoder.txt
    outs: [models/encoder.txt]
  adapt:
    foreach: [NAMES]
    do:
      cmd: sleep SECONDS && cp models/encoder.txt models/${item}.txt
      deps: [models/encoder.txt]
      outs: ['models/${item}.txt']
"""


def measure(scratch: Path, url: str, repeats: int, seconds: float = SECONDS) -> dict[str, Any]:
    """Run the graph in one clone, by turns.

    Args:
        scratch: folder for the clone.
        url: of a Prefect server.
        repeats: rounds.
        seconds: how long each stage sleeps.

    Returns:
        `stages` and `seconds` as given, and the seconds of `dvc` and of `flow` as spreads over the rounds.
    """
    names = ", ".join(f"method_{number}" for number in range(STAGES))
    project = clone(scratch / "sleeping", _GRAPH.replace("NAMES", names).replace("SECONDS", f"{seconds:g}"))
    found: dict[str, list[float]] = {"dvc": [], "flow": []}
    for _ in range(repeats):
        found["dvc"].append(timed(project, [*DVC, "repro", "--force"])[0])
        found["flow"].append(timed(project, [*FLOW, "--slots", str(STAGES), "--force"], url)[0])
    return {"stages": STAGES, "seconds": seconds} | {name: spread(values) for name, values in found.items()}
