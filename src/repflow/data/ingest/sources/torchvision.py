"""Any image classification data set of torchvision, by name."""

import difflib
import functools
import inspect
import operator
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
from PIL import Image

from repflow.data.ingest.decode import Undecodable
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import File, FileStream
from repflow.data.ingest.sources.names import SPLITS, as_text
from repflow.errors import DataError, ParameterError
from repflow.schema import parameters

_SPLITS = (*SPLITS, "unlabeled")


@parameters
class Torchvision:
    """A data set of torchvision, with all of its splits that are called train, val, test or unlabeled.

    Attributes:
        name: name of the class in `torchvision.datasets`, as in "CIFAR10".
        path: torchvision's `root` folder, relative to `data.root`.
        download: let torchvision download missing files.
        settings: further arguments of the class, as in `{split: letters}` for EMNIST.
    """

    kind: Literal["torchvision"]
    name: str
    path: str = "torchvision"
    download: bool = False
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)

    def collect(self, request: Request) -> Collected:
        """Every image of every split, in torchvision's order. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards. See `Streaming`."""
        files: list[File] = []
        splits: list[str | None] = []
        targets: dict[int, str | None] = {}
        for split, dataset in self._parts(request.root / self.path):
            for number in range(len(dataset)):
                load = functools.partial(_load, dataset, number, targets, len(files))
                files.append(File(f"{len(files):012}", load, 2**16))
                splits.append(split)

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            classes = [targets.get(number) for number in range(len(files))]
            known = pd.DataFrame({"given_class": classes, "split": splits}, dtype=object)
            paths = [f"{self.name}/{split or 'all'}/{number:06}" for number, split in enumerate(splits)]
            return rows.assign(path=paths, given_class=known["given_class"], split=known["split"])

        # Classes are known only where images are loaded, by this process.
        return FileStream(files, listed, None, movable=False)

    def _parts(self, root: Path) -> Iterator[tuple[str | None, Any]]:
        """The splits of the data set, each with its name in the manifest."""
        kind = self._kind()
        accepted = _accepted(kind)
        given: dict[str, Any] = {"root": str(root), "download": self.download}
        given = {name: value for name, value in given.items() if name in accepted} | self.settings
        if "train" in accepted and "train" not in given:
            yield "train", self._opened(kind, given | {"train": True})
            yield "test", self._opened(kind, given | {"train": False})
        elif "split" in accepted and "split" not in given:
            found = False
            for name in _SPLITS:
                try:
                    dataset = self._opened(kind, given | {"split": name})
                except _NoSuchSplitError:
                    continue
                found = True
                yield SPLITS.get(name), dataset
            if not found:
                raise DataError(
                    f"torchvision {self.name}: has none of the splits {', '.join(_SPLITS)}; name one in `settings`"
                )
        else:
            yield None, self._opened(kind, given)

    def _kind(self) -> Any:
        from torchvision import datasets  # takes seconds to import, and torch with it

        names = [name for name in datasets.__all__ if inspect.isclass(getattr(datasets, name))]
        if self.name not in names:
            close = difflib.get_close_matches(self.name, names, n=3) or names[:3]
            raise ParameterError(f"torchvision has no data set {self.name!r}; did you mean {' or '.join(close)}?")
        return getattr(datasets, self.name)

    def _opened(self, kind: Any, arguments: dict[str, Any]) -> Any:
        try:
            return kind(**arguments)
        except ValueError as error:
            if "argument split" in str(error) and "split" not in self.settings:
                raise _NoSuchSplitError from None
            raise DataError(f"torchvision {self.name}: {error}") from error
        except (RuntimeError, OSError, TypeError, ImportError) as error:
            hint = "" if self.download else "; set `download: true` to download it"
            raise DataError(f"torchvision {self.name}: cannot be opened ({error}){hint}") from error


class _NoSuchSplitError(Exception):
    """The data set has no split of this name."""


def _accepted(kind: Any) -> set[str]:
    """The argument names of a class, including those that it passes on to its base classes."""
    names: set[str] = set()
    for base in kind.__mro__:
        own = inspect.signature(base.__init__).parameters
        names |= set(own)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values()):
            break
    return names


def _load(dataset: Any, number: int, targets: dict[int, str | None], row: int) -> Image.Image:
    """Image `number` of a data set; its class is stored in `targets[row]`."""
    try:
        image, target = dataset[number]
    except (OSError, SyntaxError, ValueError) as error:
        raise Undecodable(f"torchvision cannot read it ({type(error).__name__})") from None
    try:
        targets[row] = _class_name(dataset, operator.index(target))
    except TypeError:
        raise DataError(
            f"torchvision {type(dataset).__name__}: the label of an image is of type {type(target).__name__}, but must"
            " be a class number; only data sets for classification can be used"
        ) from None
    return cast(Image.Image, image)


def _class_name(dataset: Any, target: int) -> str | None:
    if target < 0:
        return None
    classes = getattr(dataset, "classes", None)
    if not isinstance(classes, list | tuple) or target >= len(classes):
        return str(target)
    name = classes[target]
    return as_text(name if isinstance(name, str) else str(name[0]))
