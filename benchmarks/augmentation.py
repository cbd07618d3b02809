"""How fast images are augmented: `python benchmarks/augmentation.py` prints one JSON object.

Applies every policy of a kind of images to batches on one core, and SimCLR's to one image at a time with torchvision
and Pillow, as its own training scripts do.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_sample_images

from repflow.augment import Policy, PolicyConfig
from repflow.draw import Draw
from repflow.schema import build

CONF = Path(__file__).parents[1] / "conf" / "augment"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=256, help="images at once")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pieces = photographs(arguments.batch, arguments.size)
    batch = torch.from_numpy(pieces).permute(0, 3, 1, 2).contiguous().float() / 255
    results: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "images_per_second": {}}
    for kind in ("handwriting", "natural"):
        for name, operations in yaml.safe_load((CONF / f"{kind}.yaml").read_text()).items():
            policy = Policy(build(PolicyConfig, operations, f"{kind}.{name}"))  # type: ignore[arg-type]
            results["images_per_second"][f"{kind}.{name}"] = rate(
                lambda step, p=policy: p(batch, Draw(0, "b", step)), batch
            )
    results["images_per_second"]["natural.simclr, one by one"] = rate(one_by_one(pieces), batch)
    ours, theirs = (results["images_per_second"][f"natural.simclr{end}"] for end in ("", ", one by one"))
    results["times_faster"] = round(ours / theirs, 1)
    print(json.dumps(results, indent=2))


def photographs(count: int, size: int) -> np.ndarray:
    """Random pieces of scikit-learn's photographs: uint8 [count, size, size, 3]."""
    photos, generator = load_sample_images().images, np.random.default_rng(0)
    corners = zip(generator.integers(0, 427 - size, count), generator.integers(0, 640 - size, count), strict=True)
    return np.stack([photos[n % 2][top : top + size, left : left + size] for n, (top, left) in enumerate(corners)])


def rate(apply: Callable[[int], Any], batch: torch.Tensor, seconds: float = 2.0) -> int:
    """Images per second, the best of three stretches."""
    apply(0)
    best, step = 0.0, 0
    for _ in range(3):
        started, first = time.perf_counter(), step
        while time.perf_counter() - started < seconds / 3:
            step += 1
            apply(step)
        best = max(best, (step - first) * len(batch) / (time.perf_counter() - started))
    return round(best)


def one_by_one(pieces: np.ndarray) -> Callable[[int], Any]:
    """The policy natural.simclr on one Pillow image after the other, to tensors."""
    from torchvision import transforms

    images = [Image.fromarray(piece) for piece in pieces]
    policy = transforms.Compose(
        [
            transforms.RandomResizedCrop(pieces.shape[1], scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.ToTensor(),
        ]
    )
    return lambda step: [policy(image) for image in images]


if __name__ == "__main__":
    main()
