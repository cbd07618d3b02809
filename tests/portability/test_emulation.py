"""The same digits on CPUs of two makers and three generations: real training steps, probes and maps under QEMU."""

from collections.abc import Callable
from pathlib import Path

import pytest

CPUS = ("EPYC-Rome", "Haswell-v4", "Skylake-Client-v4")

Digests = dict[str, str]
Run = Callable[..., Digests]


@pytest.mark.parametrize("cpu", CPUS)
def test_another_cpu_has_the_same_digits(cpu: str, qemu: str, run: Run, here: Digests, data: Path) -> None:
    there = run("replay", data, qemu, "-cpu", cpu)
    assert there.keys() == here.keys()
    assert [name for name in here if here[name] != there[name]] == []  # in order: the first is where it began


def test_every_part_is_there(here: Digests) -> None:
    parts = {name.partition(".")[0] for name in here}
    assert parts == {"simclr", "fixmatch", "dann", "masked_autoencoder", "gan", "probe", "evaluate", "report"}
    assert {name.split(".")[1] for name in here if name.startswith("dann")} == {"1-threads", "2-threads"}
