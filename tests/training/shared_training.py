"""Trains three methods and writes their losses, for test_distributed.py.

Usage: `python shared_training.py DEVICES PRECISION FILE`.

Lightning Fabric starts the other processes by running the same program again.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from repflow.augment.operations import Affine, ColourJitter, GaussianNoise, RandAugment
from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import SmallConfig
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.adaptation import dann
from repflow.methods.pretext import simclr
from repflow.methods.semisup import fixmatch
from repflow.randomness.draws import seeded
from repflow.schema import build
from repflow.training import TrainingConfig, train
from repflow.training.contract import Method

WEAK = (Affine(degrees=10.0, translation=0.1, probability=0.7),)
STRONG = (RandAugment(strength=(0.0, 1.0)), GaussianNoise(probability=0.5))
VIEWS = (*WEAK, ColourJitter(brightness=0.4, contrast=0.4, probability=0.8))


def rows() -> dict[str, Rows]:
    digits = load_digits()
    images = (digits.images[:200, None] * 255 / 16).astype(np.uint8)
    whole = Rows(images, digits.target[:200].astype(np.int64), np.arange(200), tuple("0123456789"))
    return dict.fromkeys(("unlabelled", "labelled", "source", "target"), whole)


def methods() -> dict[str, Method]:
    with seeded(0, "weights"):
        encoders = [build_encoder(SmallConfig(widths=(8, 16)), 1, 8) for _ in range(3)]
        heads = [build_head(HeadConfig(hidden=(16,), dropout=0.5), 16, 10) for _ in range(2)]
        return {
            "simclr": simclr.SimCLR(simclr.Config(augment=VIEWS, hidden=16, projection=8), encoders[0]),
            "fixmatch": fixmatch.FixMatch(
                fixmatch.Config(weak=WEAK, strong=STRONG, threshold=0.12), Classifier(encoders[1], heads[0])
            ),
            "dann": dann.DANN(dann.Config(augment=VIEWS), Classifier(encoders[2], heads[1])),
        }


def main() -> None:
    devices, precision, file = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    if precision == "64-true":
        torch.set_default_dtype(torch.float64)
    optimizer = {"name": "sgd", "learning_rate": 0.003 if precision == "32-true" else 0.05}
    config = build(TrainingConfig, {"steps": 30, "batch_size": 64, "log_every": 1, "optimizer": optimizer}, "training")
    fabric = prepare(build(HardwareConfig, {"threads": 1, "devices": devices, "precision": precision}, "hardware"))
    losses = {name: train(method, rows(), config, fabric, seed=0).curve for name, method in methods().items()}
    if fabric.is_global_zero:
        file.write_text(json.dumps({"ranks": torch.distributed.get_world_size() if devices > 1 else 1, **losses}))


if __name__ == "__main__":
    main()
