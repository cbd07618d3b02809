"""compare and check: what the two commands do."""

import json
import logging
from pathlib import Path

from repflow.errors import RepflowError
from repflow.files import writing
from repflow.review.comparison import Comparison, as_json, compare
from repflow.review.markdown import render
from repflow.review.record import OutOfDate, stale_stages
from repflow.review.revisions import WORKING_TREE, Revision, project, resolve
from repflow.review.snapshot import read_snapshot
from repflow.review.verdicts import Verdict

log = logging.getLogger(__name__)


class Worse(RepflowError):
    """A metric is worse by more than noise, and the caller asked to be told by the exit code."""

    exit_code = 6


def compared(base: str, head: str | None) -> Comparison:
    """The comparison of two sides as a user names them; see `revisions.resolve`.

    Args:
        base: one revision or several.
        head: the same; None for the working tree.

    Raises:
        ParameterError: a revision is not there, or the sides cannot be compared.
        DataError: a revision cannot be read.
    """
    with project(Path()) as repo:
        bases = resolve(repo, base)
        heads = [Revision(WORKING_TREE, None)] if head is None else resolve(repo, head)
        return compare(*([read_snapshot(repo, each) for each in side] for side in (bases, heads)))


def run_compare(
    base: str, head: str | None, form: str, output: Path | None, pictures: Path | None, fail_on_worse: bool
) -> None:
    """Compare two sides and print or write the result.

    Args:
        base: see `compared`.
        head: see `compared`.
        form: "md" or "json".
        output: file to write instead of the terminal.
        pictures: folder for pictures of what differs, and for `comparison.md`, the same page with them.
        fail_on_worse: end with 6 where a metric is worse.

    Raises:
        Worse: a metric is worse, and `fail_on_worse` is set. The result was written before.
    """
    comparison = compared(base, head)
    text = f"{json.dumps(as_json(comparison), indent=2)}\n" if form == "json" else render(comparison)
    if output is None:
        print(text, end="")
    else:
        _write(output, text)
    if pictures is not None:
        _write(pictures / "comparison.md", render(comparison, _pictures(comparison, pictures)))
    worse = comparison.verdicts(Verdict.WORSE)
    if worse and fail_on_worse:
        raise Worse(f"worse by more than noise: {', '.join(each.name for each in worse)}")


def _write(path: Path, text: str) -> None:
    with writing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def _pictures(comparison: Comparison, folder: Path) -> dict[str, list[str]]:
    """Draw what differs; path of a plot to its pictures."""
    if len(comparison.base) > 1:
        log.info("pictures are drawn of one revision against one; of several there are none")
        return {}
    from repflow.review.figures import write_pictures

    return write_pictures(comparison.base[0], comparison.head[0], folder)


def run_check(cache: bool) -> None:
    """Say whether the record belongs to the code and parameters of the working tree, and, if asked, the cache.

    Raises:
        OutOfDate: it does not.
        BrokenCache: an entry of the cache is missing or damaged.
    """
    with project(Path()) as repo:
        stale = stale_stages(repo)
        if stale:
            lines = [f"  {name}: {'; '.join(reasons)}" for name, reasons in stale.items()]
            told = "dvc.lock and the metrics are not of this code and these parameters; run `dvc repro` and commit"
            raise OutOfDate("\n".join([told, *lines]))
        log.info("dvc.lock, metrics and plots belong to the code and parameters that are here")
        if cache:
            from repflow.review.cache import check_cache

            log.info("%d entries of the cache are whole", check_cache(repo))
