"""Training stages as processes: killed at any moment, terminated, or distributed over two devices."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from repflow.stages import adapt, finetune, pretrain

BIN = Path(sys.executable).parent
AFFINE = [{"op": "affine", "degrees": 10.0, "translation": 0.1}]
STEPS = 150
TRAINING = {"steps": STEPS, "batch_size": 16, "log_every": 25, "ema": 0.99}
SECTIONS: dict[str, Any] = {
    "pretrain": {
        "family": "pretext",
        "name": "simclr",
        "settings": {"augment": AFFINE, "hidden": 16, "projection": 8},
        "training": TRAINING,
    },
    "finetune": {
        "family": "semisup",
        "name": "fixmatch",
        "settings": {"weak": AFFINE, "strong": [*AFFINE, {"op": "cutout"}], "unlabelled_ratio": 1},
        "training": {**TRAINING, "early_stopping": {"every": 50, "patience": 20}},
        "head": {"hidden": [16], "dropout": 0.5},
    },
    "adapt": {
        "dann": {
            "family": "adaptation",
            "name": "dann",
            "settings": {"augment": AFFINE, "hidden": 8},
            "training": TRAINING,
            "head": {"hidden": [16], "dropout": 0.5},
        }
    },
}
STAGES = {
    "pretrain": (["pretrain"], "pretrain", "models/pretrain", "metrics/pretrain.json"),
    "finetune": (["finetune"], "finetune", "models/finetune", "metrics/finetune.json"),
    "adapt": (["adapt", "dann"], "adapt@dann", "models/adapt/dann", "metrics/adapt/dann.json"),
}
HERE = {"pretrain": pretrain.run, "finetune": finetune.run, "adapt": lambda: adapt.run("dann")}
"""What the commands call: a stage that nothing stops runs in this process, which has imported everything already."""


@pytest.fixture(autouse=True)
def ready(project: Path) -> Path:
    """The project with sections for all training stages, with a checkpoint at every step."""
    write(SECTIONS | {"runtime": {"memory": 1.0, "checkpoints": {"every_steps": 1, "every_seconds": None}}})
    Path("models/tune").mkdir()
    Path("models/tune/best.yaml").write_text("{}\n")
    return project


def write(sections: dict[str, Any]) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text()) | sections
    Path("params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))


def start(stage: str, **environment: str) -> subprocess.Popen[str]:
    command = [str(BIN / "repflow"), *STAGES[stage][0]]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment)


def saved(stage: str) -> int:
    """The step of the latest checkpoint."""
    files = Path(".repflow/checkpoints", STAGES[stage][1]).glob("*/*.json")
    return max((int(file.stem) for file in files), default=0)


def wait_for(stage: str, step: int, process: subprocess.Popen[str]) -> None:
    while saved(stage) < step:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


def outputs(stage: str) -> dict[str, bytes]:
    _, _, model, metrics = STAGES[stage]
    images = sorted(Path("plots", stage).glob("*.png"))
    return {str(file): file.read_bytes() for file in [*sorted(Path(model).iterdir()), Path(metrics), *images]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_killed_twice_gives_the_same_outputs(stage: str) -> None:
    HERE[stage]()
    undisturbed = outputs(stage)
    for file in undisturbed:
        Path(file).unlink()
    generator = random.Random(0)
    for part in range(2):  # one that has just begun, and one that was resumed
        process = start(stage)
        wait_for(stage, 60 * part + generator.randrange(10, 60), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not Path(STAGES[stage][3]).exists()
        assert 0 < saved(stage) < STEPS
    last = start(stage)
    output = last.communicate()[1]
    assert last.returncode == 0, output
    assert f"{STAGES[stage][1]}: resumed after step " in output
    assert outputs(stage) == undisturbed
    assert not Path(".repflow/checkpoints", STAGES[stage][1]).exists()


def test_a_terminated_stage_saves_a_checkpoint_which_other_parameters_do_not_take_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = start("pretrain")
    wait_for("pretrain", 20, process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[1]
    assert process.returncode == 75, output
    assert (
        f"pretrain: stopped after step {saved('pretrain')} of {STEPS} and saved; run the same command again" in output
    )
    assert "Traceback" not in output
    assert saved("pretrain") >= 20
    write({"seed": 1})
    caplog.set_level("INFO", "repflow")
    pretrain.run()
    assert f"pretrain: step {STEPS}/{STEPS}" in caplog.text
    assert "resumed" not in caplog.text


# A replacement for SLURM's srun on one machine: it starts the requested number of tasks, each with its rank.
SRUN = """#!/bin/sh
for rank in 0 1; do
  SLURM_JOB_ID=4711 SLURM_JOB_NAME=test SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_NODELIST=127.0.0.1 \\
  SLURM_NNODES=1 SLURM_NODEID=0 SLURM_LOCALID=$rank SLURM_PROCID=$rank MASTER_ADDR=127.0.0.1 MASTER_PORT=$PORT "$@" &
  processes="$processes $!"
done
for process in $processes; do wait $process || exit 1; done
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("launcher", ["", "torchrun --nproc-per-node=2 --master-port=PORT --no-python", "srun"])
def test_two_devices_train_one_model(launcher: str, tmp_path: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    port = str(free_port())
    launching = {
        "REPFLOW_LAUNCH": launcher.replace("PORT", port),
        "PORT": port,
        "PATH": f"{srun.parent}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    short = SECTIONS["pretrain"] | {"training": TRAINING | {"steps": 20, "log_every": 20}}
    hardware = {"accelerator": "cpu", "threads": 1}
    write({"pretrain": short, "hardware": hardware, "runtime": {"memory": 1.0, "checkpoints": {}}})
    pretrain.run()
    alone = json.loads(Path("metrics/pretrain.json").read_text())
    write({"hardware": {**hardware, "devices": 2}})
    process = start("pretrain", **launching)
    output = process.communicate()[1]
    assert process.returncode == 0, output
    assert output.count("pretrain: step 20/20") == 1, "only one process logs progress"
    shared = json.loads(Path("metrics/pretrain.json").read_text())
    assert shared["loss"] == pytest.approx(alone["loss"], abs=2e-3)
    assert shared["steps"] == 20


def test_memory_mapped_data_gives_the_same_bytes() -> None:
    short = {**SECTIONS["adapt"]["dann"], "training": {**TRAINING, "steps": 40}}
    found = []
    for memory in (1.0, 1e-9):
        write({"adapt": {"dann": short}, "runtime": {"memory": memory, "checkpoints": {}}})
        adapt.run("dann")
        found.append(outputs("adapt"))
    assert found[0] == found[1]
