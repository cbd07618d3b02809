"""The stage `validate@DOMAIN`: the rules of `data/checks.py` as expectations of Great Expectations."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from repflow.data.checks import Check, ValidateConfig, checks, tables
from repflow.data.store import Store, open_store
from repflow.errors import ValidationFailed
from repflow.files import writing
from repflow.stages import parameters
from repflow.stages.paths import METRICS, PARAMETERS, REPORTS, STORES
from repflow.stages.project import write_metrics

LOG = logging.getLogger(__name__)

SHOWN = 5
"""How many of those that break a rule are named."""


@dataclass(frozen=True)
class Verdict:
    """What came of a check.

    Attributes:
        check: the check.
        passed: whether no more broke the rule than its share allows.
        count: how many broke it.
        of: of how many.
        first: the first of them, with the value that broke it.
    """

    check: Check
    passed: bool
    count: int
    of: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")
        return f"{self.check.rule}: {self.count:,} of {self.of:,} {self.check.look.broken} ({self.check}): {named}"


def run(domain: str) -> None:
    """Check the store of `domain`; write `metrics/validate/DOMAIN.json` and, as HTML, `reports/data_docs/DOMAIN/`.

    Raises:
        ValidationFailed: a critical rule is broken. Then there are no metrics, but the pages tell all of it.
    """
    config = parameters.read("validate", ValidateConfig)
    metrics, pages = METRICS / "validate" / f"{domain}.json", REPORTS / "data_docs" / domain
    metrics.unlink(missing_ok=True)  # of an earlier run: what it says need not be true of these images
    store = open_store(STORES / domain)
    source = store if domain == "source" else open_store(STORES / "source")
    if store.manifest.empty:
        LOG.info("validate@%s: there are no images, nothing to check", domain)
        write_metrics(metrics, {"files": 0, "note": f"there is no {domain} domain, nothing was checked"})
        return
    classes = source.classes if config.classes is None else tuple(config.classes)
    looked_at = tables(
        store.manifest,
        classes,
        config.near_duplicate_distance,
        source.manifest if domain == "target" else None,
    )
    with writing(pages, folder=True) as fresh:
        verdicts = judge(looked_at, checks(config, domain), classes, domain, fresh)
    _tell(domain, verdicts, pages)
    write_metrics(metrics, summary(store, verdicts))


def judge(
    looked_at: Mapping[str, pd.DataFrame], listed: list[Check], classes: tuple[str, ...], title: str, pages: Path
) -> list[Verdict]:
    """Run the checks as one checkpoint of Great Expectations and build its Data Docs.

    Args:
        looked_at: the tables of `repflow.data.checks.tables`. Checks of a table without rows pass.
        listed: the checks.
        classes: names of the classes that there are.
        title: heads the pages.
        pages: an empty folder for the Data Docs.
    """
    context = _context(title, pages)
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction

    data = context.data_sources.add_pandas("store")
    found: dict[str, Verdict] = {}
    for name, table in looked_at.items():
        mine = [check for check in listed if check.look.table == name]
        if table.empty or not mine:
            found |= {check.rule: Verdict(check, True, 0, 0, ()) for check in mine}
            continue
        suite = gx.ExpectationSuite(f"{title}-{name}", expectations=[_expectation(check, classes) for check in mine])
        batches = data.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        definition = gx.ValidationDefinition(name=f"{title}-{name}", data=batches, suite=context.suites.add(suite))
        context.validation_definitions.add(definition)
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=f"{title}-{name}",
                validation_definitions=[definition],
                actions=[UpdateDataDocsAction(name="pages", site_names=[title])],
                result_format={"result_format": "SUMMARY", "unexpected_index_column_names": [table.columns[0]]},
            )
        )
        ran = checkpoint.run(batch_parameters={"dataframe": table})
        by_rule = {check.rule: check for check in mine}
        for result in next(iter(ran.run_results.values())).results:
            check = by_rule[result.expectation_config.meta["rule"]]
            found[check.rule] = _verdict(check, result, table.columns[0])
    return [found[check.rule] for check in listed]


def summary(store: Store, verdicts: list[Verdict]) -> dict[str, Any]:
    """What the metrics say: plain values that depend on the images and the rules alone."""
    return {
        "files": len(store.manifest),
        "images": len(store.images),
        "warnings": sum(not verdict.passed for verdict in verdicts),
        "rules": {
            verdict.check.rule: {
                "severity": verdict.check.severity,
                "passed": verdict.passed,
                "count": verdict.count,
                "of": verdict.of,
                "first": list(verdict.first),
            }
            for verdict in verdicts
        },
    }


def _tell(domain: str, verdicts: list[Verdict], pages: Path) -> None:
    broken = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in broken:
        if verdict.check.severity == "warning":
            LOG.warning("validate@%s: warning: %s", domain, verdict)
    critical = [str(verdict) for verdict in broken if verdict.check.severity == "critical"]
    if critical:
        rules = "rule is" if len(critical) == 1 else "rules are"
        raise ValidationFailed(
            f"{domain}: {len(critical)} critical {rules} broken\n"
            + "".join(f"  {line}\n" for line in critical)
            + f"All of it: {pages}/index.html. Mend the images, or change the rule in conf/validate/ and compose anew"
            f" ({PARAMETERS}: validate)."
        )
    LOG.info("validate@%s: %d rules kept, %d warnings", domain, len(verdicts) - len(broken), len(broken))


def _expectation(check: Check, classes: tuple[str, ...]) -> Any:
    import great_expectations.expectations

    kinds: Any = great_expectations.expectations
    common: dict[str, Any] = {
        "column": check.look.column,
        "mostly": 1 - check.share,
        "severity": check.severity,
        "meta": {"rule": check.rule},
        "description": f"{check.rule}: {check.look.broken} ({check})",
    }
    match check.look.how:
        case "missing":
            return kinds.ExpectColumnValuesToBeNull(**common)
        case "unique":
            return kinds.ExpectColumnValuesToBeUnique(**common)
        case "known":
            return kinds.ExpectColumnValuesToBeInSet(**common, value_set=list(classes))
        case "bounds":
            return kinds.ExpectColumnValuesToBeBetween(**common, min_value=check.least, max_value=check.most)


def _verdict(check: Check, result: Any, key: str) -> Verdict:
    details = result.result
    if "unexpected_count" not in details:
        raise RuntimeError(f"Great Expectations could not look at {check.rule}: {result.exception_info}")
    rows = details["partial_unexpected_index_list"][:SHOWN]
    shown = check.look.how != "unique"  # a checksum tells people nothing
    first = tuple(f"{row[key]} ({_number(row[check.look.column])})" if shown else row[key] for row in rows)
    of = details["element_count"] - details.get("missing_count", 0)
    return Verdict(check, bool(result.success), details["unexpected_count"], of, first)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _context(title: str, pages: Path) -> Any:
    """A context of Great Expectations that leaves nothing behind but the Data Docs in `pages`."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(pages.absolute())},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={title: site},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)
