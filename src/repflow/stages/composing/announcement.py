"""Says in one line what was chosen beside the defaults, once, whichever command a run is started by."""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from repflow.errors import ParameterError
from repflow.files import writing
from repflow.stages.composing.choices import CONF, read_choices
from repflow.stages.paths import STATE

log = logging.getLogger("repflow")

SAID = {"REPFLOW_CHOICES_SAID": "1"}
"""Environment variable of stages whose starter has said it: an isolated run, a flow run, or `dvc exp run`."""

_LAST = STATE / "choices_said.json"
"""The process whose stages said it last."""


def announce(conf: Path, subject: str, say: Callable[[str], object] = log.info) -> None:
    """Say what was chosen in the folder `conf` beside the defaults; nothing where nothing was.

    Args:
        conf: the folder.
        subject: what differs, as "the checkout".
        say: takes the line.

    Raises:
        ParameterError: the choices are not readable.
    """
    if described := read_choices(conf).described():
        say(f"{subject} differs from the defaults in: {described}")


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Inside the block nothing is said: it has been, or it is not what a run is started with."""
    before = {key: os.environ.get(key) for key in SAID}
    os.environ.update(SAID)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def announce_once() -> None:
    """Say it in the first of the stages that one DVC process runs, such as `dvc repro`.

    It is silent in a stage that was not started by DVC, and where `SAID` is set.
    """
    if "DVC_STAGE" not in os.environ or not SAID.keys().isdisjoint(os.environ):
        return
    process = _starter()
    if _LAST.exists() and json.loads(_LAST.read_text(encoding="utf-8")) == process:
        return
    try:
        announce(CONF, "params.yaml")
    except ParameterError as error:  # the stage reads params.yaml only
        log.warning("%s", error)
    with writing(_LAST) as fresh:
        fresh.write_text(json.dumps(process), encoding="utf-8")


def _starter() -> dict[str, float]:
    """The DVC process that this stage belongs to: the nearest ancestor that was not started with DVC_STAGE itself.

    Between them there is a shell, where it does not replace itself by its command.
    """
    import psutil  # comes with DVC

    ancestors = psutil.Process().parents()
    for each in ancestors:
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            if "DVC_STAGE" not in each.environ():
                return {"pid": each.pid, "started": each.create_time()}
    return {"pid": ancestors[0].pid, "started": ancestors[0].create_time()}
