"""The sections of `benchmarks/flows.py`: Prefect flows compared with DVC alone."""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

sys.path.append(str(PROJECT / "flows"))  # scripts rather than a package
