"""The cost records of stages: complete, separate from the outputs, offline, and printed by `repflow cost`."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.stages import adapt, pretrain
from repflow.stages.cost import recorded
from repflow.stages.energy import METHODS, EnergyMeter

PRETRAIN: dict[str, Any] = {
    "family": "pretext",
    "name": "rotation",
    "settings": {"augment": []},
    "training": {"steps": 12, "batch_size": 16},
}
ADAPT: dict[str, Any] = {
    "family": "adaptation",
    "name": "source_only",
    "start": "random",
    "settings": {"augment": []},
    "training": {"steps": 3, "batch_size": 16},
}
OUTPUTS = ("models", "metrics", "plots")


@pytest.fixture
def trainable(project: Path) -> Path:
    """The project with sections for pretraining and adaptation."""
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters |= {"pretrain": PRETRAIN, "adapt": {"source_only": ADAPT}}
    Path("params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    return project


def record(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f".repflow/cost/{stage}.json").read_text())
    return found


def outputs() -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for name in OUTPUTS for path in sorted(Path(name).rglob("*")) if path.is_file()
    }


def test_a_stage_records_its_cost_and_no_output_depends_on_it(trainable: Path) -> None:
    before = {path for path in Path().rglob("*") if path.is_file()}
    pretrain.run()
    made = {str(path) for path in Path().rglob("*") if path.is_file() and path not in before}
    declared = {"metrics/pretrain.json", "plots/curves/pretrain.tsv", "plots/pretrain/filters.png"}
    assert made == {".repflow/cost/pretrain.json", *declared}
    cost, metrics = record("pretrain"), json.loads(Path("metrics/pretrain.json").read_text())
    assert (cost["steps"], cost["images"]) == (12, 12 * 16)
    assert (metrics["images_seen"], metrics["flops"]) == (cost["images"], cost["flops"])
    assert cost["flops"] > 0
    assert cost["flops"] % 12 == 0
    assert 0 < cost["training_seconds"] < cost["seconds"]
    assert 0 < cost["waiting"] < 1
    assert cost["images_per_second"] == pytest.approx(192 / cost["training_seconds"], rel=1e-4)
    assert 2**25 < cost["memory_bytes"] < 2**40
    assert cost["energy_kwh"] > 0
    assert "codecarbon 3" in cost["energy_method"]
    first = outputs()
    pretrain.run()
    assert outputs() == first
    assert record("pretrain") != cost


def test_an_adaptation_has_its_own_record_unless_it_was_skipped(trainable: Path) -> None:
    adapt.run("source_only")
    assert record("adapt/source_only")["steps"] == 3
    target = yaml.safe_load(Path("params.yaml").read_text())
    target["adapt"]["source_only"]["training"]["steps"] = 0
    Path("params.yaml").write_text(yaml.safe_dump(target))
    adapt.run("source_only")
    assert not Path(".repflow/cost/adapt/source_only.json").exists()


def test_a_failed_stage_keeps_the_record_of_the_last_run(project: Path) -> None:
    def train(images: int) -> None:
        with recorded("stage") as meter:
            meter.count_step(images)
            assert images < 8

    train(7)
    before = record("stage")
    with pytest.raises(AssertionError):
        train(8)
    assert record("stage") == before


def in_a_process(code: str, **environment: str) -> str:
    """The output of a new Python process, from stdout and stderr."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return run.stdout


MEASURE = """
import sys
def listen(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("network:", event, arguments)
    if event == "open" and isinstance(arguments[0], str) and set(arguments[1] or "") & set("wax+"):
        print("file:", arguments[0])
sys.addaudithook(listen)
from repflow.stages.energy import EnergyMeter
import time
with EnergyMeter() as energy:
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
print(energy.method)
print(energy.used())
"""


def test_energy_is_measured_without_network_files_or_output_despite_the_users_configuration(tmp_path: Path) -> None:
    """Audit hooks detect connections and files opened for writing; subprocesses communicate through pipes."""
    (tmp_path / ".codecarbon.config").write_text(
        "[codecarbon]\nsave_to_api = true\noutput_methods = csv,api\nemissions_endpoint = http://127.0.0.1:9/\n"
        "electricitymaps_api_token = token\nlog_level = debug\nsave_to_file = true\n"
    )
    method, used = in_a_process(MEASURE, HOME=str(tmp_path), CODECARBON_OUTPUT_DIR=str(tmp_path)).splitlines()
    assert method.startswith("codecarbon 3")
    assert any(text in method for text in METHODS.values()), method
    assert 0 < float(used) < 0.001, "kWh of a second or two"
    assert [path.name for path in tmp_path.iterdir()] == [".codecarbon.config"]


def test_without_codecarbon_the_energy_is_null(tmp_path: Path) -> None:
    code = "import sys; sys.modules['codecarbon'] = None\n" + MEASURE
    assert in_a_process(code).splitlines() == ["codecarbon is not installed", "None"]


def test_the_method_says_if_codecarbon_cannot_measure_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import codecarbon.core.resource_tracker

    def refuse(self: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(codecarbon.core.resource_tracker.ResourceTracker, "set_CPU_GPU_ram_tracking", refuse)
    with EnergyMeter() as energy:
        pass
    assert energy.used() is None
    assert energy.method.endswith("could not measure this machine")


@pytest.fixture
def spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with three records and an evaluation."""
    monkeypatch.chdir(tmp_path)
    whole = {
        "seconds": 20.0,
        "training_seconds": 10.0,
        "waiting": 0.025,
        "steps": 10,
        "images": 5000,
        "images_per_second": 500.0,
        "flops": 1_500_000_000_000,
        "memory_bytes": 2**30,
        "gpu_memory_bytes": None,
        "energy_kwh": 0.0005,
        "energy_method": "codecarbon: memory estimated",
    }
    unknown = {**whole, "energy_kwh": None, "energy_method": "codecarbon is not installed"}
    for name, values in {"adapt/dann": whole, "finetune": unknown, "pretrain": whole}.items():
        path = Path(f".repflow/cost/{name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    Path("metrics").mkdir()
    scores = {"finetune": {"source": {"accuracy": 0.975}}, "dann": {"target": {"accuracy": 0.8125}}}
    Path("metrics/evaluate.json").write_text(json.dumps({"rows": {"source": 80}, **scores}))


def shown(*options: str) -> str:
    result = CliRunner().invoke(app, ["cost", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_shows_costs_with_accuracies(spent: None) -> None:
    lines = [" ".join(line.split()) for line in shown().splitlines()]
    assert lines[0] == "stage source target seconds images/s waiting memory TFLOP Wh"
    assert lines[1] == "pretrain 20.0 500 2.5% 1,024 MiB 1.500 0.500"
    assert lines[2] == "finetune 97.5% 20.0 500 2.5% 1,024 MiB 1.500"
    assert lines[3] == "adapt/dann 81.2% 20.0 500 2.5% 1,024 MiB 1.500 0.500"
    assert lines[4] == "total 60.0 4.500 1.000"
    assert lines[-1] == "Energy: codecarbon: memory estimated; codecarbon is not installed."


def test_csv_and_json_have_the_same_numbers(spent: None) -> None:
    rows = json.loads(shown("--format", "json"))
    table = list(csv.DictReader(io.StringIO(shown("--format", "csv"))))
    assert [row["stage"] for row in rows] == [row["stage"] for row in table] == ["pretrain", "finetune", "adapt/dann"]
    assert rows[2]["target_accuracy"] == float(table[2]["target_accuracy"]) == 0.8125
    assert rows[1]["energy_kwh"] is None
    assert table[1]["energy_kwh"] == ""
    assert rows[0]["flops"] == 1_500_000_000_000


def test_without_training_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["cost"])
    assert result.exit_code == 3
    assert "nothing has been trained in this checkout" in result.stderr


def test_the_command_needs_no_torch() -> None:
    code = "import sys; import repflow.cli.app, repflow.stages.cost_table; print('torch' in sys.modules)"
    assert in_a_process(code).strip() == "False"
