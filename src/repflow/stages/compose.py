"""The command `compose`: Hydra composes conf/ into params.yaml, byte for byte as `dvc exp run -S` does."""

import difflib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from repflow.errors import ParameterError
from repflow.files import writing
from repflow.schema import build
from repflow.stages.parameters import check_sections
from repflow.stages.paths import PARAMETERS

CONF = Path("conf")

log = logging.getLogger(__name__)


def run(overrides: list[str]) -> None:
    """Compose conf/ with `overrides`, check every parameter, write `params.yaml` and log what changed.

    Args:
        overrides: Hydra overrides, "group=choice" and "key=value".

    Raises:
        ParameterError: an override, or a composed value, is not allowed.
    """
    text = composed(CONF, overrides)
    check(yaml.safe_load(text))
    before = PARAMETERS.read_text(encoding="utf-8") if PARAMETERS.exists() else None
    if text != before:
        with writing(PARAMETERS) as fresh:
            fresh.write_text(text, encoding="utf-8")
    changes = [] if before is None else differences(_parse(before), yaml.safe_load(text))
    for change in changes:
        log.info("  %s", change)
    outcome = "created" if before is None else f"{len(changes)} values changed" if changes else "unchanged"
    log.info("%s: %s", PARAMETERS, outcome)


def composed(conf: Path, overrides: list[str]) -> str:
    """The composed configuration of the folder `conf`, as YAML text.

    Raises:
        ParameterError: an override has an unknown key or choice, or conf/ itself cannot be composed.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not (conf / "config.yaml").is_file():
        raise ParameterError(f"{conf / 'config.yaml'}: not found; run in the project's root")
    try:
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            _check_overrides(conf, overrides)
            config = compose("config", overrides=overrides)
        _check_given(OmegaConf.to_container(config, resolve=False))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        given = f" with {' '.join(overrides)}" if overrides else ""
        message = " ".join(str(error).split("Config search path")[0].split())
        raise ParameterError(f"{conf}/ cannot be composed{given}: {message}") from error
    return OmegaConf.to_yaml(config)


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
    from repflow.evaluation.baseline import BaselineConfig
    from repflow.evaluation.classification import EvaluateConfig
    from repflow.evaluation.probes import ProbeConfig
    from repflow.hardware.devices import HardwareConfig
    from repflow.stages.learning import RuntimeConfig, check_method
    from repflow.stages.reporting.config import ReportConfig
    from repflow.stages.searching.config import TuneConfig

    kinds: dict[str, Any] = {
        "seed": int,
        "data": DataConfig,
        "validate": ValidateConfig,
        "split": SplitConfig,
        "augment": dict[str, PolicyConfig],
        "encoder": EncoderConfig,
        "hardware": HardwareConfig,
        "runtime": RuntimeConfig,
        "baseline": BaselineConfig,
        "probe": ProbeConfig,
        "tune": TuneConfig,
        "evaluate": EvaluateConfig,
        "report": ReportConfig,
    }
    for key, kind in kinds.items():
        yield key, functools.partial(build, kind)
    for key in ("pretrain", "finetune", *(f"adapt.{name}" for name in whole.get("adapt") or {})):
        yield key, check_method


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


def _check_overrides(conf: Path, overrides: list[str]) -> None:
    """Check overrides here, because Hydra's own messages take ten lines."""
    from hydra import compose
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType

    groups = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in _folders(conf)}
    parsed = OverridesParser.create().parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise ParameterError(f"{override.input_line}: has several values; sweeps are not supported, give one value")
        if override.key_or_group in groups and not override.is_delete():
            _check_choices(override.key_or_group, override.value(), groups[override.key_or_group])
    changed = [
        each.key_or_group for each in parsed if each.type is OverrideType.CHANGE and each.key_or_group not in groups
    ]
    if changed:
        chosen = [str(each.input_line) for each in parsed if each.key_or_group in groups]
        config = compose("config", overrides=chosen)
        for key in changed:
            _check_key(key, config)


def _check_given(config: Any) -> None:
    missing = [key for key, value in _flat(config) if value == "???"]
    if missing:
        raise ParameterError(f"{', '.join(missing)}: must be set with these choices; add {missing[0]}=VALUE")


def _folders(conf: Path) -> list[Path]:
    return sorted(path for path in conf.iterdir() if path.is_dir())


def _check_choices(group: str, value: Any, allowed: list[str]) -> None:
    for choice in value if isinstance(value, list) else [value]:
        if choice not in allowed:
            raise ParameterError(f"{group}={choice}: no such choice in conf/{group}/{_hint(str(choice), allowed)}")


def _check_key(key: str, config: Any) -> None:
    place, parts = config, key.split(".")
    for number, part in enumerate(parts):
        names = sorted(str(name) for name in place) if isinstance(place, Mapping) else []
        if part not in names:
            where = ".".join(parts[: number + 1])
            add = f"; to set a key that conf/ does not list, write +{key}=..." if number else ""
            raise ParameterError(f"{where}: no such key in conf/{_hint(part, names)}{add}")
        if number + 1 < len(parts):
            place = place[part]


def _hint(given: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    return f"{f'; did you mean {close[0]!r}?' if close else ''} (allowed: {', '.join(allowed) or 'none'})"
