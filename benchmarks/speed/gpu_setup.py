"""The device and the sizes of `benchmarks/gpu.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow.hardware.devices import HardwareConfig
from repflow.schema import build
from speed import ours
from speed.settings import Settings, cores


@dataclass(frozen=True)
class Setup:
    """Device and sizes.

    Attributes:
        device: "cuda" or "cpu".
        encoder: a file of `conf/encoder/`.
        batch: images per step.
        images: number of images.
        steps: steps of the whole training, over all calls.
        validations: kNN accuracies over the whole training.
        layers: of the vision transformer.
        compile: values of `hardware.compile` to measure.
        workers: DataLoader workers of the implementations that have them.
        least: seconds that a part gets even where all minutes are over.
        grace: seconds that a part may take beyond its share: imports, the compilation of kernels, the last step.
        state: folder of the training's checkpoint; None to begin anew in each call.
    """

    device: str
    encoder: str
    batch: int
    images: int
    steps: int
    validations: int
    layers: int
    compile: tuple[str, ...]
    workers: int
    least: float
    grace: float
    state: Path | None = None

    @classmethod
    def of(cls, device: str, seconds: float, state: Path | None) -> "Setup":
        """ResNet-18 and batches of 512 on a GPU; on a CPU as little as tries the script, and nothing is compiled."""
        if device == "cuda":
            compile = ("default", "reduce-overhead")
            return cls(device, "resnet18", 512, 50_000, 44_000, 100, 12, compile, cores(), 0.0, 20.0, state)
        return cls(device, "small", 8, 64, max(20, int(seconds)), 4, 1, ("off",), 0, 1.0, 120.0, state)

    def settings(self, seconds: float) -> Settings:
        """Of the other benchmarks, for one round of `seconds`."""
        return Settings(
            repeats=1,
            seconds=seconds,
            device=self.device,
            workers=self.workers,
            batch=self.batch,
            encoders=(self.encoder,),
        )

    def hardware(self, **changes: Any) -> HardwareConfig:
        """`conf/hardware/gpu.yaml`, or `cpu.yaml`, with changes."""
        values = ours.read("hardware", "gpu" if self.device == "cuda" else "cpu")
        return build(HardwareConfig, {**values, **changes}, "hardware")
