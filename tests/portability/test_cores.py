"""How many cores a machine has, and what its shell says of threads, changes no digit: `hardware.threads` does."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Digests = dict[str, str]
Run = Callable[..., Digests]
MANY = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "64")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no way here to keep a process on one core")
def test_neither_one_core_nor_a_shell_that_asks_for_64_threads_changes_a_digit(
    run: Run, here: Digests, data: Path
) -> None:
    core = min(os.sched_getaffinity(0))
    program = f"import os, sys; os.sched_setaffinity(0, [{core}]); os.execv(sys.argv[1], sys.argv[1:])"
    assert run("replay", data, sys.executable, "-c", program, **MANY) == here


def test_one_thread_and_two_are_records_of_their_own(here: Digests) -> None:
    """Otherwise the test above would not see what threads change."""
    ones = {name: digest for name, digest in here.items() if ".1-threads." in name}
    assert any(here[name.replace(".1-threads.", ".2-threads.")] != digest for name, digest in ones.items())
