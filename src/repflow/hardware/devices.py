"""Devices and precision, by Lightning Fabric. PyTorch is imported late: first its instructions are chosen."""

import contextlib
import ctypes
from typing import TYPE_CHECKING, Literal

from repflow.errors import ParameterError
from repflow.hardware.cpu import Instructions
from repflow.hardware.imports import without
from repflow.schema import Count, NonNegativeCount, parameters

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


@parameters
class HardwareConfig:
    """What to train on.

    Attributes:
        accelerator: "cpu", "cuda", "mps", or "auto" for the best that is there.
        devices: processes on each machine that share every batch, one device each.
        nodes: machines; more than one are started by torchrun or SLURM.
        precision: as Lightning Fabric names it; "bf16-mixed" is the usual choice on a GPU; "64-true" tells
            differences in rounding from those in meaning.
        threads: of PyTorch on the CPU. The last digits of a sum depend on it, so it is part of the record; 0 leaves it
            to PyTorch.
        instructions: what the numerical libraries may use of an x86-64 CPU. The last digits depend on it too: "avx2" is
            what nearly every such machine has, and the same for every maker; "native" is whatever this one has.
        deterministic: the same bytes from the same inputs. On a GPU it forbids the fastest kernels.
        compile: let torch.compile make the encoder faster; "reduce-overhead" adds CUDA graphs.
    """

    accelerator: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    devices: Count = 1
    nodes: Count = 1
    precision: Literal["64-true", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: NonNegativeCount = 2
    instructions: Instructions = "avx2"
    deterministic: bool = True
    compile: Literal["off", "default", "reduce-overhead"] = "off"


def use_threads(threads: NonNegativeCount) -> None:
    """Let PyTorch use this many threads in this process."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def prepare(config: HardwareConfig, updates: int = 1) -> "Fabric":
    """The launched Fabric for this hardware; sets the threads of this process, and deterministic algorithms.

    Where several devices are asked for, the other processes are started here and run the same command; only the one
    that is `is_global_zero` should write anything.

    Args:
        config: what to train on.
        updates: optimiser updates of a step (`Method.updates`); with several, each leaves some parameters without a
            gradient.

    Raises:
        ParameterError: the accelerator is not on this machine.
    """
    import torch

    # Fabric imports it to read its version, which it does not use then, and torchvision and scipy with it: more than a
    # second of the three that Fabric takes.
    with without("torchmetrics"):
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

    _keep_freed_memory()
    use_threads(config.threads)
    torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
    # Filling memory that is about to be written only shows bugs, and takes 7% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not config.deterministic
    several = config.devices * config.nodes > 1
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            precision=config.precision,
            strategy=DDPStrategy(find_unused_parameters=updates > 1) if several else "auto",
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise ParameterError(f"hardware.accelerator: {config.accelerator!r} cannot be used here: {error}") from error
    return fabric


def wait_for(device: "torch.device") -> None:
    """Wait until a GPU has done what it was given; a CPU has done so already."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed, where it is the C library: the next step wants as much again.

    Otherwise it hands large tensors back to the system and has to ask for them anew, page by page, which can cost a
    quarter of a step's time.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def device_for_inference(config: HardwareConfig) -> "torch.device":
    """Where trained models run; sets the threads of this process.

    Spares the seconds that Fabric takes to import, and on the CPU, where the same image gives the same output anyway,
    the second that deterministic algorithms take to switch on.

    Raises:
        ParameterError: the accelerator is not on this machine.
    """
    import torch

    use_threads(config.threads)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name in there if there[name]) if config.accelerator == "auto" else config.accelerator
    if not there[name]:
        raise ParameterError(f"hardware.accelerator: {name!r} is not on this machine; allowed: cpu, auto")
    if name != "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(name)
