"""repflow's side of the benchmarks: policies, encoders and methods from `conf/`, trained by repflow's trainer."""

from pathlib import Path
from typing import Any

import torch
import yaml

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, Encoder, EncoderConfig, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.encoder import normalise_by
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.pretext import simclr
from repflow.methods.semisup import fixmatch
from repflow.schema import build
from repflow.training import TrainingConfig, train
from repflow.training.contract import Method
from speed.images import CLASSES, Images
from speed.race import Clock
from speed.settings import Settings

CONF = Path(__file__).parents[2] / "conf"


def read(*parts: str) -> Any:
    """A file of `conf/`."""
    return yaml.safe_load(CONF.joinpath(*parts).with_suffix(".yaml").read_text(encoding="utf-8"))


def policy_config(name: str) -> PolicyConfig:
    """A policy of `conf/augment/natural.yaml`."""
    return build(PolicyConfig, read("augment", "natural")[name], f"natural.{name}")


def policy(name: str) -> Policy:
    """The callable policy `name` of `conf/augment/natural.yaml`."""
    return Policy(policy_config(name))


def encoder(name: str, images: Images, **changes: Any) -> Encoder:
    """An encoder of `conf/encoder/` with `changes`; its random weights are the same for every implementation."""
    torch.manual_seed(0)
    config = build(EncoderConfig, {**read("encoder", name), **changes}, f"encoder.{name}")
    built = build_encoder(config, images.pixels.shape[1], images.pixels.shape[2])
    normalise_by(built, images.pixels[:4096])
    return built


def new_simclr(name: str, images: Images, **changes: Any) -> simclr.SimCLR:
    """SimCLR of `conf/pretrain/simclr.yaml` with the views of `natural.simclr` and an encoder with `changes`."""
    settings = {**read("pretrain", "simclr")["settings"], "augment": read("augment", "natural")["simclr"]}
    return simclr.SimCLR(build(simclr.Config, settings, "simclr"), encoder(name, images, **changes))


def new_fixmatch(images: Images) -> fixmatch.FixMatch:
    """FixMatch of `conf/finetune/fixmatch.yaml` with the views of `natural` and the small encoder."""
    views = {name: read("augment", "natural")[name] for name in ("weak", "strong")}
    config = build(fixmatch.Config, {**read("finetune", "fixmatch")["settings"], **views}, "fixmatch")
    small = encoder("small", images)
    return fixmatch.FixMatch(config, Classifier(small, build_head(HeadConfig(), small.width, CLASSES)))


def fit(method: Method, rows: dict[str, Rows], training: dict[str, Any], settings: Settings, clock: Clock) -> None:
    """Train with `repflow.training.train` on the hardware of `settings`."""
    hardware = read("hardware", "gpu" if settings.device == "cuda" else "cpu")
    chosen = build(HardwareConfig, {**hardware, "threads": settings.threads}, "hardware")
    fabric = prepare(chosen)
    config = build(TrainingConfig, {**training, "steps": clock.total}, "training")
    method.after_step = clock.tick  # type: ignore[method-assign]  # the trainer calls it after every step
    train(method, rows, config, fabric, seed=0, compile=chosen.compile)
