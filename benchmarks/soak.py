"""Kill the whole graph again and again: `python benchmarks/soak.py` must end with the record of an undisturbed run.

Clones the committed project into a scratch folder, and runs `dvc repro` there, with an empty cache, until it has been
killed by SIGKILL at random moments often enough; a graph that comes to its end before that is made anew. What counts is
the file dvc.lock: each time the graph is whole, it must equal, byte for byte, that of a run that nobody disturbed.
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
    """Run, and print a line for every kill; 0 where every record was the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--between", type=float, nargs=2, default=(4.0, 26.0), help="seconds from start to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--undisturbed", type=Path, help="dvc.lock of this machine; else one is made")
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
                print(f"the record differs after {kills} kills; it is kept as soaked.lock")
                shutil.copy(folder / "dvc.lock", "soaked.lock")
                return 1
            print(f"the graph came to its end {passes} time(s), with the expected record", flush=True)
            if kills >= arguments.kills:
                break
            fresh_clone(folder, revision)
    minutes = (time.monotonic() - started) / 60
    print(
        f"{kills} kills, {passes} whole graphs in {minutes:.0f} min: dvc.lock is that of an undisturbed run each time"
    )
    return 0


def fresh_clone(folder: Path, revision: str) -> None:
    """The project at `revision` without anything that was made, saving as often as it can."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=folder, check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    parameters = folder / "params.yaml"
    # No stage depends on how often it is saved.
    text = re.sub(r"every_seconds: .*", "every_seconds: 1.0", parameters.read_text())
    parameters.write_text(text)


def undisturbed(folder: Path, revision: str) -> bytes:
    """The record of a run that nobody disturbs."""
    fresh_clone(folder, revision)
    if run(folder, None) is not None:
        raise AssertionError("nobody killed it")
    print("an undisturbed run made the record that is expected", flush=True)
    return (folder / "dvc.lock").read_bytes()


def run(folder: Path, seconds: float | None) -> str | None:
    """`dvc repro`; the stage under way when it was killed after `seconds`, or None where it came to its end."""
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
            return str(stages[-1]) if stages else "DVC's own start"
    if code != 0:
        raise RuntimeError(f"dvc repro ended with {code}:\n{log.read_text()[-4000:]}")
    return None


if __name__ == "__main__":
    sys.exit(main())
