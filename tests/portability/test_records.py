"""This machine has the digits of the records in benchmarks/, whoever made its CPU."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from repflow.hardware.cpu import other_digits

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "portability.py"
RECORDS = sorted((ROOT / "benchmarks" / "records" / "portability").glob("*.json"))
MAKERS_OWN = {
    *("sqrt", "sqrt_64", "sqrt_strided", "sqrt_of_1", "sqrt_of_7", "sqrt_of_1000", "pow_half", "cdist", "adamw"),
    *("asin", "acos", "atan", "asin_64", "acos_64", "atan_64", "log2", "log2_64", "log10", "log10_64", "log_64"),
    *("logit_64", "tan_64"),
}
"""Operations that MKL begins with approximate instructions. Nothing in src/ takes them; see test_portable_math.py."""


@pytest.mark.skipif(bool(other_digits()), reason="wants an x86-64 CPU with AVX2 under Linux")
@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_operations_have_the_digits_of_the_record(record: Path) -> None:
    recorded = json.loads(record.read_text(encoding="utf-8"))
    machine = recorded["machine"]
    if any(version(name) != recorded for name, recorded in machine["versions"].items()):
        pytest.skip(f"{record.name} is of other versions: {machine['versions']}")
    command = [sys.executable, str(PROGRAM), "--threads", str(machine["threads"])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    here = json.loads(done.stdout)["operations"]
    assert here.keys() == recorded["operations"].keys()
    assert {name for name, digest in recorded["operations"].items() if here[name] != digest} <= MAKERS_OWN


def test_a_comparison_names_what_differs(tmp_path: Path) -> None:
    recorded = json.loads(RECORDS[0].read_text(encoding="utf-8"))["operations"]
    other = tmp_path / "other.json"  # without its machine, as other programs write it
    other.write_text(json.dumps({**recorded, "matmul": "0", "new": "1"}), encoding="utf-8")
    command = [sys.executable, str(PROGRAM), "--compare", str(RECORDS[0]), str(other)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == f"{len(recorded)} operations in both, 1 differ: matmul\n"
