"""What Prefect costs beside DVC alone, and what it gives: the sections of `benchmarks/flows.py`."""

import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

sys.path.append(str(PROJECT / "flows"))  # scripts, no package
