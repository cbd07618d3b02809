"""CIFAR's binary files: records written by hand as the format says, both sets, and what is refused."""

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repflow.data.ingest.sources.cifar import Cifar
from repflow.data.ingest.sources.contract import Collected
from repflow.errors import DataError

Collect = Callable[..., Collected]
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32)).astype(np.uint8)


def records(rows: range, *labels: int) -> bytes:
    """Records of the given images; labels count up from the given ones."""
    return b"".join(bytes(label + row for label in labels) + PIXELS[row].tobytes() for row in rows)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """CIFAR-10 with two images a file, in the folder that the archive has."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(records(range(2 * number - 2, 2 * number), 0))
    (folder / "test_batch.bin").write_bytes(records(range(2), 3))
    (folder / "batches.meta.txt").write_text("\n".join(f"class {number}" for number in range(10)) + "\n\n")
    (folder / "readme.html").write_text("about")
    return folder


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    folder = tmp_path / "hundred"
    folder.mkdir()
    (folder / "train.bin").write_bytes(records(range(12), 1, 50))
    (folder / "test.bin").write_bytes(records(range(3), 0, 97))
    (folder / "fine_label_names.txt").write_text("".join(f"fine {number}\n" for number in range(100)))
    (folder / "coarse_label_names.txt").write_text("".join(f"coarse {number}\n" for number in range(20)))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_is_read_from_its_folder_or_archive(
    collect: Collect, ten: Path, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if packed:
        with tarfile.open(ten.parent / "a.tar.gz", "w:gz") as archive:
            archive.add(ten, ten.name)
    collected = collect(Cifar("cifar", "a.tar.gz" if packed else ten.name))
    assert np.array_equal(collected.images, np.concatenate([PIXELS[:10], PIXELS[:2]]))
    assert collected.listing["given_class"].tolist() == [f"class {number}" for number in [*range(10), 3, 4]]
    assert collected.listing["split"].tolist() == ["train"] * 10 + ["test"] * 2
    assert collected.listing["path"].tolist()[1:3] == ["data_batch_1.bin/0001", "data_batch_2.bin/0000"]
    assert collected.listing["index"].tolist() == list(range(12))
    assert "readme.html" in caplog.text


@pytest.mark.parametrize(("labels", "first"), [("fine", ("fine 50", "fine 97")), ("coarse", ("coarse 1", "coarse 0"))])
def test_cifar100_has_classes_and_superclasses(
    collect: Collect, hundred: Path, labels: str, first: tuple[str, str]
) -> None:
    collected = collect(Cifar("cifar", "hundred", labels))  # type: ignore[arg-type]
    assert np.array_equal(collected.images, np.concatenate([PIXELS, PIXELS[:3]]))
    assert (collected.listing["given_class"][0], collected.listing["given_class"][12]) == first
    assert collected.listing["split"].tolist() == ["train"] * 12 + ["test"] * 3


def test_without_names_the_classes_are_numbers(collect: Collect, ten: Path, caplog: pytest.LogCaptureFixture) -> None:
    (ten / "batches.meta.txt").unlink()
    assert collect(Cifar("cifar", ten.name)).listing["given_class"].tolist()[:3] == ["0", "1", "2"]
    assert "batches.meta.txt: is not there" in caplog.text


class Harmful:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.place), "w")


@pytest.mark.parametrize("name", ["data_batch_1", "train"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_python_version_is_refused_and_not_run(collect: Collect, tmp_path: Path, name: str, packed: bool) -> None:
    (tmp_path / "py").mkdir()
    (tmp_path / "py" / name).write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    if packed:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "py", "py")
    with pytest.raises(DataError, match=rf"{name} is of the Python version .*cifar-10-binary\.tar\.gz"):
        collect(Cifar("cifar", "a.tar.gz" if packed else "py"))
    assert not (tmp_path / "harm").exists()


def test_the_binary_version_is_read_where_both_are_there(collect: Collect, ten: Path) -> None:
    (ten / "data_batch_1").write_bytes(b"a pickle")
    assert len(collect(Cifar("cifar", ten.name)).images) == 12


def test_files_that_are_damaged_or_missing_are_refused(collect: Collect, ten: Path, hundred: Path) -> None:
    with pytest.raises(DataError, match="has the files of CIFAR-10 and of CIFAR-100"):
        collect(Cifar("cifar", "."))
    with pytest.raises(DataError, match="CIFAR-10 has no superclasses"):
        collect(Cifar("cifar", ten.name, "coarse"))
    (ten / "data_batch_2.bin").write_bytes(records(range(1), 0)[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin: has 3,072 bytes, which are no records of 3,073"):
        collect(Cifar("cifar", ten.name))
    (ten / "data_batch_2.bin").write_bytes(records(range(2), 9))
    with pytest.raises(DataError, match=r"data_batch_2\.bin: record 2 has the label 10, but there are 10 names"):
        collect(Cifar("cifar", ten.name))
    (ten / "data_batch_2.bin").unlink()
    (ten / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin, test_batch\.bin missing"):
        collect(Cifar("cifar", ten.name))
    with pytest.raises(DataError, match="no such folder"):
        collect(Cifar("cifar", "nowhere"))
    (ten / "empty").mkdir()
    with pytest.raises(DataError, match="has no files of CIFAR's binary version"):
        collect(Cifar("cifar", f"{ten.name}/empty"))
