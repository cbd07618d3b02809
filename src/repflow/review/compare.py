"""The implementation of the commands `compare` and `check`."""

import json
import logging
from pathlib import Path

from repflow.errors import RepflowError
from repflow.files import writing
from repflow.review.comparison import Comparison, as_json, compare
from repflow.review.markdown import render
from repflow.review.record import OutOfDate, stale_stages
from repflow.review.revisions import WORKING_TREE, Revision, project, resolve
from repflow.review.significance import Assessment
from repflow.review.snapshot import read_snapshot

log = logging.getLogger(__name__)


class Worse(RepflowError):
    """A metric is significantly worse, and the caller asked for an exit code in this case."""

    exit_code = 6


def compared(base: str, head: str | None) -> Comparison:
    """The comparison of two sides, given as in `revisions.resolve`.

    Args:
        base: one revision or several.
        head: the same; None for the working tree.

    Raises:
        ParameterError: a revision does not exist, or the sides cannot be compared.
        DataError: a revision cannot be read.
    """
    with project(Path()) as repo:
        bases = resolve(repo, base)
        heads = [Revision(WORKING_TREE, None)] if head is None else resolve(repo, head)
        return compare(*([read_snapshot(repo, each) for each in side] for side in (bases, heads)))


def run_compare(
    base: str, head: str | None, form: str, output: Path | None, figures: Path | None, fail_on_worse: bool
) -> None:
    """Compare two sides and print or write the result.

    Args:
        base: see `compared`.
        head: see `compared`.
        form: output format, "md" or "json".
        output: file to write to instead of the terminal.
        figures: folder for figures of the differences, and for `comparison.md`, the same page with them.
        fail_on_worse: raise an error if a metric is significantly worse.

    Raises:
        Worse: a metric is significantly worse, and `fail_on_worse` is set. The output is written before.
    """
    comparison = compared(base, head)
    text = f"{json.dumps(as_json(comparison), indent=2)}\n" if form == "json" else render(comparison)
    if output is None:
        print(text, end="")
    else:
        _write(output, text)
    if figures is not None:
        _write(figures / "comparison.md", render(comparison, _figures(comparison, figures)))
    worse = comparison.assessed(Assessment.WORSE)
    if worse and fail_on_worse:
        raise Worse(f"significantly worse: {', '.join(each.name for each in worse)}")


def _write(path: Path, text: str) -> None:
    with writing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def _figures(comparison: Comparison, folder: Path) -> dict[str, list[str]]:
    """Draw the plots that differ; returns the path of each plot with its figures."""
    if len(comparison.base) > 1:
        log.info("no figures: they are drawn only if there is one revision on each side")
        return {}
    from repflow.review.figures import write_figures

    return write_figures(comparison.base[0], comparison.head[0], folder)


def run_check(cache: bool) -> None:
    """Check that dvc.lock and the metrics match the working tree and, if `cache`, that DVC's cache is intact.

    Raises:
        OutOfDate: stages are out of date.
        BrokenCache: a file in the cache is missing or damaged.
    """
    with project(Path()) as repo:
        stale = stale_stages(repo)
        if stale:
            lines = [f"  {name}: {'; '.join(reasons)}" for name, reasons in stale.items()]
            message = "dvc.lock and the metrics do not match the code and parameters; run `dvc repro` and commit"
            raise OutOfDate("\n".join([message, *lines]))
        log.info("dvc.lock, metrics and plots match the code and parameters")
        if cache:
            from repflow.review.cache import check_cache

            log.info("%d files in the cache are intact", check_cache(repo))
