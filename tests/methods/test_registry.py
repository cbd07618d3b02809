"""Finding a method brings nothing that it does not need."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from repflow.methods.registry import find_method
find_method("pretext", "simclr")
found = ["lightly" in sys.modules, "timm" in sys.modules]
import timm
print(json.dumps([*found, len(timm.list_models()) > 1000]))
"""


def test_a_method_comes_without_timm_which_can_still_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [True, False, True]
