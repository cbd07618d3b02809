"""Where a training that was stopped goes on: its whole state in a file, now and then.

A checkpoint is a safetensors file, tensors as they are and all else as JSON in its header, with its checksum in a small
file beside it. It counts only where both are whole, so that a writer that is killed leaves the checkpoint before.
"""

import hashlib
import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from repflow.files import writing
from repflow.schema import Count, Positive, parameters

log = logging.getLogger("repflow")

State = Any
"""Tensors, numbers, strings, None, and lists and dictionaries (keys: strings or whole numbers) of states."""


@parameters
class CheckpointConfig:
    """How often a training is saved. It changes nothing in what is learned.

    Attributes:
        every_steps: save after so many steps; None for no such rule.
        every_seconds: save when so much time has gone by; None for no such rule.
        keep: checkpoints that are kept; an older one is there in case the last one cannot be read.
    """

    every_steps: Count | None = None
    every_seconds: Positive | None = 20.0
    keep: Count = 2


@dataclass(frozen=True)
class Place:
    """Where one training is saved.

    Attributes:
        folder: of this training, whatever its parameters; removed whole when it has ended well.
        key: a hash of all that the training depends on: it is taken up again only where that is the same.
    """

    folder: Path
    key: str


class Checkpoints:
    """The checkpoints of one training.

    Args:
        place: where; None saves nothing.
        config: how often.
    """

    def __init__(self, place: Place | None, config: CheckpointConfig):
        self._place, self._config = place, config
        self._last = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether anything is saved at all."""
        return self._place is not None

    @property
    def _folder(self) -> Path:
        assert self._place is not None
        return self._place.folder / self._place.key

    def due(self, step: int) -> bool:
        """Whether it is time to save after `step` steps."""
        if not self.wanted:
            return False
        steps, seconds = self._config.every_steps, self._config.every_seconds
        by_steps = steps is not None and step % steps == 0
        return by_steps or (seconds is not None and time.monotonic() - self._last >= seconds)

    def save(self, step: int, state: State) -> None:
        """Save the state after `step` steps, and drop the oldest beyond those that are kept."""
        if not self.wanted:
            return
        tensors: dict[str, Tensor] = {}
        header = json.dumps(_take_apart(state, tensors))
        file = self._folder / f"{step:09}.safetensors"
        with writing(file) as fresh:
            save_file(tensors, fresh, {"state": header})
            digest = _digest(fresh)
        with writing(file.with_suffix(".json")) as fresh:
            fresh.write_text(json.dumps({"blake2b": digest}), encoding="utf-8")
        for old in self._files()[: -self._config.keep]:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)
        self._last = time.monotonic()

    def load(self) -> State | None:
        """The latest state that is whole, or None where there is none."""
        if not self.wanted:
            return None
        for file in reversed(self._files()):
            try:
                whole = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["blake2b"] == _digest(file)
                if whole:
                    return _read(file)
                problem = "its checksum is wrong"
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                problem = str(error)
            log.warning("%s: passed over, %s", file, problem)
        return None

    def remove(self) -> None:
        """Forget this training, and others of the same stage that nobody will take up again."""
        if self._place is not None:
            shutil.rmtree(self._place.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def _take_apart(state: State, tensors: dict[str, Tensor]) -> Any:
    """The state with a number in the place of every tensor; the tensors go to `tensors` under that number."""
    if isinstance(state, Tensor):
        name = str(len(tensors))
        tensors[name] = state.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(state, dict):
        return {"pairs": [[key, _take_apart(value, tensors)] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        return {"items": [_take_apart(value, tensors) for value in state]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(state).__name__}")


def _read(file: Path) -> State:
    with safe_open(file, framework="pt") as opened:
        return _put_together(json.loads(opened.metadata()["state"]), opened.get_tensor)


def _put_together(part: Any, tensor: Any) -> State:
    match part:
        case {"tensor": name}:
            return tensor(name)
        case {"pairs": pairs}:
            return {key: _put_together(value, tensor) for key, value in pairs}
        case {"items": items}:
            return [_put_together(value, tensor) for value in items]
        case _:
            return part


def fingerprint(*parts: Any) -> str:
    """A hash of tensors, arrays and plain values, the same in every process.

    Args:
        parts: tensors and arrays by their bytes, all else by its `repr`, which must not hold an address.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous().view(torch.uint8).numpy() if part.ndim else part.item()
        if hasattr(part, "tobytes"):
            digest.update(f"{part.shape}{part.dtype}".encode())
            for rows in range(0, max(1, len(part)), 4096):
                digest.update(part[rows : rows + 4096].tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
