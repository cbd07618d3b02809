"""Trains every pretraining method and writes the losses, for test_pretraining_on_ranks.py.

Usage: `python shared_pretraining.py DEVICES FILE`.

Each method is what its YAML in conf/pretrain makes, trained for a few steps in double precision, so that what differs
between one process and several is more than rounding. Lightning Fabric starts the other processes by running the same
program again. A method that fails has its error in location of a curve.
"""

import json
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sklearn.datasets import load_digits

from repflow.data.read.rows import Rows
from repflow.encoders import EncoderConfig, build_encoder
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.randomness.draws import seeded
from repflow.schema import build
from repflow.stages.compose import composed
from repflow.stages.learning import check_method
from repflow.training import TrainingConfig, train
from repflow.training.contract import Method

CONF = Path(__file__).parents[2] / "conf"
SIZE = 16
STEPS = 5
ROWS = 64  # an epoch is four steps: entries of memory banks are read again


def rows() -> Rows:
    """Digits of 16x16 pixels, each with a colour."""
    digits = load_digits().images[:ROWS]
    grey = (digits * 255 / 16).repeat(2, axis=1).repeat(2, axis=2)
    colours = np.random.default_rng(0).uniform(0.3, 1, (len(grey), 3, 1, 1))
    return Rows((grey[:, None] * colours).astype(np.uint8), np.full(ROWS, -1), np.arange(ROWS), ())


def methods(names: list[str]) -> Iterator[tuple[str, Method]]:
    """Name and method of each choice in conf/pretrain/, all composed at once."""
    choices = ["encoder=small", "encoder.widths=[8,16,32]", *(f"+pretrain@methods.{name}={name}" for name in names)]
    whole = yaml.safe_load(composed(CONF, choices))
    for name in names:
        kind, settings, section = check_method(whole["methods"][name], name)
        encoder: Any = section.encoder or build(EncoderConfig, whole["encoder"], "encoder")  # type: ignore[type-var]
        with seeded(0, "weights"):
            method: Method = kind(settings, build_encoder(encoder, 3, SIZE))
        yield name, method


def main() -> None:
    devices, file, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    torch.set_default_dtype(torch.float64)
    optimizer = {"name": "sgd", "learning_rate": 0.01}
    values = {"steps": STEPS, "batch_size": 16, "log_every": 1, "optimizer": optimizer}
    config = build(TrainingConfig, values, "training")
    hardware = build(HardwareConfig, {"threads": 1, "devices": devices, "precision": "64-true"}, "hardware")
    fabric = cache(lambda updates: prepare(hardware, updates))
    found: dict[str, Any] = {}
    for name, method in methods(names or sorted(path.stem for path in (CONF / "pretrain").glob("*.yaml"))):
        streams = dict.fromkeys(method.streams, rows())
        try:
            found[name] = train(method, streams, config, fabric(len(method.updates)), seed=0).curve
        except Exception:
            found[name] = traceback.format_exc()
    if fabric(1).is_global_zero:
        file.write_text(json.dumps({"ranks": torch.distributed.get_world_size() if devices > 1 else 1, **found}))


if __name__ == "__main__":
    main()
