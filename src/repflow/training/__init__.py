"""The training loop that all methods share: optimisation, precision, devices, checkpoints, progress and curves."""

from repflow.training.best_weights import TrainingResult
from repflow.training.config import TrainingConfig
from repflow.training.loop import train

__all__ = ["TrainingConfig", "TrainingResult", "train"]
