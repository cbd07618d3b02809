"""Where the libraries' own weights come from: their caches, or else the network."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import torch

from repflow.errors import DataError, ParameterError


def from_hugging_face(repository: str, names: Sequence[str], what: str) -> Path:
    """The first of the files `names` that a repository of the Hugging Face hub has, in the hub's cache.

    Args:
        repository: as "timm/resnet18.a1_in1k"; "@" and a revision may follow.
        names: of the files.
        what: the model in words, for the message.

    Raises:
        DataError: it is neither in the cache nor to be downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    for file in names:
        cached = try_to_load_from_cache(name, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    problem: Exception | None = None
    for file in names:
        try:
            return Path(hf_hub_download(name, file, revision=revision or None))
        except LocalEntryNotFoundError as error:  # there is no network: the first file is the one to name
            problem = error.__cause__ if isinstance(error.__cause__, Exception) else error
            break
        except EntryNotFoundError as error:
            problem = error
        except Exception as error:  # whatever the client for HTTP raises
            problem = error
            break
    assert problem is not None
    page = f"https://huggingface.co/{name}"
    by_hand = f"`hf download {name} {names[0]}` fills the cache"
    raise _not_here(what, f"the file {names[0]} of {page}", by_hand, problem)


def from_url(url: str, what: str) -> Path:
    """The file of a URL in the cache of `torch.hub`.

    Args:
        url: of the file.
        what: the model in words, for the message.

    Raises:
        DataError: it is neither in the cache nor to be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.is_file():
        return path
    found = torch.hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), found.group(1) if found else None, progress=False)
    except (OSError, RuntimeError) as error:  # no network, or another digest than the name says
        raise _not_here(what, f"the file {url}", f"{path} is where it is looked for", error) from error
    return path


def no_weights(what: str) -> ParameterError:
    """The error for a model of which the library has no weights."""
    return ParameterError(
        f"encoder.weights: hub: there are no weights of {what}; set encoder.weights to a file, or to null"
        " for random ones"
    )


def _not_here(what: str, wanted: str, by_hand: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:160]
    return DataError(
        f"encoder.weights: hub: the weights of {what} are not on this machine and cannot be downloaded"
        f" ({type(error).__name__}: {reason}). Wanted is {wanted}. Get it where there is a network, and set"
        f" encoder.weights to its path; or {by_hand}"
    )
