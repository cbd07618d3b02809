"""The resolver `${watched:DOMAIN}` of conf/, which computes `data.reads` from the sources that were chosen.

DVC composes conf/ in its own process: it loads `src/hydra_plugins`, as .dvc/config says, which calls `register`.
"""

from omegaconf import DictConfig, OmegaConf

from repflow.data.watched import watched


def register() -> None:
    """Make `${watched:source}` and `${watched:target}` known to OmegaConf."""
    OmegaConf.register_new_resolver("watched", _watched, replace=True)


def _watched(domain: str, *, _root_: DictConfig) -> DictConfig:
    data = _root_["data"]
    values = {"root": data.get("root", "."), domain: OmegaConf.to_container(data[domain], resolve=True)}
    return OmegaConf.create(watched(values, domain))
