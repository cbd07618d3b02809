"""The one loop that trains every method: optimisation, precision, devices, progress and curves."""

from repflow.training.config import TrainingConfig
from repflow.training.hardware import HardwareConfig, prepare
from repflow.training.loop import Trained, train
from repflow.training.weights import seeded

__all__ = ["HardwareConfig", "Trained", "TrainingConfig", "prepare", "seeded", "train"]
