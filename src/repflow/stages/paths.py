"""Paths of the stages' files, relative to the project's root, which is the working directory of every stage."""

from pathlib import Path

import repflow

PARAMETERS = Path("params.yaml")

CODE = Path("code")
STORES = Path("data/stores")
SPLITS = Path("data/splits")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
REPORTS = Path("reports")

SOURCE = Path(repflow.__file__).parents[1]
"""The folder that the running package lies in; not relative to the project."""

STATE = Path(".repflow")
"""Ignored by git and not tracked by DVC: checkpoints that an interrupted stage resumes from, and the cost of runs."""
