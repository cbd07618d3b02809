"""The stage `baseline`: logistic regression on pixels or on oriented gradients, which every model has to beat."""

import dataclasses

from repflow.data.read.rows import Side
from repflow.encoders import HeadConfig
from repflow.encoders.model_files import Description, save_model
from repflow.evaluation.baseline import BaselineConfig, best_of, fit_baselines
from repflow.hardware.devices import HardwareConfig, use_threads
from repflow.stages import paths
from repflow.stages.parameters import read, read_raw
from repflow.stages.project import open_project_domain, samples, write_metrics


def run() -> None:
    """Read the labelled and the validation rows of the source; write `models/baseline/` and `metrics/baseline.json`."""
    config = read("baseline", BaselineConfig)
    use_threads(read("hardware", HardwareConfig).threads)
    source = open_project_domain("source")
    labelled, validation = (source.labelled_rows(side) for side in (Side.LABELLED, Side.VALIDATION))
    candidates = fit_baselines(config, labelled, validation)
    best = best_of(candidates)
    channels, size = source.store.images.shape[1:3]
    description = Description(
        encoder=best.features,
        head=HeadConfig(),
        classes=source.classes,
        preprocessing={"size": size, "channels": channels, "resize": read_raw("data")["resize"]},
        provenance={"method": "baseline", "regression": dataclasses.asdict(config.linear)},
    )
    save_model(paths.MODELS / "baseline", best.classifier, description)
    used = {
        name: (min(len(rows), config.most), len(rows))
        for name, rows in (("labelled", labelled), ("validation", validation))
    }
    scores = {each.features.name: each.validation for each in candidates if each.validation is not None}
    write_metrics(
        paths.METRICS / "baseline.json",
        {
            "features": best.features.name,
            "labels": min(len(labelled), config.most),
            "validation": scores,
            **samples("baseline", used),
        },
    )
