"""The methods of a run, as the folders of their models introduce them."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repflow.encoders.model_files import read_description

_ORDINARY = re.compile(r"[A-Z][a-z -]+")


@dataclass(frozen=True)
class MethodCard:
    """A method as people know it.

    Attributes:
        method: family and module, as "adaptation.dann".
        name: as "DANN".
        about: what it does, a sentence without its capital.
        paper: where it comes from, "" where nobody is named.
        start: "pretrained" or "random".
    """

    method: str
    name: str
    about: str
    paper: str
    start: str

    @property
    def sentence(self) -> str:
        """What it does, as a sentence of its own."""
        return self.about[:1].upper() + self.about[1:]

    @property
    def inside(self) -> str:
        """The name inside a sentence: names of ordinary words lose their capital."""
        return self.name[0].lower() + self.name[1:] if _ORDINARY.fullmatch(self.name) else self.name


def read_card(folder: Path) -> MethodCard:
    """The card of the method that made the model in `folder`."""
    said: Mapping[str, Any] = read_description(folder).provenance
    method = str(said.get("method", "a method of its own"))
    return MethodCard(
        method=method,
        name=str(said.get("name", method.rpartition(".")[2])),
        about=str(said.get("about", "")),
        paper=str(said.get("paper", "")),
        start=str(said.get("start", "pretrained")),
    )


def told_apart(cards: Mapping[str, MethodCard]) -> dict[str, MethodCard]:
    """The same cards; a name that several have gets its key beside it."""
    names = Counter(card.name for card in cards.values())
    return {
        key: replace(card, name=f"{card.name} ({key})") if names[card.name] > 1 else card for key, card in cards.items()
    }
