"""The one loop that trains every method: optimisation, precision, devices, progress and curves."""

from repflow.training.config import TrainingConfig
from repflow.training.keeper import Trained
from repflow.training.loop import train

__all__ = ["Trained", "TrainingConfig", "train"]
