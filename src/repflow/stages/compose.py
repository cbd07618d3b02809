"""The command `compose`: Hydra composes conf/ into params.yaml, byte for byte as `dvc exp run -S` does.

What was chosen stays in conf/chosen.yaml, from which the next composition starts, whoever makes it.
"""

import contextlib
import functools
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from repflow.errors import ParameterError, RepflowError
from repflow.files import writing
from repflow.schema import build
from repflow.stages.composing.choices import CONF
from repflow.stages.parameters import check_sections
from repflow.stages.paths import PARAMETERS
from repflow.stages.starting_models import check_starting_model

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from repflow.stages.composing.choices import Choices

log = logging.getLogger(__name__)


def run(overrides: Sequence[str], reset: bool = False) -> None:
    """Keep the choices of `overrides`, compose `params.yaml` from all choices, check it, and log what changed.

    Args:
        overrides: Hydra overrides, "group=choice" and "key=value".
        reset: forget all earlier choices first.

    Raises:
        ParameterError: an override, or a composed value, is not allowed; nothing is written then.
    """
    _check_project(CONF)
    from repflow.stages.composing.choices import NAME, Choices, read_choices
    from repflow.stages.composing.overrides import quoted

    given = [quoted(override) for override in overrides]
    with writing(CONF / NAME) as fresh:
        # Hydra finds these two files first, and all others in conf/.
        shutil.copy(CONF / "config.yaml", fresh.parent)
        kept = Choices() if reset else read_choices(CONF)
        fresh.write_text(kept.text, encoding="utf-8")
        with _explained(CONF, given):
            choices, deletions = _added(kept, given, fresh.parent)
            fresh.write_text(choices.text, encoding="utf-8")
            text = _resolved(_composition(fresh.parent, deletions, CONF))
        check(yaml.safe_load(text))
    _write(text)
    if deletions:
        log.warning(
            "%s: not kept, as conf/chosen.yaml can only add and replace; the next composition has it again",
            " ".join(deletions),
        )
    if described := choices.described():
        log.info("kept in %s: %s", CONF / NAME, described)


def composed(conf: Path, overrides: Sequence[str]) -> str:
    """The composed configuration of the folder `conf` with its kept choices, as YAML text.

    Args:
        conf: the folder.
        overrides: further overrides, in Hydra's grammar.

    Raises:
        ParameterError: an override has an unknown key or choice, or conf/ itself cannot be composed.
    """
    _check_project(conf)
    with _explained(conf, overrides):
        _parsed(conf, overrides, conf)
        return _resolved(_composition(conf, overrides))


def default_choices(conf: Path) -> dict[str, Any]:
    """Group to choice, or choices, in the defaults list of the folder `conf`, without what was kept."""
    listed = yaml.safe_load((conf / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return {group: choice for entry in listed if isinstance(entry, dict) for group, choice in entry.items()}


def _added(kept: "Choices", overrides: Sequence[str], folder: Path) -> tuple["Choices", list[str]]:
    """The choices with those of `overrides` added, and the deletions that cannot be kept."""
    from repflow.stages.composing.choices import with_overrides
    from repflow.stages.composing.overrides import groups_of

    parsed, base = _parsed(CONF, overrides, folder)
    choices, left = with_overrides(kept, parsed, groups_of(CONF), default_choices(CONF), base)
    return choices, [str(each.input_line) for each in left]


def _parsed(conf: Path, overrides: Sequence[str], folder: Path) -> tuple[list["Override"], Any]:
    """Parsed and checked overrides, and what Hydra composes with the groups among them, as plain values."""
    from omegaconf import OmegaConf

    from repflow.stages.composing.overrides import check_choices, check_keys, groups_of, parse

    groups, parsed = groups_of(conf), parse(overrides)
    check_choices(parsed, groups)
    chosen = [str(each.input_line) for each in parsed if each.key_or_group in groups and not each.is_delete()]
    base = OmegaConf.to_container(_composition(folder, chosen, conf), resolve=False)
    check_keys(parsed, groups, base)
    return parsed, base


def _composition(folder: Path, overrides: Sequence[str], conf: Path | None = None) -> "DictConfig":
    """What Hydra composes from config.yaml in `folder`; files that are not there are taken from `conf`."""
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.types import Quote, QuotedString

    from repflow.stages.composing.announcement import said
    from repflow.stages.composing.resolver import register

    register()
    place = QuotedString(f"file://{(conf or folder).resolve()}", Quote.single).with_quotes()
    with said(), initialize_config_dir(str(folder.resolve()), version_base=None):
        return compose("config", overrides=[*overrides, f"hydra.searchpath=[{place}]"])


def _resolved(config: "DictConfig") -> str:
    from omegaconf import OmegaConf

    missing = [key for key, value in _flat(OmegaConf.to_container(config, resolve=False)) if value == "???"]
    if missing:
        raise ParameterError(f"{', '.join(missing)}: must be set with these choices; add {missing[0]}=VALUE")
    OmegaConf.resolve(config)
    return OmegaConf.to_yaml(config)


@contextlib.contextmanager
def _explained(conf: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Turn errors of Hydra into one message; they take ten lines."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, RepflowError):  # a resolver raises one of its own
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        given = f" with {' '.join(overrides)}" if overrides else ""
        message = " ".join(str(error).split("Config search path")[0].split())
        raise ParameterError(f"{conf}/ cannot be composed{given}: {message}") from error


def _check_project(conf: Path) -> None:
    if not (conf / "config.yaml").is_file():
        raise ParameterError(f"{conf / 'config.yaml'}: not found; run in the project's root")


def _write(text: str) -> None:
    """Write `params.yaml` if it differs, and log what changed."""
    before = PARAMETERS.read_text(encoding="utf-8") if PARAMETERS.exists() else None
    if text != before:
        with writing(PARAMETERS) as fresh:
            fresh.write_text(text, encoding="utf-8")
    changes = [] if before is None else differences(_parse(before), yaml.safe_load(text))
    for change in changes:
        log.info("  %s", change)
    outcome = "created" if before is None else f"{len(changes)} values changed" if changes else "unchanged"
    log.info("%s: %s", PARAMETERS, outcome)


def check(whole: Any) -> None:
    """Check every section against its schema.

    Args:
        whole: all parameters as plain values.

    Raises:
        ParameterError: some values are not allowed; the message names every such key.
    """
    check_sections(whole)
    problems = []
    for key, check_section in section_checks(whole):
        try:
            check_section(_select(whole, key), key)
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError("\n".join(problems))


def section_checks(whole: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[Any, str], object]]]:
    """Key and check of every section, with the same type that its stage uses."""
    from repflow.augment.policy import PolicyConfig
    from repflow.data.checks import ValidateConfig
    from repflow.data.ingest.ingestion import DataConfig
    from repflow.data.splits import SplitConfig
    from repflow.encoders import EncoderConfig
    from repflow.encoders.pretrained import check_model
    from repflow.evaluation.baseline import BaselineConfig
    from repflow.evaluation.classification import EvaluateConfig
    from repflow.evaluation.probes import ProbeConfig
    from repflow.evaluation.selection import SelectConfig
    from repflow.hardware.devices import HardwareConfig
    from repflow.stages.learning import RuntimeConfig, check_method
    from repflow.stages.reporting.config import ReportConfig
    from repflow.stages.searching.config import TuneConfig
    from repflow.training.budget import Budgets

    kinds: dict[str, Any] = {
        "seed": int,
        "data": DataConfig,
        "validate": ValidateConfig,
        "split": SplitConfig,
        "augment": dict[str, PolicyConfig],
        "hardware": HardwareConfig,
        "runtime": RuntimeConfig,
        "budget": Budgets,
        "baseline": BaselineConfig,
        "probe": ProbeConfig,
        "tune": TuneConfig,
        "evaluate": EvaluateConfig,
        "select": SelectConfig,
        "report": ReportConfig,
    }
    for key, kind in kinds.items():
        yield key, functools.partial(build, kind)
    yield "encoder", lambda values, where: check_model(build(EncoderConfig, values, where))
    for key in ("pretrain", "finetune", *(f"adapt.{name}" for name in whole.get("adapt") or {})):
        yield key, check_method
    if whole.get("adapt"):
        yield "adapt", _check_starting_models


def _check_starting_models(adaptations: Mapping[str, Any], where: str) -> None:
    """Check that every adaptation finds the model that it starts from, and that dvc.yaml is told which that is."""
    for name, section in adaptations.items():
        check_starting_model(adaptations, name, where)
        if section.get("starts_from") is None:
            raise ParameterError(f"{where}.{name}.starts_from: missing; add `starts_from: ${{model_of:${{.start}}}}`")


def _select(whole: Mapping[str, Any], key: str) -> Any:
    value: Any = whole
    for part in key.split("."):
        if part not in value:
            raise ParameterError(f"{key}: missing; add it to the defaults list of conf/config.yaml")
        value = value[part]
    return value


def differences(before: Any, after: Any) -> list[str]:
    """One line for every value that differs, as "split.labels_per_class: 10 -> 20"."""
    old, new = dict(_flat(before)), dict(_flat(after))
    lines = []
    for key in [*new, *(key for key in old if key not in new)]:
        if key not in old:
            lines.append(f"{key}: {new[key]!r} (new)")
        elif key not in new:
            lines.append(f"{key}: removed (was {old[key]!r})")
        elif old[key] != new[key]:
            lines.append(f"{key}: {old[key]!r} -> {new[key]!r}")
    return lines


def _flat(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not key):
        for name, each in value.items():
            yield from _flat(each, f"{key}.{name}" if key else str(name))
    elif key:
        yield key, value


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
