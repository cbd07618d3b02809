"""Devices and precision, by Lightning Fabric."""

from typing import TYPE_CHECKING, Literal

import torch

from repflow.errors import ParameterError
from repflow.schema import Count, NonNegativeCount, parameters

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@parameters
class HardwareConfig:
    """What to train on.

    Attributes:
        accelerator: "cpu", "cuda", "mps", or "auto" for the best that is there.
        precision: as Lightning Fabric names it; "bf16-mixed" is the usual choice on a GPU.
        threads: of PyTorch on the CPU. The last digits of a sum depend on it, so it is part of the record; 0 leaves it
            to PyTorch.
    """

    accelerator: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: NonNegativeCount = 2


def use_threads(threads: NonNegativeCount) -> None:
    """Let PyTorch use this many threads in this process."""
    if threads:
        torch.set_num_threads(threads)


def prepare(config: HardwareConfig, devices: Count = 1) -> "Fabric":
    """The launched Fabric for this hardware; sets the threads of this process, and deterministic algorithms.

    Raises:
        ParameterError: the accelerator is not on this machine.
    """
    from lightning_fabric import Fabric

    use_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        fabric = Fabric(accelerator=config.accelerator, devices=devices, precision=config.precision)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise ParameterError(f"hardware.accelerator: {config.accelerator!r} cannot be used here: {error}") from error
    return fabric


def device_for_inference(config: HardwareConfig) -> torch.device:
    """Where trained models run; sets the threads of this process.

    Spares the seconds that Fabric takes to import, and on the CPU, where the same image gives the same output anyway,
    the second that deterministic algorithms take to switch on.

    Raises:
        ParameterError: the accelerator is not on this machine.
    """
    use_threads(config.threads)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name in there if there[name]) if config.accelerator == "auto" else config.accelerator
    if not there[name]:
        raise ParameterError(f"hardware.accelerator: {name!r} is not on this machine; allowed: cpu, auto")
    if name != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(name)
