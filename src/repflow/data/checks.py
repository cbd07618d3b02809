"""Data validation rules, their bounds, and the tables that they are checked on.

Nothing here needs Great Expectations. `tables` prepares one row per image, class, channel and statistic; `checks` says
which values are allowed in which column. The stage `validate` turns each check into an expectation.
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

Severity = Annotated[
    Literal["critical", "warning", "off"],
    BeforeValidator(lambda given: "off" if given is False else given),  # what YAML makes of off without quotes
]


@parameters
class Rule:
    """How severe a violation of a rule is, and which share of violations is tolerated.

    Attributes:
        severity: "critical" stops the pipeline, "warning" is written to the log and the metrics, "off" skips the rule.
        share: the share of the images (or of the rule's other rows, such as classes) that may violate it, 0 to 1.
        target_severity: the severity in the target domain; None for the same as in the source.
    """

    severity: Severity
    share: Fraction = 0.0
    target_severity: Severity | None = None

    def severity_in(self, domain: str) -> str:
        """The severity in `domain`, "source" or "target"."""
        return self.target_severity or self.severity if domain == "target" else self.severity


@parameters
class Bounds(Rule):
    """A rule that a number is neither below `least` nor above `most`; None sets no bound."""

    least: NonNegative | None = None
    most: NonNegative | None = None


@parameters
class ValidateConfig:
    """All validation rules; `RULES` says which column each one checks.

    Attributes:
        classes: names of the allowed classes; None for those of the source.
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
class RuleSpec:
    """What a rule checks.

    Attributes:
        table: a table of `tables`; its first column identifies the rows.
        column: the column that is checked.
        violation: text for a violation, put after a count, as in "3 images are blank".
        measure: what the values are, for messages.
        kind: "bounds" compares numbers with bounds, "missing" allows no value, "unique" no value twice, "known" only
            the names of the allowed classes.
        bounds: fixed bounds of the rule; None where the configuration gives them.
    """

    table: str
    column: str
    violation: str
    measure: str = ""
    kind: Literal["bounds", "missing", "unique", "known"] = "bounds"
    bounds: tuple[float | None, float | None] | None = None


_NONE, _ONE = (None, 0), (None, 1)

RULES = {
    "readable": RuleSpec("images", "reason", "files cannot be decoded", "reason", "missing"),
    "exact_duplicates": RuleSpec("images", "sha256", "images are exact copies of one another", "", "unique"),
    "near_duplicates": RuleSpec(
        "images", "near_copies", "images are near-duplicates of others", "others", bounds=_NONE
    ),
    "two_labels": RuleSpec("images", "labels", "images have exact copies with another label", "labels", bounds=_ONE),
    "two_labels_near": RuleSpec(
        "images", "labels_near", "images have near-duplicates with another label", "labels", bounds=_ONE
    ),
    "in_both_domains": RuleSpec("images", "in_source", "images have copies or near-copies in the source", bounds=_NONE),
    "unknown_classes": RuleSpec("images", "given_class", "images are of an unknown class", "class", "known"),
    "missing_classes": RuleSpec("classes", "images", "classes have no readable image", "images", bounds=(1, None)),
    "images_per_class": RuleSpec("classes", "images", "classes have too few images", "images"),
    "class_balance": RuleSpec(
        "classes", "imbalance", "classes are much smaller than the largest class", "imbalance ratio"
    ),
    "size": RuleSpec("images", "shorter_side", "images are too small or too large", "pixels of the shorter side"),
    "aspect": RuleSpec("images", "aspect", "images are too elongated", "aspect ratio"),
    "blank": RuleSpec("images", "contrast", "images are blank", "standard deviation of grey"),
    "dark": RuleSpec("images", "brightness", "images are dark", "mean of grey"),
    "bright": RuleSpec("images", "brightness", "images are bright", "mean of grey"),
    "low_information": RuleSpec("images", "entropy", "images have low entropy", "bits of entropy"),
    "channel_means": RuleSpec("channels", "mean", "channels have an implausible mean", "mean over all images"),
    "channel_spread": RuleSpec(
        "channels", "spread", "channel means hardly vary between images", "standard deviation of means"
    ),
    "drift": RuleSpec("drift", "index", "statistics differ between the domains", "population stability index"),
}
"""What each rule of `ValidateConfig` checks."""


@dataclass(frozen=True)
class Check:
    """A rule in one domain, with its bounds."""

    rule: str
    spec: RuleSpec
    severity: str
    share: float
    least: float | None
    most: float | None

    def __str__(self) -> str:
        bounds = [f"at least {self.least:g}"] if self.least is not None else []
        bounds += [f"at most {self.most:g}"] if self.most is not None else []
        required = f"{self.spec.measure} {' and '.join(bounds)} required" if bounds and not self.spec.bounds else ""
        tolerated = f"up to {100 * self.share:.3g} % allowed" if self.share else "none allowed"
        return "; ".join(part for part in (required, tolerated) if part)


def checks(config: ValidateConfig, domain: str) -> list[Check]:
    """The rules that are not off in `domain`, in the order of `RULES`."""
    listed = []
    for field in fields(config):
        rule = getattr(config, field.name)
        if not isinstance(rule, Rule) or rule.severity_in(domain) == "off":
            continue
        spec = RULES[field.name]
        least, most = spec.bounds or (getattr(rule, "least", None), getattr(rule, "most", None))
        listed.append(Check(field.name, spec, rule.severity_in(domain), rule.share, least, most))
    return listed


def tables(
    manifest: pd.DataFrame, classes: Sequence[str], distance: int, source: pd.DataFrame | None = None
) -> dict[str, pd.DataFrame]:
    """The tables that the rules check: "images", "classes", "channels", "drift". The first column identifies the rows.

    Args:
        manifest: the manifest of the domain, files that could not be decoded included.
        classes: names of the allowed classes.
        distance: bits in which both hashes of near-duplicates may differ.
        source: the source's manifest if the domain is the target, else None.
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
    """Per readable image: its near-duplicates, the labels of its copies, and whether the source has a copy of it."""
    others = readable.iloc[:0] if source is None else source[source["index"] >= 0]
    component = link(pd.concat([readable, others]).assign(group=None), distance)
    mine, theirs = component[: len(readable)], component[len(readable) :]
    rows = readable[["sha256", "given_class"]].assign(component=mine)
    by_component, by_image = rows.groupby("component"), rows.groupby("sha256")
    return pd.DataFrame(
        {
            "near_copies": by_component["sha256"].transform("nunique") - 1,
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
