"""The number of clusters that DeepDPM finds, by its settings: `python -m zoo.sensitivity EVIDENCE COMPONENTS`.

DeepDPM does not need the number of clusters, but has the settings `evidence` and `components`. The results on MNIST go
to sensitivity/EVIDENCE-COMPONENTS.json.
"""

import sys
from typing import Any

import numpy as np
import yaml

from repflow.data.read.rows import Side, open_domain
from repflow.evaluation.cluster_assignments import cluster_assignments
from repflow.evaluation.clustering import clustering_scores
from repflow.training.cost import Meter
from zoo import HERE
from zoo.learn import learn, write

DATA, METHOD = "mnist", "deep_dpm"


def main(evidence: int, components: int) -> None:
    """Train, count the clusters, write the metrics."""
    section = yaml.safe_load((HERE / "settings" / DATA / f"{METHOD}.yaml").read_text(encoding="utf-8"))["method"]
    section["settings"] |= {"evidence": evidence, "components": components}
    domain = open_domain("source", HERE / DATA / "data/stores", HERE / DATA / "data/splits")
    method: Any = learn(section, domain, METHOD, 0, Meter())[1]
    rows = domain.labelled_rows(Side.TEST)
    clusters = cluster_assignments(method, rows.images)
    found = {**clustering_scores(rows.labels, clusters), "clusters": len(np.unique(clusters))}
    write(HERE / "sensitivity" / f"{evidence}-{components}.json", found)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
