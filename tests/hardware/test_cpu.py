"""What numerical libraries choose by the CPU is settled before they are imported, in every process."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from repflow.hardware import cpu
from repflow.hardware.cpu import PASSIVE, let_threads_sleep, numpy_features, other_digits, pinned

CHOSEN = """
import json, sys
from repflow.hardware.cpu import pin
for name in sys.argv[2:]: __import__(name)
pin(sys.argv[1])
import torch, scipy.linalg, threadpoolctl
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
blas = [each for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"]
print(json.dumps({
    "torch": torch.backends.cpu.get_cpu_capability(),
    "blas": sorted({each["architecture"] for each in blas}),
    "threads": sorted({each["num_threads"] for each in blas}),
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name] and ("512" in name or name == "X86_V4")],
}))
"""
IDLE = """
import sys, time
if sys.argv[1:]:
    from repflow.hardware.cpu import pin
    pin(sys.argv[1])
import torch
torch.set_num_threads(2)
numbers = torch.ones(200_000)
numbers + numbers
before = time.process_time()
for _ in range(100):
    numbers + numbers
    time.sleep(0.003)
print(time.process_time() - before)
"""


def run(program: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """Output and log of a Python program in an environment where nothing is settled yet."""
    free = {name: value for name, value in os.environ.items() if name not in {*pinned(), *PASSIVE}}
    command = [sys.executable, "-W", "error::ImportWarning", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=free | environment, check=True)
    return done.stdout.strip(), done.stderr.strip()


def avx2() -> bool:
    return not other_digits()


@pytest.mark.skipif(not avx2(), reason="wants an x86-64 CPU with AVX2 under Linux")
def test_every_library_is_pinned_whatever_the_shell_has_set() -> None:
    found, said = run(CHOSEN, "avx2", OPENBLAS_CORETYPE="SkylakeX", OPENBLAS_NUM_THREADS="64", MKL_CBWR="AVX2")
    assert json.loads(found) == {"torch": "AVX2", "blas": ["Haswell"], "threads": [1], "numpy": []}
    assert said == ""


@pytest.mark.skipif(not avx2(), reason="wants an x86-64 CPU with AVX2 under Linux")
@pytest.mark.parametrize(
    ("early", "named"),
    [(["numpy"], "numpy is already"), (["torch", "scipy"], "torch, numpy and scipy are already")],
)
def test_an_import_that_came_too_early_is_named(early: list[str], named: str) -> None:
    assert named in run(CHOSEN, "avx2", *early)[1]


@pytest.mark.skipif(not avx2(), reason="wants an x86-64 CPU with AVX2 under Linux")
def test_native_takes_back_what_a_parent_has_pinned() -> None:
    program = "import os; from repflow.hardware.cpu import pin; pin('native'); print(os.getenv('MKL_CBWR'))"
    assert run(program, **pinned()) == ("None", "")
    assert run(program, MKL_CBWR="AVX2") == ("AVX2", "")


def test_names_are_those_of_numpy() -> None:
    """A name that is not in its list makes numpy warn; -W error turns that into a failure in `run`."""
    from numpy._core._multiarray_umath import __cpu_baseline__, __cpu_dispatch__

    names = numpy_features(version("numpy"))
    assert set(names) <= set(__cpu_dispatch__) - set(__cpu_baseline__)
    assert all(name in names for name in __cpu_dispatch__ if re.match("AVX512|X86_V[45]", name))
    assert "AVX512_SPR" not in numpy_features("2.2.6")
    assert "AVX512F" in numpy_features("2.3.0")


def test_idle_threads_sleep() -> None:
    spinning = float(run(IDLE)[0])
    for instructions in ("avx2", "native"):
        asleep = float(run(IDLE, instructions)[0])
        assert asleep < 0.5 * spinning, instructions


def test_what_the_user_says_of_idle_threads_holds() -> None:
    mine = {"OMP_WAIT_POLICY": "ACTIVE"}
    let_threads_sleep(mine)
    assert mine == {"OMP_WAIT_POLICY": "ACTIVE"}
    nobodys: dict[str, str] = {}
    let_threads_sleep(nobodys)
    assert nobodys["GOMP_SPINCOUNT"] == "0"


@pytest.mark.parametrize(
    ("system", "machine", "flags", "said"),
    [
        ("Linux", "x86_64", "fpu sse2 avx avx2 fma", ""),
        ("Linux", "x86_64", "fpu sse2 avx", "this CPU has no AVX2 and no FMA"),
        ("Linux", "aarch64", None, "this machine runs Linux on aarch64"),
        ("Darwin", "arm64", None, "this machine runs Darwin on arm64"),
    ],
)
def test_machines_that_cannot_have_the_record_s_digits_go_on_and_say_so(
    system: str,
    machine: str,
    flags: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert other_digits(info) == said
    monkeypatch.setattr(cpu, "other_digits", lambda: other_digits(info))
    for name in pinned():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cpu, "CHOOSING", ())
    cpu.pin("avx2")
    assert ("ATEN_CPU_CAPABILITY" in os.environ) == (not said)  # PyTorch would run what the CPU does not have
    assert [record.getMessage() for record in caplog.records if "may differ" in record.getMessage()] == (
        [caplog.messages[0]] if said else []
    )
    assert said in caplog.text


def test_a_shell_can_settle_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "repflow.hardware.cpu"], capture_output=True, text=True, check=True)
    shell = ["/bin/bash", "-c", f"{done.stdout}\nenv"]
    seen = subprocess.run(shell, capture_output=True, text=True, check=True, env={}).stdout.splitlines()
    assert {f"{name}={value}" for name, value in {**pinned(), **PASSIVE}.items()} <= set(seen)
