"""The one loop that trains every method: optimisation, precision, devices, progress and curves."""

from repflow.training.best_weights import Trained
from repflow.training.config import TrainingConfig
from repflow.training.loop import train

__all__ = ["Trained", "TrainingConfig", "train"]
