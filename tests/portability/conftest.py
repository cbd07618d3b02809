"""QEMU's user mode, which runs a program as another CPU would."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def qemu() -> str:
    """The program; without it the test is skipped or, where REPFLOW_EMULATION is "required", fails."""
    found = shutil.which("qemu-x86_64")
    if found is None:
        message = "qemu-x86_64 is not on the PATH (apt-get install qemu-user)"
        if os.environ.get("REPFLOW_EMULATION") == "required":
            pytest.fail(message)
        pytest.skip(message)
    return found
