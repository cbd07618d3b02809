"""What was found in a source, in one line, and what in it was hardly meant."""

from collections.abc import Sequence

import pandas as pd

from repflow.data.ingest.sources.names import SPLITS, is_like_split

_LIKE_NOTHING = {"", "?", "-", "n/a", "na", "nan", "none", "null"}

SHOWN = 12
"""How many classes are named."""


def found(manifest: pd.DataFrame) -> str:
    """The readable images of a manifest in words: how many, of which classes, in which given splits and groups.

    Args:
        manifest: with the columns `index`, `given_class`, `split` and `group`.
    """
    readable = manifest[manifest["index"] >= 0]
    classes, splits = readable["given_class"].value_counts(sort=False), readable["split"].value_counts(sort=False)
    without = int(readable["given_class"].isna().sum())
    named = _counted(classes) if len(classes) else "no class"
    parts = [f"{len(readable):,} images", f"{len(classes)} classes: {named}" if len(classes) else named]
    if without and len(classes):
        parts.append(f"{without:,} images without a class")
    undecided = int(readable["split"].isna().sum())
    given = f"given splits: {_counted(splits)}" if len(splits) else "no given splits"
    parts.append(f"{given}, none for {undecided:,} images" if len(splits) and undecided else given)
    groups = readable["group"].nunique()
    parts.append(f"{groups:,} groups" if groups else "no groups")
    return "; ".join(parts)


def doubts(classes: Sequence[str]) -> list[str]:
    """Sentences about classes that were hardly meant as such: names of splits or of nothing, and names that differ only
    in case.
    """
    sentences = []
    like = [name for name in classes if is_like_split(name)]
    if like:
        what = "name of a split is" if len(like) == 1 else "names of splits are"
        beside = next((f", and not as {name!r}" for name in classes if name not in like), "")
        sentences.append(
            f"what looks like the {what} taken for a class: {_quoted(like)}; folders are splits where all beside each"
            f" other are called {', '.join(SPLITS)}{beside}"
        )
    nothing = [name for name in classes if name.casefold() in _LIKE_NOTHING]
    if nothing:
        sentences.append(f"{_quoted(nothing)} is taken for a class; leave the label empty where there is none")
    by_case: dict[str, list[str]] = {}
    for name in classes:
        by_case.setdefault(" ".join(name.casefold().split()), []).append(name)
    sentences += [
        f"the classes {_quoted(names)} differ only in case or spaces" for names in by_case.values() if len(names) > 1
    ]
    return sentences


def _counted(counts: pd.Series) -> str:
    shown = ", ".join(f"{name} {number:,}" for name, number in counts.head(SHOWN).items())
    return shown + (", ..." if len(counts) > SHOWN else "")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
