"""The stage `validate@DOMAIN`: checks the rules of `data/checks.py` with Great Expectations."""

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
"""How many violations of a rule are listed."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        check: the check.
        passed: whether the share of violations is within the allowed share.
        count: the number of violations.
        of: the number of checked rows.
        first: the first violations, each with its value.
    """

    check: Check
    passed: bool
    count: int
    of: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        first = ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")
        return f"{self.check.rule}: {self.count:,} of {self.of:,} {self.check.spec.violation} ({self.check}): {first}"


def run(domain: str) -> None:
    """Check the store of `domain`; write `metrics/validate/DOMAIN.json` and, as HTML, `reports/data_docs/DOMAIN/`.

    Raises:
        ValidationFailed: a critical rule is violated. Then no metrics are written, but the Data Docs list everything.
    """
    config = parameters.read("validate", ValidateConfig)
    metrics, pages = METRICS / "validate" / f"{domain}.json", REPORTS / "data_docs" / domain
    metrics.unlink(missing_ok=True)  # metrics of an earlier run may not describe these images
    store = open_store(STORES / domain)
    source = store if domain == "source" else open_store(STORES / "source")
    if store.manifest.empty:
        LOG.info("validate@%s: there are no images to check", domain)
        write_metrics(metrics, {"files": 0, "note": f"there is no {domain} domain, nothing was checked"})
        return
    classes = source.classes if config.classes is None else tuple(config.classes)
    checked = tables(
        store.manifest,
        classes,
        config.near_duplicate_distance,
        source.manifest if domain == "target" else None,
    )
    with writing(pages, folder=True) as fresh:
        outcomes = run_checks(checked, checks(config, domain), classes, domain, fresh)
    _report(domain, outcomes, pages)
    write_metrics(metrics, summary(store, outcomes))


def run_checks(
    checked: Mapping[str, pd.DataFrame], listed: list[Check], classes: tuple[str, ...], title: str, pages: Path
) -> list[CheckResult]:
    """Run the checks as Great Expectations checkpoints, one per table, and build the Data Docs.

    Args:
        checked: the tables of `repflow.data.checks.tables`. Checks of a table without rows pass.
        listed: the checks.
        classes: names of the allowed classes.
        title: title of the Data Docs.
        pages: an empty folder for the Data Docs.
    """
    context = _context(title, pages)
    import great_expectations as gx
    from great_expectations.checkpoint.actions import UpdateDataDocsAction

    data = context.data_sources.add_pandas("store")
    found: dict[str, CheckResult] = {}
    for name, table in checked.items():
        mine = [check for check in listed if check.spec.table == name]
        if table.empty or not mine:
            found |= {check.rule: CheckResult(check, True, 0, 0, ()) for check in mine}
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
            found[check.rule] = _outcome(check, result, table.columns[0])
    return [found[check.rule] for check in listed]


def summary(store: Store, outcomes: list[CheckResult]) -> dict[str, Any]:
    """The metrics: JSON values that depend on the images and the rules alone."""
    return {
        "files": len(store.manifest),
        "images": len(store.images),
        "warnings": sum(not outcome.passed for outcome in outcomes),
        "rules": {
            outcome.check.rule: {
                "severity": outcome.check.severity,
                "passed": outcome.passed,
                "count": outcome.count,
                "of": outcome.of,
                "first": list(outcome.first),
            }
            for outcome in outcomes
        },
    }


def _report(domain: str, outcomes: list[CheckResult], pages: Path) -> None:
    broken = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in broken:
        if outcome.check.severity == "warning":
            LOG.warning("validate@%s: warning: %s", domain, outcome)
    critical = [str(outcome) for outcome in broken if outcome.check.severity == "critical"]
    if critical:
        rules = "rule is" if len(critical) == 1 else "rules are"
        raise ValidationFailed(
            f"{domain}: {len(critical)} critical {rules} violated\n"
            + "".join(f"  {line}\n" for line in critical)
            + f"Full report: {pages}/index.html. Fix the images, or change the rule in conf/validate/ and run"
            f" `repflow compose` ({PARAMETERS}: validate)."
        )
    LOG.info("validate@%s: %d rules passed, %d warnings", domain, len(outcomes) - len(broken), len(broken))


def _expectation(check: Check, classes: tuple[str, ...]) -> Any:
    import great_expectations.expectations

    kinds: Any = great_expectations.expectations
    common: dict[str, Any] = {
        "column": check.spec.column,
        "mostly": 1 - check.share,
        "severity": check.severity,
        "meta": {"rule": check.rule},
        "description": f"{check.rule}: {check.spec.violation} ({check})",
    }
    match check.spec.kind:
        case "missing":
            return kinds.ExpectColumnValuesToBeNull(**common)
        case "unique":
            return kinds.ExpectColumnValuesToBeUnique(**common)
        case "known":
            return kinds.ExpectColumnValuesToBeInSet(**common, value_set=list(classes))
        case "bounds":
            return kinds.ExpectColumnValuesToBeBetween(**common, min_value=check.least, max_value=check.most)


def _outcome(check: Check, result: Any, key: str) -> CheckResult:
    details = result.result
    if "unexpected_count" not in details:
        raise RuntimeError(f"Great Expectations could not check {check.rule}: {result.exception_info}")
    rows = details["partial_unexpected_index_list"][:SHOWN]
    shown = check.spec.kind != "unique"  # a checksum means nothing to a reader
    first = tuple(f"{row[key]} ({_number(row[check.spec.column])})" if shown else row[key] for row in rows)
    of = details["element_count"] - details.get("missing_count", 0)
    return CheckResult(check, bool(result.success), details["unexpected_count"], of, first)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _context(title: str, pages: Path) -> Any:
    """A Great Expectations context that writes only the Data Docs in `pages`."""
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
