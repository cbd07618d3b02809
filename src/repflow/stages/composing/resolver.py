"""The resolvers of conf/: `${watched:DOMAIN}` computes `data.reads` from the sources that were chosen,
`${model_of:START}` is the folder of the model that an adaptation starts from, `${cores:}` the number of CPU cores that
this process may use.

DVC composes conf/ in its own process: it loads `src/hydra_plugins`, as .dvc/config says, which calls `register`.
"""

from typing import TYPE_CHECKING

from repflow.data.watched import watched
from repflow.hardware.cpu import usable_cores
from repflow.stages.starting_models import model_of

if TYPE_CHECKING:
    from omegaconf import DictConfig


def register() -> None:
    """Make the resolvers known to OmegaConf."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("watched", _watched, replace=True)
    OmegaConf.register_new_resolver("model_of", model_of, replace=True)
    OmegaConf.register_new_resolver("cores", usable_cores, replace=True)


def _watched(domain: str, *, _root_: "DictConfig") -> "DictConfig":
    from omegaconf import OmegaConf

    data = _root_["data"]
    values = {"root": data.get("root", "."), domain: OmegaConf.to_container(data[domain], resolve=True)}
    if "size" in data:
        values["size"] = data["size"]
    return OmegaConf.create(watched(values, domain))
