"""Description of the machine and of package versions for records."""

import contextlib
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from speed.settings import Settings, cores

PACKAGES = ("torch", "torchvision", "kornia", "lightly", "pytorch-lightning", "scikit-learn", "pillow")


def describe(settings: Settings) -> dict[str, Any]:
    """Hardware and software that training throughput depends on."""
    import torch

    found = known(PACKAGES)
    found |= {"device": settings.device, "instructions": settings.instructions}
    found["vectors"] = torch.backends.cpu.get_cpu_capability()
    if settings.device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def known(packages: Sequence[str]) -> dict[str, Any]:
    """Hardware, software and load of the machine, without host names and paths."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": dict(_versions(packages)),
    }


def _versions(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and version of the packages that are there; a machine with a GPU may lack rivals."""
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name).split("+")[0]


def processor() -> str:
    """The CPU model as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
