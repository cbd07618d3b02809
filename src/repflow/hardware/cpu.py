"""What the numerical libraries choose by the CPU that they find: instructions, and what their threads do while idle.

Sums taken in another order end in other digits, so that the same training would end differently on another CPU. The
libraries look once, when they are loaded: everything here belongs before the first import of numpy or PyTorch.
"""

import functools
import importlib.metadata
import logging
import os
import platform
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Literal

log = logging.getLogger("repflow")

Instructions = Literal["avx2", "native"]

CHOOSING = ("torch", "numpy", "scipy", "sklearn")
"""Modules that choose when they are imported."""

REQUIRED = frozenset({"avx2", "fma"})
"""Flags in /proc/cpuinfo of a CPU that has the pinned instructions."""

PASSIVE = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Let idle threads sleep: GNU's OpenMP, which PyTorch and scikit-learn bring along, any OpenMP, Intel's and LLVM's."""


def numpy_features(version: str) -> tuple[str, ...]:
    """Features of a CPU beyond AVX2, as `NPY_DISABLE_CPU_FEATURES` of this version of numpy calls them.

    numpy warns of a name that it does not know and refuses to start for one that it cannot do without, so the names
    have to be those of the version. Verified with 2.0 to 2.5.
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    if release >= (2, 4):
        return "X86_V4", "AVX512_ICL", "AVX512_SPR"
    before = ("F", "CD", "_KNL", "_KNM", "_SKX", "_CLX", "_CNL", "_ICL", "_SPR")
    return tuple(f"AVX512{name}" for name in (before if release >= (2, 3) else before[:-1]))


@functools.cache
def pinned() -> dict[str, str]:
    """The environment in which x86-64 CPUs with AVX2 of any maker compute the same digits.

    PyTorch's own kernels; oneDNN's convolutions; MKL, whose `COMPATIBLE` alone means the same on CPUs that are not
    Intel's; OpenBLAS in numpy and scipy, which would also divide its sums by the number of cores; numpy's own loops.
    """
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": ",".join(numpy_features(importlib.metadata.version("numpy"))),
    }


def pin(instructions: Instructions) -> None:
    """Settle what libraries that are loaded from now on choose, in this process and in those that it starts.

    With "avx2" an earlier setting of the same variables is overridden, and it is logged where a library was imported
    too early, or where this machine cannot have the digits of the record. "native" takes back what a parent process has
    pinned. Idle threads sleep in either case.
    """
    let_threads_sleep()
    inherited = pinned().items() <= os.environ.items()
    if instructions == "native":
        for name in pinned() if inherited else ():
            del os.environ[name]
        return
    lacking = other_digits()
    if lacking:
        log.warning(
            "hardware.instructions: %s; results are reproducible here, but their last digits may differ from a record"
            " made on an x86-64 CPU with AVX2 under Linux",
            lacking,
        )
        return
    if inherited:
        return
    early = [name for name in CHOOSING if name in sys.modules]
    if early:
        log.warning(
            "hardware.instructions: %s already imported, and may keep the instructions chosen then", _are(early)
        )
    os.environ.update(pinned())


def let_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle threads of OpenMP sleep rather than spin, unless the environment says what they are to do.

    A thread that spins takes its core from whatever else runs there: two trainings at once, two threads each on two
    cores, take nearly twice as long as they need to.
    """
    if not PASSIVE.keys() & environment.keys():
        environment.update(PASSIVE)


def other_digits(flags: Path = Path("/proc/cpuinfo")) -> str:
    """Why this machine may compute other digits than the record's; empty where it should not.

    Args:
        flags: what Linux says of the CPU.
    """
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "AMD64"):
        return f"this machine runs {system} on {machine}"
    try:
        lines = flags.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    said = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    missing = [name.upper() for name in sorted(REQUIRED.difference(said))] if said is not None else []
    return f"this CPU has no {' and no '.join(missing)}" if missing else ""


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _are(names: list[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _exports() -> str:
    """Lines for a shell, `eval "$(python -m repflow.hardware.cpu)"`: for programs that cannot call `pin` in time."""
    return "\n".join(f"export {name}={value}" for name, value in {**pinned(), **PASSIVE}.items())


if __name__ == "__main__":
    print(_exports())
