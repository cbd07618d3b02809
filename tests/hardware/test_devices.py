"""What preparing the hardware imports and sets, in a process of its own."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from repflow.hardware.devices import HardwareConfig, prepare
prepare(HardwareConfig(threads=1))
import torch
found = {"torchvision": "torchvision" in sys.modules, "hidden": "torchmetrics" in sys.modules}
found["filled"] = torch.utils.deterministic.fill_uninitialized_memory
import torchmetrics
found["torchmetrics"] = bool(torchmetrics.__version__)
print(json.dumps(found))
"""


def test_fabric_comes_without_torchmetrics_which_can_still_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, encoding="utf-8", check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"torchvision": False, "hidden": False, "filled": False, "torchmetrics": True}
