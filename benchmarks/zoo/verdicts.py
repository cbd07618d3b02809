"""Which methods read above their floor, the same encoder with random weights: paired tests over images and seeds.

Both are read at the layers that the validation images chose for each. All questions of a data set, kNN and linear probe
of every method, are corrected together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from repflow.evaluation.paired_test import Difference, holm, paired_difference
from zoo import CEILING, FLOOR, floor_of, is_floor

LEVEL = 0.05
"""Probability, at most, that any method of a data set is called above its floor and is not."""
PROBES = {"kNN": "chosen_knn", "linear": "chosen_linear"}


def verdicts(folder: Path, methods: Sequence[str], rows: int) -> dict[str, str]:
    """What the tables say of each method that was read with its floor: "yes", "no", or the probe in which it is above.

    Args:
        folder: right/DATA, the files of one data set.
        methods: names of its entries.
        rows: number of its test images.
    """
    found: dict[tuple[str, str], Difference] = {}
    for name in methods:
        floor = floor_of(name) if floor_of(name) in methods else FLOOR
        if is_floor(name) or name == CEILING:
            continue
        for probe, reading in PROBES.items():
            pair = common(right(folder, name, reading, rows), right(folder, floor, reading, rows))
            if pair is not None:
                found[name, probe] = paired_difference(*pair)
    corrected = holm({question: difference.p for question, difference in found.items()})
    asked = dict.fromkeys(name for name, _ in found)
    return {
        name: verdict(
            {probe: (found[name, probe], corrected[name, probe]) for probe in PROBES if (name, probe) in found}
        )
        for name in asked
    }


def right(folder: Path, name: str, reading: str, rows: int) -> dict[int, np.ndarray]:
    """Seed to which test images are right, bool [rows], of an entry; seeds without this reading are not there."""
    found = {}
    for path in folder.glob(f"{name}-*.safetensors"):
        entry, _, seed = path.stem.rpartition("-")
        packed = load_file(path) if entry == name else {}
        if reading in packed:
            found[int(seed)] = np.unpackbits(packed[reading], count=rows).astype(bool)
    return found


def common(one: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Both entries with the seeds that both have, bool [S, N] each; None if there is none."""
    seeds = sorted(one.keys() & other.keys())
    return (np.stack([one[seed] for seed in seeds]), np.stack([other[seed] for seed in seeds])) if seeds else None


def verdict(probes: Mapping[str, tuple[Difference, float]]) -> str:
    """One method's verdict; `probes` has the difference and the corrected p-value of each."""
    above = [probe for probe, (_, p) in probes.items() if p < LEVEL]
    if len(above) == len(probes):
        return "yes"
    points = ", ".join(
        f"{probe} by {100 * difference.value:.1f} ± {100 * difference.standard_error:.1f} points"
        for probe, (difference, _) in probes.items()
        if probe not in above
    )
    return f"{above[0]} only ({points})" if above else f"no ({points})"
