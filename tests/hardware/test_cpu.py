"""The instructions that numerical libraries use are those that were asked for, not those of the machine."""

import os
import subprocess
import sys

import pytest

from repflow.hardware.cpu import PINNED

PROGRAM = """
import sys
from repflow.hardware.cpu import pin
if "late" in sys.argv: import torch
pin(sys.argv[1])
import torch
print(torch.backends.cpu.get_cpu_capability())
"""


def capability(*arguments: str) -> tuple[str, str]:
    free = {name: value for name, value in os.environ.items() if name not in PINNED}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, env=free, check=True
    )
    return done.stdout.strip(), done.stderr


def test_pinned_instructions_are_used() -> None:
    native, _ = capability("native")
    if native not in ("AVX2", "AVX512"):
        pytest.skip(f"this machine has {native}")
    assert capability("avx2") == ("AVX2", "")


def test_too_late_is_told() -> None:
    _, said = capability("avx2", "late")
    assert "PyTorch is loaded already" in said
