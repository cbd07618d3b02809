"""Names of a run's classifiers in words."""

from collections.abc import Iterable, Mapping

from repflow.stages import paths
from repflow.stages.method_cards import ORDINARY, read_card, with_unique_names

_WORDS = {
    "baseline": "Baseline",
    "knn": "Nearest neighbours",
    "linear": "Linear probe",
    "linear_hog": "Probe with HOG",
    "finetune": "Fine-tuned",
}


def names_in_words(keys: Iterable[str]) -> dict[str, str]:
    """Key to name of classifiers: those of adapted ones are the names of their methods."""
    keys = list(keys)
    adapted = with_unique_names({key: read_card(paths.MODELS / "adapt" / key) for key in keys if key not in _WORDS})
    return {key: _WORDS[key] if key in _WORDS else adapted[key].name for key in keys}


def joined_names(names: Mapping[str, str], keys: Iterable[str]) -> str:
    """The names of the classifiers `keys`, as "Fine-tuned + linear probe"."""
    first, *others = (names[key] for key in keys)
    return " + ".join([first, *(in_sentence(name) for name in others)])


def in_sentence(name: str) -> str:
    """A name for use inside a sentence: names made of ordinary words start in lower case."""
    return name[:1].lower() + name[1:] if name in _WORDS.values() or ORDINARY.fullmatch(name) else name
