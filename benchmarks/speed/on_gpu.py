"""The parts of `benchmarks/gpu.py`: each gets the setup, the images and its seconds, and returns plain values."""

import functools
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from repflow.augment.policy import Policy
from repflow.data.read.batches import as_float
from repflow.data.read.rows import Rows
from repflow.hardware.devices import prepare
from repflow.methods.pretext import masked_autoencoder as mae
from repflow.randomness.draws import Draw
from repflow.schema import build
from repflow.training import TrainingConfig, train
from repflow.training.checkpoints import fingerprint
from repflow.training.contract import Method
from speed import fixmatch as fixmatch_race
from speed import ours
from speed import profile as step_profile
from speed import simclr as simclr_race
from speed.gpu_clocks import Strict, Window, covered
from speed.gpu_setup import Setup
from speed.images import Images
from speed.race import WARM, Clock, Rival, race
from speed.settings import Settings
from speed.spreads import rounded

TARGETS = {
    "views_per_second": 30_000,
    "published_views_per_second": {"dkobak/simclr-cifar10, A100": 8_400, "lightly, A6000": 3_800},
    "minutes_to_90_percent_knn": 25,
    "published_minutes_to_90_percent_knn": {"dkobak/simclr-cifar10, A100": 99},
    "share_outside_kernels": 0.05,
}
"""What SimCLR with ResNet-18 on CIFAR-10 is to reach, beside what others have published."""


POLICIES = ("simclr", "strong")
"""Of natural images: SimCLR's views, and FixMatch's strong ones, which contain RandAugment."""


def yardstick(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """A matrix product and a copy: what the device can do at most."""
    side = 8192 if setup.device == "cuda" else 256
    kind = torch.bfloat16 if setup.device == "cuda" else torch.float32
    matrix = torch.randn(side, side, device=setup.device, dtype=kind)
    product = 2 * side**3 * _rate(lambda: matrix @ matrix, setup, seconds / 3)
    copy = 2 * matrix.numel() * matrix.element_size() * _rate(matrix.clone, setup, seconds / 3)
    found: dict[str, Any] = {"teraflops": rounded(product / 1e12), "copy_gigabytes_per_second": rounded(copy / 1e9)}
    if setup.device == "cuda":
        described = torch.cuda.get_device_properties(0)
        found |= {"gpu": described.name, "memory_gigabytes": round(described.total_memory / 2**30)}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "driver": _driver()}
    return found


def augmentation(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Views per second of the policies alone, as they come and compiled; and the shares of SimCLR's operations."""
    pixels, step = torch.from_numpy(images.pixels[: 2 * setup.batch]).to(setup.device), iter(range(10**9))
    found: dict[str, Any] = {}
    for name in POLICIES:
        policy = ours.policy(name)
        found[name] = {}
        for form in ("eager", "compiled") if setup.device == "cuda" else ("eager",):
            if form == "compiled":
                policy.compile()
            views = functools.partial(_views, policy, pixels, step, setup.device)
            began = time.monotonic()
            views()
            found[name][form] = {"seconds_of_the_first_call": round(time.monotonic() - began, 1)}
            rate = _rate(views, setup, seconds / (3 * len(POLICIES)))
            found[name][form]["views_per_second"] = rounded(rate * len(pixels))
    shares = step_profile.policy_profile(setup.settings(seconds / 3), images)
    return {**found, "shares": shares["shares"]}


def _views(policy: Policy, pixels: Tensor, step: Iterator[int], device: str) -> Tensor:
    return policy(as_float(pixels), Draw(0, "views", next(step), device))


def simclr(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Views per second of repflow's trainer beside a bare loop and lightly's recipe, and the shares of a step."""
    settings = setup.settings(seconds / 6)
    rivals = simclr_race.rivals(setup.encoder, settings, images)
    if not all(map(importlib.util.find_spec, ("lightly", "pytorch_lightning"))):
        rivals = [each for each in rivals if each.name != "lightly's recipe"]
    found = _raced("views/s", rivals, settings)
    shares = step_profile.step_profile(setup.encoder, settings, images)
    return {**found, "shares": shares["shares"], "milliseconds": shares["milliseconds"], **_memory(setup)}


def compiled(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Views per second with the encoder compiled, without and with CUDA graphs."""
    found: dict[str, Any] = {}
    for mode in setup.compile:
        began = time.monotonic()
        rates = _steps_per_second(setup, images, seconds / 6, compile=mode)
        found[mode] = {"views_per_second": rounded(2 * setup.batch * rates)}
        found[mode]["seconds_with_compilation"] = round(time.monotonic() - began, 1)
    return found


def fixmatch(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Images per second of FixMatch with the small encoder, beside a bare loop."""
    settings = replace(setup.settings(seconds / 3), batch=min(64, setup.batch))
    rivals = [each for each in fixmatch_race.rivals(settings, images) if each.name != "torchvision in workers"]
    return {**_raced("images/s", rivals, settings), **_memory(setup)}


def masked_autoencoder(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Images per second of the masked autoencoder with a tiny vision transformer."""
    recipe = ours.read("pretrain", "masked_autoencoder")["settings"]
    config = build(mae.Config, {**recipe, "augment": ours.read("augment", "natural")["crop"]}, "mae")
    method = mae.MaskedAutoencoder(config, ours.encoder("vit_tiny", images, layers=setup.layers))
    clock = _clock(lambda clock: _train(setup, images, method, clock), setup, seconds)
    return {"images_per_second": rounded(setup.batch * clock.steps_per_second), **_memory(setup)}


def kernels(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """The share of SimCLR's steps in which no kernel runs on the GPU, by PyTorch's profiler; on a CPU nothing."""
    if setup.device != "cuda":
        return {"share_outside_kernels": None}
    window = Window(torch.cuda.synchronize, profile(activities=[ProfilerActivity.CUDA]))
    _train(setup, images, ours.new_simclr(setup.encoder, images), window)
    spans = [(each.time_range.start, each.time_range.end) for each in window.measured.events()]
    return {"share_outside_kernels": rounded(1 - covered(spans) / window.microseconds), "steps": window.count}


def synchronisation(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Whether a step of each method makes the host wait for the GPU; on a CPU the same steps without the check."""
    built: dict[str, Callable[[], tuple[Method, dict[str, Rows]]]] = {
        "simclr": lambda: (ours.new_simclr(setup.encoder, images), {"unlabelled": images.rows()}),
        "fixmatch": lambda: (
            ours.new_fixmatch(images),
            {"labelled": fixmatch_race.labelled(images), "unlabelled": images.rows()},
        ),
    }
    found = {}
    for name, make in built.items():
        method, rows = make()
        try:
            _train(setup, images, method, Strict(setup.device), rows)
            found[name] = "none" if setup.device == "cuda" else "not looked for"
        except RuntimeError as error:
            found[name] = " ".join(str(error).split())[:200]
        finally:
            if setup.device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return found


def determinism(setup: Setup, images: Images, seconds: float) -> dict[str, Any]:
    """Whether the same training gives the same bytes twice, and what `hardware.deterministic=true` costs."""
    found: dict[str, Any] = {}
    for deterministic in (True, False):
        digests = []
        for _ in range(2):
            clock = Clock(10, setup.device)
            method = ours.new_simclr(setup.encoder, images)
            _train(setup, images, method, clock, deterministic=deterministic)
            digests.append(fingerprint(*method.state_dict().values()))
        key = "deterministic" if deterministic else "fastest"
        rate = _steps_per_second(setup, images, seconds / 6, deterministic=deterministic)
        found[key] = {"same_bytes": digests[0] == digests[1], "views_per_second": rounded(2 * setup.batch * rate)}
    return found


def _train(
    setup: Setup,
    images: Images,
    method: Method,
    clock: Clock,
    rows: dict[str, Rows] | None = None,
    **hardware: Any,
) -> None:
    """Train `method` for the clock's steps; no point of a curve is logged in them, since that waits for the GPU."""
    chosen = setup.hardware(**hardware)
    shape = {**ours.read("training", "pretext"), "batch_size": setup.batch, "steps": clock.total, "log_every": 10**6}
    method.after_step = clock.tick  # type: ignore[method-assign] # the trainer calls it after every step
    fabric = prepare(chosen)
    config = build(TrainingConfig, shape, "training")
    train(method, rows or {"unlabelled": images.rows()}, config, fabric, seed=0, compile=chosen.compile)


def _steps_per_second(setup: Setup, images: Images, seconds: float, **hardware: Any) -> float:
    def run(clock: Clock) -> None:
        _train(setup, images, ours.new_simclr(setup.encoder, images), clock, **hardware)

    return _clock(run, setup, seconds).steps_per_second


def _clock(run: Callable[[Clock], None], setup: Setup, seconds: float) -> Clock:
    """The clock of a training that takes about `seconds`, after a short one that tells the rate."""
    short = Clock(3, setup.device)
    run(short)
    long = Clock(max(3, round(seconds / 2 * short.steps_per_second)), setup.device)
    run(long)
    return long


def _raced(unit: str, rivals: list[Rival], settings: Settings) -> dict[str, Any]:
    found = race("gpu", unit, rivals, settings.repeats, settings.seconds)
    return {unit: {each["name"]: each["median"] for each in found["rivals"]}}


def _rate(act: Callable[[], Any], setup: Setup, seconds: float) -> float:
    """Calls per second, after three that warm up."""

    def wait() -> None:
        if setup.device == "cuda":
            torch.cuda.synchronize()

    for _ in range(WARM):
        act()
    wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(10):
            act()
        wait()
        count += 10
    return count / (time.perf_counter() - began)


def _memory(setup: Setup) -> dict[str, Any]:
    """The peak of the GPU memory in this part so far, and reset."""
    if setup.device != "cuda":
        return {}
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return {"gpu_memory_gigabytes": rounded(peak / 2**30)}


def _driver() -> str:
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split("\n")[0].split("  ")[1]
    except (OSError, IndexError):
        return "unknown"
