"""The stage `split`: labelled, unlabelled, validation and test rows of both domains."""

import json
import logging

import numpy as np
import pandas as pd

from repflow.data.judgeable import check_judgeable
from repflow.data.read.rows import Side
from repflow.data.splits import SplitConfig, make_splits
from repflow.data.store import open_store
from repflow.files import writing
from repflow.stages import parameters
from repflow.stages.labels_used import in_words, labels_used
from repflow.stages.paths import METRICS, SPLITS, STORES
from repflow.stages.project import write_metrics

LOG = logging.getLogger(__name__)

DOMAINS = ("source", "target")
WITHOUT_LABEL = "(no label)"


def run() -> None:
    """Split both stores; write `data/splits/` atomically and the counts and labels used to `metrics/split.json`.

    Raises:
        DataError: the images cannot be split as asked for, or nothing could be learned or judged with the split.
    """
    config = parameters.read("split", SplitConfig)
    seed = parameters.seed()
    stores = {name: open_store(STORES / name) for name in DOMAINS}
    classes = stores["source"].classes
    manifests = {name: store.readable for name, store in stores.items()}
    sides = make_splits(manifests, classes, config, seed)
    check_judgeable(manifests["source"], sides["source"], classes)
    with writing(SPLITS, folder=True) as fresh:
        for name in DOMAINS:
            table = pd.DataFrame({"index": manifests[name]["index"].to_numpy(np.int64), "side": sides[name]})
            table.to_parquet(fresh / f"{name}.parquet", index=False)
        (fresh / "classes.json").write_text(json.dumps(classes, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = {name: count(manifests[name], sides[name], classes) for name in DOMAINS}
    used = labels_used(manifests["source"], sides["source"], classes, config)
    write_metrics(METRICS / "split.json", {**counts, "source": {**counts["source"], "labels": used}})
    for name, by_side in counts.items():
        LOG.info("split: %s: %s", name, ", ".join(f"{sum(of.values())} {side}" for side, of in by_side.items()))
    LOG.info("split: %s", in_words(used))


def count(manifest: pd.DataFrame, sides: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Number of images per side and class, in the order of the sides and classes; without classes that have none."""
    given = manifest["given_class"].where(manifest["given_class"].isin(classes), WITHOUT_LABEL)
    return {
        side.value: {
            name: number
            for name in (*classes, WITHOUT_LABEL)
            if (number := int(((given == name).to_numpy(bool) & (sides == side.value)).sum()))
        }
        for side in Side
    }
