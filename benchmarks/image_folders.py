"""Folders of images as users have them, train|test/CLASS/IMAGE, from the archives in a folder DATA.

What a selection leaves out is drawn with a fixed seed, so that every run has the same images.
"""

import csv
import io
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

DRAWINGS = 10
"""Drawings of each character for training; the ten others are for testing."""


def characters(data: Path, folder: Path, part: str = "background", first: int = 100, count: int = 100) -> None:
    """Characters of Omniglot as classes.

    Args:
        data: folder with omniglot.tar.xz.
        folder: where the images go.
        part: "background" or "evaluation".
        first: characters to leave out, in random order. The first 100 of "background" chose the encoder
            (docs/recipes.md); the others were in no trial.
        count: characters to take.
    """
    with tarfile.open(data / "omniglot.tar.xz") as tar:
        found: dict[str, list[tarfile.TarInfo]] = defaultdict(list)
        for member in tar:
            if member.isfile() and part in member.name and member.name.endswith(".png"):
                found[member.name.rpartition("/")[0]].append(member)
        generator = np.random.default_rng(0)
        wanted = []
        for name in sorted(str(each) for each in generator.permutation(sorted(found))[first : first + count]):
            own = sorted(found[name], key=lambda each: each.name)
            for place, number in enumerate(generator.permutation(len(own))):
                side = "train" if place < DRAWINGS else "test"
                wanted.append((own[number], folder / side / "-".join(name.split("/")[-2:])))
        _extract(tar, wanted)


def photographs(data: Path, folder: Path, sizes: Mapping[str, int] | Sequence[int]) -> None:
    """Classes of CIFAR-10, each with so many images for training, and all of its images for testing.

    Args:
        data: folder with cifar10.tar.xz.
        folder: where the images go.
        sizes: class to its number of images; or the numbers for all classes in alphabetical order.
    """
    with tarfile.open(data / "cifar10.tar.xz") as tar:
        found: dict[tuple[str, str], list[tarfile.TarInfo]] = defaultdict(list)
        for member in tar:
            if member.isfile():
                side, name = member.name.split("/")[-3:-1]
                found[side, name].append(member)
        names = sorted({name for _, name in found})
        chosen = sizes if isinstance(sizes, Mapping) else dict(zip(names, sizes, strict=True))
        wanted = [(member, folder / "test" / name) for name in chosen for member in found["test", name]]
        for name, size in chosen.items():
            own = sorted(found["train", name], key=lambda each: each.name)
            taken = np.random.default_rng(names.index(name)).permutation(len(own))[:size]
            wanted += [(own[number], folder / "train" / name) for number in taken]
        _extract(tar, wanted)


def stamps(data: Path, folder: Path, least: int = 12) -> None:
    """Pictures of Tux Paint's stamps, 64 pixels, by topic, without a split of their own.

    Args:
        data: folder with stamps.tar.xz.
        folder: where the images go, as CLASS/IMAGE.
        least: images of the smallest topic that is taken.
    """
    with tarfile.open(data / "stamps.tar.xz") as tar:
        members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
        [listed] = [name for name in members if name.endswith("captions.csv")]
        content = tar.extractfile(members[listed])
        assert content is not None
        rows = list(csv.DictReader(io.TextIOWrapper(content, encoding="utf-8")))
        topics = Counter(row["topic"] for row in rows)
        root = listed.removesuffix("captions.csv")
        _extract(
            tar, [(members[root + row["path"]], folder / row["topic"]) for row in rows if topics[row["topic"]] >= least]
        )


def _extract(tar: tarfile.TarFile, wanted: Sequence[tuple[tarfile.TarInfo, Path]]) -> None:
    """Each member into its folder, in the archive's order: to go back in it means to decompress it from the start."""
    for member, folder in sorted(wanted, key=lambda each: each[0].offset):
        content = tar.extractfile(member)
        assert content is not None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(member.name).name).write_bytes(content.read())


FOLDERS: Mapping[str, Callable[[Path, Path], None]] = {
    "omniglot-5": characters,
    "characters-300": lambda data, folder: characters(data, folder, "evaluation", 0, 300),
    "two-classes": lambda data, folder: photographs(data, folder, {"cat": 1000, "dog": 1000}),
    "imbalanced": lambda data, folder: photographs(data, folder, [round(1000 * 0.01 ** (n / 9)) for n in range(10)]),
    "few": lambda data, folder: photographs(data, folder, [30] * 10),
    "stamps": stamps,
}
"""Task to what makes its folder, given DATA and the folder."""
