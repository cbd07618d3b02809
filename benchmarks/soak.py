"""Soak test: kill the pipeline at random moments and resume it; dvc.lock must be that of an uninterrupted run.

`python benchmarks/soak.py` clones the committed project into a temporary folder and runs `dvc repro` there with an
empty cache, until it has been killed by SIGKILL often enough; a pipeline that finishes before that is started again
from scratch. Each time the pipeline finishes, its dvc.lock must be byte-identical to that of an uninterrupted run.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def main() -> int:
    """Run the soak test and print a line for every kill; returns 0 if dvc.lock was as expected every time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--between", type=float, nargs=2, default=(4.0, 26.0), help="seconds from start to kill")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    parser.add_argument(
        "--undisturbed", type=Path, help="dvc.lock of an uninterrupted run on this machine; default: make one"
    )
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        revision = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=PROJECT, text=True).strip()
        expected = arguments.undisturbed.read_bytes() if arguments.undisturbed else undisturbed(folder, revision)
        started, kills, passes = time.monotonic(), 0, 0
        fresh_clone(folder, revision)
        while True:
            seconds = generator.uniform(*arguments.between) if kills < arguments.kills else None
            stage = run(folder, seconds)
            if stage is not None:
                kills += 1
                print(f"kill {kills} of {arguments.kills} after {seconds:.1f} s, in {stage}", flush=True)
                continue
            passes += 1
            if (folder / "dvc.lock").read_bytes() != expected:
                print(f"dvc.lock differs after {kills} kills; it is saved as soaked.lock")
                shutil.copy(folder / "dvc.lock", "soaked.lock")
                return 1
            print(f"the pipeline finished {passes} time(s), with the expected dvc.lock", flush=True)
            if kills >= arguments.kills:
                break
            fresh_clone(folder, revision)
    minutes = (time.monotonic() - started) / 60
    print(
        f"{kills} kills, {passes} finished runs in {minutes:.0f} min: dvc.lock always equals that of an undisturbed run"
    )
    return 0


def fresh_clone(folder: Path, revision: str) -> None:
    """A clone of the project at `revision` without outputs, which saves checkpoints as often as possible."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=folder, check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    parameters = folder / "params.yaml"
    # No stage depends on the checkpoint interval.
    text = re.sub(r"every_seconds: .*", "every_seconds: 1.0", parameters.read_text())
    parameters.write_text(text)


def undisturbed(folder: Path, revision: str) -> bytes:
    """The dvc.lock of an uninterrupted run."""
    fresh_clone(folder, revision)
    if run(folder, None) is not None:
        raise AssertionError("the run ended early, although it was not killed")
    print("an uninterrupted run made the expected dvc.lock", flush=True)
    return (folder / "dvc.lock").read_bytes()


def run(folder: Path, seconds: float | None) -> str | None:
    """Run `dvc repro`; returns the stage in which it was killed after `seconds`, or None if it finished."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}
    log = folder.parent / "log"
    with log.open("w") as output:
        dvc = [str(Path(sys.executable).with_name("dvc")), "repro"]
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        process = subprocess.Popen(
            dvc, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            stages = re.findall(r"Running stage '(.+)'", log.read_text())
            return str(stages[-1]) if stages else "the start of DVC"
    if code != 0:
        raise RuntimeError(f"dvc repro ended with {code}:\n{log.read_text()[-4000:]}")
    return None


if __name__ == "__main__":
    sys.exit(main())
