"""Which instructions of the CPU the numerical libraries may use.

They choose by the CPU that they find, and sums taken in another order end in other digits. The libraries look once,
when they are loaded: set it before PyTorch is imported.
"""

import logging
import os
import sys
from typing import Literal

log = logging.getLogger("repflow")

Instructions = Literal["avx2", "native"]

PINNED = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
"""PyTorch's own kernels, oneDNN's convolutions, and MKL's matrix products."""


def pin(instructions: Instructions) -> None:
    """Let the libraries that are loaded from now on use no other instructions, in this process and those it starts."""
    if instructions == "native" or PINNED.items() <= os.environ.items():
        return
    if "torch" in sys.modules:
        log.warning("hardware.instructions: PyTorch is loaded already, and may keep those that it has chosen")
    os.environ.update(PINNED)
