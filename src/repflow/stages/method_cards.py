"""Names, descriptions and papers of the methods of a run, read from the descriptions of their models."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repflow.encoders import model_files
from repflow.methods.descriptions import read_description
from repflow.stages import paths

ORDINARY = re.compile(r"[A-Z][a-z -]+")
"""A name made of ordinary words, without an abbreviation."""


@dataclass(frozen=True)
class MethodCard:
    """Name, description and paper of a method.

    Attributes:
        method: family and module, as "adaptation.dann".
        name: the name, as "DANN".
        about: what it does, as a sentence that starts in lower case.
        paper: the paper, "" if there is none.
        start: initial weights, "pretrained", "probed", "source_only" or "random".
    """

    method: str
    name: str
    about: str
    paper: str
    start: str

    @property
    def sentence(self) -> str:
        """The description, starting with a capital letter."""
        return self.about[:1].upper() + self.about[1:]

    @property
    def name_in_sentence(self) -> str:
        """The name for use inside a sentence: names made of ordinary words start in lower case."""
        return self.name[0].lower() + self.name[1:] if ORDINARY.fullmatch(self.name) else self.name


def read_card(folder: Path) -> MethodCard:
    """The method that trained the model in `folder`."""
    provenance: Mapping[str, Any] = model_files.read_description(folder).provenance
    method = str(provenance.get("method", "unknown method"))
    module = paths.SOURCE.joinpath("repflow", "methods", *method.split(".")).with_suffix(".py")
    # A method that is not in this version: older models carry their descriptions.
    described = read_description(module) if module.is_file() else provenance
    return MethodCard(
        method=method,
        name=str(described.get("name", method.rpartition(".")[2])),
        about=str(described.get("about", "")),
        paper=str(described.get("paper", "")),
        start=str(provenance.get("start", "pretrained")),
    )


def with_unique_names(cards: Mapping[str, MethodCard]) -> dict[str, MethodCard]:
    """The same cards with unique names: a name that occurs several times gets its key appended."""
    names = Counter(card.name for card in cards.values())
    return {
        key: replace(card, name=f"{card.name} ({key})") if names[card.name] > 1 else card for key, card in cards.items()
    }
