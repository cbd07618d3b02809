"""How a stage's process starts, before it imports PyTorch: under a launcher, and within the instructions that are asked
for."""

import os
import shlex
import sys


def launch() -> None:
    """Hand a training over to the launcher that REPFLOW_LAUNCH names, such as srun or torchrun: once."""
    launcher = shlex.split(os.environ.pop("REPFLOW_LAUNCH", ""))
    if launcher:
        os.execvp(launcher[0], [*launcher, *sys.argv])


def pin_instructions() -> None:
    """Keep PyTorch, which the stage is about to import, to the instructions that params.yaml names."""
    from repflow.hardware import HardwareConfig
    from repflow.instructions import pin
    from repflow.stages.parameters import read

    pin(read("hardware", HardwareConfig).instructions)
