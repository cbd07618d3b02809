"""The rules that images must keep before anything learns from them, their bounds, and the tables that they look at.

Nothing here needs Great Expectations. `tables` prepares one row per image, class, channel and statistic; `checks` says
which values are allowed in which column. The stage `validate` makes an expectation of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, Field

from repflow.data.drift import STATISTICS, drift
from repflow.data.linked_rows import link
from repflow.schema import Fraction, NonNegative, parameters

Level = Annotated[
    Literal["critical", "warning", "off"],
    BeforeValidator(lambda given: "off" if given is False else given),  # what YAML makes of off without quotes
]


@parameters
class Rule:
    """How grave it is to break a rule, and how much of it is borne.

    Attributes:
        severity: "critical" stops the graph, "warning" is told in the log and the results, "off" looks at nothing.
        share: the share of the images (or classes, or whatever the rule is about) that may break it.
        target_severity: the severity in the target; None for the same.
    """

    severity: Level
    share: Fraction = 0.0
    target_severity: Level | None = None

    def level(self, domain: str) -> str:
        """The severity in `domain`, "source" or "target"."""
        return self.target_severity or self.severity if domain == "target" else self.severity


@parameters
class Bounds(Rule):
    """A rule that a number is neither below `least` nor above `most`; None sets no bound."""

    least: NonNegative | None = None
    most: NonNegative | None = None


@parameters
class ValidateConfig:
    """The rules of the door; `RULES` says what each one looks at.

    Attributes:
        classes: names of the classes that there are; None for those of the source.
        near_duplicate_distance: bits in which both hashes of near-duplicates may differ, see `data/duplicates.py`.
    """

    classes: list[str] | None
    near_duplicate_distance: Annotated[int, Field(ge=0, le=8)]
    readable: Rule
    exact_duplicates: Rule
    near_duplicates: Rule
    two_labels: Rule
    two_labels_near: Rule
    in_both_domains: Rule
    unknown_classes: Rule
    missing_classes: Rule
    images_per_class: Bounds
    class_balance: Bounds
    size: Bounds
    aspect: Bounds
    blank: Bounds
    dark: Bounds
    bright: Bounds
    low_information: Bounds
    channel_means: Bounds
    channel_spread: Bounds
    drift: Bounds


@dataclass(frozen=True)
class Look:
    """What a rule looks at.

    Attributes:
        table: a table of `tables`; its first column names the rows.
        column: where the values stand.
        broken: what is wrong where the rule is broken, after a number.
        measure: what the values are.
        how: "bounds" compares numbers with bounds, "missing" allows no value, "unique" no value twice, "known" only the
            names of the classes that there are.
        bounds: the bounds that make the rule what it is; None where the configuration gives them.
    """

    table: str
    column: str
    broken: str
    measure: str = ""
    how: Literal["bounds", "missing", "unique", "known"] = "bounds"
    bounds: tuple[float | None, float | None] | None = None


_NONE, _ONE = (None, 0), (None, 1)

RULES = {
    "readable": Look("images", "reason", "files cannot be decoded", "reason", "missing"),
    "exact_duplicates": Look("images", "sha256", "images are exact copies of one another", "", "unique"),
    "near_duplicates": Look("images", "lookalikes", "images look like others", "others", bounds=_NONE),
    "two_labels": Look("images", "labels", "images have copies under another label", "labels", bounds=_ONE),
    "two_labels_near": Look("images", "labels_near", "images look like others of another label", "labels", bounds=_ONE),
    "in_both_domains": Look("images", "in_source", "images stand in the source too, or look so", bounds=_NONE),
    "unknown_classes": Look("images", "given_class", "images are of an unknown class", "class", "known"),
    "missing_classes": Look("classes", "images", "classes have no readable image", "images", bounds=(1, None)),
    "images_per_class": Look("classes", "images", "classes have too few images", "images"),
    "class_balance": Look("classes", "imbalance", "classes are much smaller than the largest", "times"),
    "size": Look("images", "shorter_side", "images are of odd size", "pixels of the shorter side"),
    "aspect": Look("images", "aspect", "images are much longer one way than the other", "times"),
    "blank": Look("images", "contrast", "images are blank", "standard deviation of grey"),
    "dark": Look("images", "brightness", "images are dark", "mean of grey"),
    "bright": Look("images", "brightness", "images are bright", "mean of grey"),
    "low_information": Look("images", "entropy", "images hold little information", "bits of entropy"),
    "channel_means": Look("channels", "mean", "channels have an odd mean", "mean over all images"),
    "channel_spread": Look(
        "channels", "spread", "channels hardly differ between images", "standard deviation of means"
    ),
    "drift": Look("drift", "index", "statistics differ between the domains", "population stability index"),
}
"""What each rule of `ValidateConfig` looks at."""


@dataclass(frozen=True)
class Check:
    """A rule in one domain, with its bounds."""

    rule: str
    look: Look
    severity: str
    share: float
    least: float | None
    most: float | None

    def __str__(self) -> str:
        bounds = [f"at least {self.least:g}"] if self.least is not None else []
        bounds += [f"at most {self.most:g}"] if self.most is not None else []
        wanted = f"{self.look.measure} {' and '.join(bounds)}" if bounds and not self.look.bounds else ""
        borne = f"up to {100 * self.share:.3g} % may be so" if self.share else "none may be"
        return "; ".join(part for part in (wanted, borne) if part)


def checks(config: ValidateConfig, domain: str) -> list[Check]:
    """The rules that are not off in `domain`, in the order of `RULES`."""
    listed = []
    for field in fields(config):
        rule = getattr(config, field.name)
        if not isinstance(rule, Rule) or rule.level(domain) == "off":
            continue
        look = RULES[field.name]
        least, most = look.bounds or (getattr(rule, "least", None), getattr(rule, "most", None))
        listed.append(Check(field.name, look, rule.level(domain), rule.share, least, most))
    return listed


def tables(
    manifest: pd.DataFrame, classes: Sequence[str], distance: int, source: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """What the rules look at: the tables "images", "classes", "channels" and "drift". The first column names the rows.

    Args:
        manifest: of the domain, files that could not be decoded included.
        classes: names of the classes that there are.
        distance: bits in which both hashes of near-duplicates may differ.
        source: the source's manifest, where the domain is the target.
    """
    readable = manifest[manifest["index"] >= 0]
    images = manifest[["path", "reason", "sha256", "given_class", *STATISTICS]].copy()
    images[list(STATISTICS)] = images[list(STATISTICS)].where(manifest["index"] >= 0)
    sides = readable[["width", "height"]]
    images["shorter_side"] = sides.min(axis=1)
    images["aspect"] = sides.max(axis=1) / sides.min(axis=1)
    images = images.join(_copies(readable, distance, source))
    empty = readable.iloc[:0]
    return {
        "images": images,
        "classes": _class_table(readable, classes),
        "channels": _channel_table(readable),
        "drift": drift(empty if source is None else source[source["index"] >= 0], readable),
    }


def _copies(readable: pd.DataFrame, distance: int, source: pd.DataFrame | None) -> pd.DataFrame:
    """For each readable image the number of others that look like it, labels of its copies, copies in the source."""
    others = readable.iloc[:0] if source is None else source[source["index"] >= 0]
    component = link(pd.concat([readable, others]).assign(group=None), distance)
    mine, theirs = component[: len(readable)], component[len(readable) :]
    rows = readable[["sha256", "given_class"]].assign(component=mine)
    by_component, by_image = rows.groupby("component"), rows.groupby("sha256")
    return pd.DataFrame(
        {
            "lookalikes": by_component["sha256"].transform("nunique") - 1,
            "labels": by_image["given_class"].transform("nunique"),
            "labels_near": by_component["given_class"].transform("nunique"),
            "in_source": np.isin(mine, theirs).astype(int),
        },
        index=readable.index,
    )


def _class_table(readable: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Images per class; no rows where the images have no labels at all."""
    counts = readable["given_class"].value_counts()
    names = list(classes) if len(counts) else []
    images = np.array([counts.get(name, 0) for name in names], np.int64)
    largest = images.max(initial=0)
    imbalance = np.divide(largest, images, out=np.full(len(images), np.nan), where=images > 0)
    return pd.DataFrame({"class": names, "images": images, "imbalance": imbalance})


def _channel_table(readable: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation, over the images, of each channel's mean."""
    channels = readable[["red", "green", "blue"]] if len(readable) else readable[[]]
    return pd.DataFrame(
        {"channel": channels.columns, "mean": channels.mean().array, "spread": channels.std(ddof=0).array}
    )
