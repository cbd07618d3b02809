"""Checkpoints: the complete state of a training, saved periodically, from which it is resumed.

A checkpoint is a safetensors file with all other values as JSON in its header, and a JSON file with its checksum. A
checkpoint is valid only if both files are complete, so that a process killed while saving leaves the previous one.
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

from repflow.data.read.memory_mapped import LazyImages, at_once
from repflow.files import writing
from repflow.schema import Count, Positive, parameters

log = logging.getLogger("repflow")

_HASHED = 2**28
"""Values of images that are hashed at once."""

State = Any
"""A tensor, number, string or None, or a list or dictionary (keys: strings or integers) of states."""


@parameters
class CheckpointConfig:
    """How often checkpoints are saved. This does not change the result of the training.

    Attributes:
        every_steps: save every so many steps; None for no such interval.
        every_seconds: save after this many seconds; None for no such interval.
        keep: number of checkpoints kept; older ones are the fallback if the latest cannot be read.
        stop_after_seconds: save and stop after this many seconds, as on SIGTERM, where a queue or a person allows no
            more at a time; None for no limit. What is run again goes on from there.
    """

    every_steps: Count | None = None
    every_seconds: Positive | None = 20.0
    keep: Count = 2
    stop_after_seconds: Positive | None = None


@dataclass(frozen=True)
class CheckpointLocation:
    """Where the checkpoints of one training are saved.

    Attributes:
        folder: for this training, independent of its parameters; removed after the training has completed.
        key: a hash of everything that the training depends on; it is resumed only with the same key.
    """

    folder: Path
    key: str


class Checkpoints:
    """The checkpoints of one training.

    Args:
        location: where to save; None disables checkpoints.
        config: how often to save.
    """

    def __init__(self, location: CheckpointLocation | None, config: CheckpointConfig):
        self._location, self._config = location, config
        self._last = self._began = time.monotonic()

    @property
    def enabled(self) -> bool:
        """Whether checkpoints are saved."""
        return self._location is not None

    @property
    def expired(self) -> bool:
        """Whether `stop_after_seconds` have passed."""
        limit = self._config.stop_after_seconds
        return self.enabled and limit is not None and time.monotonic() - self._began >= limit

    @property
    def _folder(self) -> Path:
        assert self._location is not None
        return self._location.folder / self._location.key

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved after `step` steps."""
        if not self.enabled:
            return False
        steps, seconds = self._config.every_steps, self._config.every_seconds
        by_steps = steps is not None and step % steps == 0
        return by_steps or (seconds is not None and time.monotonic() - self._last >= seconds)

    def save(self, step: int, state: State) -> None:
        """Save the state after `step` steps, and delete the oldest checkpoints beyond `keep`."""
        if not self.enabled:
            return
        tensors: dict[str, Tensor] = {}
        header = json.dumps(_flatten(state, tensors))
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
        """The state of the latest valid checkpoint, or None."""
        if not self.enabled:
            return None
        for file in reversed(self._files()):
            try:
                valid = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["blake2b"] == _digest(file)
                if valid:
                    return _read(file)
                problem = "its checksum is wrong"
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                problem = str(error)
            log.warning("%s: checkpoint skipped: %s", file, problem)
        return None

    def remove(self) -> None:
        """Delete the checkpoints of this training, and outdated ones with other keys in the same folder."""
        if self._location is not None:
            shutil.rmtree(self._location.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()


def _flatten(state: State, tensors: dict[str, Tensor]) -> Any:
    """The state as JSON values, every tensor replaced by its index; the tensors are added to `tensors`."""
    if isinstance(state, Tensor):
        name = str(len(tensors))
        tensors[name] = state.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(state, dict):
        return {"pairs": [[key, _flatten(value, tensors)] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        return {"items": [_flatten(value, tensors) for value in state]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(state).__name__}")


def _read(file: Path) -> State:
    with safe_open(file, framework="pt") as opened:
        return _unflatten(json.loads(opened.metadata()["state"]), opened.get_tensor)


def _unflatten(part: Any, tensor: Any) -> State:
    match part:
        case {"tensor": name}:
            return tensor(name)
        case {"pairs": pairs}:
            return {key: _unflatten(value, tensor) for key, value in pairs}
        case {"items": items}:
            return [_unflatten(value, tensor) for value in items]
        case _:
            return part


def fingerprint(*parts: Any) -> str:
    """A hash of tensors, arrays and plain values, the same in every process.

    Args:
        parts: tensors and arrays are hashed by their bytes, everything else by its `repr`, which must not contain a
            memory address.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous().view(torch.uint8).numpy() if part.ndim else part.item()
        if hasattr(part, "tobytes") or isinstance(part, LazyImages):
            digest.update(f"{part.shape}{part.dtype}".encode())
            step = at_once(part, 4096, _HASHED) if part.ndim > 1 else 4096
            for rows in range(0, max(1, len(part)), step):
                digest.update(part[rows : rows + step].tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
