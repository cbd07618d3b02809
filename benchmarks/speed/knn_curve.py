"""SimCLR on CIFAR-10: kNN accuracy against seconds, by a training that later calls continue."""

import json
import os
import signal
import threading
import time
from typing import Any

import numpy as np
from torch import nn

from repflow.data.read.rows import Rows
from repflow.errors import Interrupted
from repflow.evaluation.features import encode
from repflow.evaluation.knn import KNNConfig, fit_knn
from repflow.files import writing
from repflow.hardware.devices import prepare
from repflow.schema import build
from repflow.training import TrainingConfig, train
from repflow.training.best_weights import Score
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints
from speed import ours
from speed.gpu_setup import Setup
from speed.images import Images


def training(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """SimCLR until the time is over or all steps are done: kNN accuracy against the seconds of all calls together.

    A tenth of the images is held out and read for the accuracies; the other nine tenths vote.
    """
    rows, cut = images.rows(), len(images) // 10
    held_out = Rows(rows.images[:cut], rows.labels[:cut], rows.index[:cut], rows.classes)
    learnt = Rows(rows.images[cut:], rows.labels[cut:], rows.index[cut:], rows.classes)
    curve: list[dict[str, float]] = _read_curve(setup)
    before, began = (curve[-1]["seconds"] if curve else 0.0), time.monotonic()

    def score(module: nn.Module) -> Score:
        return Score(knn_accuracy(module, learnt, held_out), len(held_out))

    def observe(step: int, accuracy: float) -> bool:
        spent = before + time.monotonic() - began
        curve.append({"step": step, "seconds": round(spent, 1), "knn": round(accuracy, 4)})
        _write_curve(setup, curve)
        return True

    every = max(1, setup.steps // setup.validations)
    shape = {**ours.read("training", "pretext"), "batch_size": setup.batch, "steps": setup.steps}
    shape["early_stopping"] = {"every": every, "patience": setup.validations}
    location = (
        CheckpointLocation(setup.state / "checkpoints", f"{setup.encoder}-{setup.steps}") if setup.state else None
    )
    method = ours.new_simclr(setup.encoder, images)
    fabric = prepare(setup.hardware())
    # The trainer ends a step that a signal meets, saves a checkpoint and says so.
    timer = threading.Timer(max(1.0, seconds - 2), os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        train(
            method,
            {"unlabelled": learnt},
            build(TrainingConfig, shape, "training"),
            fabric,
            seed=0,
            validate=score,
            observe=observe,
            checkpoints=Checkpoints(location, CheckpointConfig(every_seconds=30.0)),
        )
        ended = "all steps done"
    except (Interrupted, KeyboardInterrupt):
        ended = "time over; the same call continues it" if location else "time over"
    finally:
        timer.cancel()
    return {"ended": ended, "steps_in_all": setup.steps, "batch": setup.batch, "curve": curve}


def knn_accuracy(module: nn.Module, voting: Rows, asked: Rows) -> float:
    """The accuracy of 10 nearest neighbours among `voting` for the images `asked`, on the features of `module`."""
    fitted = fit_knn(KNNConfig(), encode(module, voting.images), voting.labels)  # type: ignore[arg-type]
    return float(np.mean(fitted.predict(encode(module, asked.images)) == asked.labels))  # type: ignore[arg-type]


def _read_curve(setup: Setup) -> list[dict[str, float]]:
    """The points of earlier calls; none without a checkpoint that this call goes on from."""
    file = setup.state / "curve.json" if setup.state else None
    if file is None or not file.exists() or not any((file.parent / "checkpoints").rglob("*.safetensors")):
        return []
    found: list[dict[str, float]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _write_curve(setup: Setup, curve: list[dict[str, float]]) -> None:
    if setup.state:
        with writing(setup.state / "curve.json") as fresh:
            fresh.write_text(json.dumps(curve), encoding="utf-8")
