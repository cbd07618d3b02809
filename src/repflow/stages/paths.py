"""Where the stages keep their files, relative to the project's root, which is the working directory of every stage."""

from pathlib import Path

PARAMETERS = Path("params.yaml")

STORES = Path("data/stores")
SPLITS = Path("data/splits")
MODELS = Path("models")
METRICS = Path("metrics")
PLOTS = Path("plots")
REPORTS = Path("reports")

STATE = Path(".repflow")
"""Ignored by git and undeclared to DVC: what a resumed stage picks up, and what a run cost."""
