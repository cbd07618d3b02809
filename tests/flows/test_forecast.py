"""The plan at the start of a flow run: only where something will train, and never a reason to fail."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

import forecast
from forecast import is_worthwhile, publish_forecast
from graph import Stage


def stage(address: str, *upstream: str) -> Stage:
    return Stage(address, 0, upstream, (), (), "cpu")


GRAPH = [
    stage("code"),
    stage("split", "code"),
    stage("pretrain", "code", "split"),
    stage("adapt@dann", "code", "pretrain"),
    stage("report", "code", "adapt@dann"),
]


@pytest.mark.parametrize(
    ("outdated", "force", "expected"),
    [
        (set(), False, False),
        ({"report"}, False, False),
        ({"code"}, False, True),  # perhaps not only a comment
        ({"adapt@dann"}, False, True),
        ({"split"}, False, True),  # what depends on it trains
        (set(), True, True),
    ],
)
def test_a_plan_is_made_only_where_something_may_train(outdated: set[str], force: bool, expected: bool) -> None:
    assert is_worthwhile(GRAPH, lambda address: address in outdated, force) is expected


class Answering:
    """Stands for the processes of a flow run; answers a command with lines and an exit code."""

    def __init__(self, lines: list[str], code: int):
        self.lines, self.code, self.commands = lines, code, list[list[str]]()

    def run(self, command: list[str], line: Callable[[str], None]) -> int:
        self.commands.append(command)
        for each in self.lines:
            line(each)
        return self.code


def row(address: str, runs: bool, seconds: float) -> dict[str, Any]:
    known = {"memory_bytes": 2**30, "gpu_memory_bytes": None, "disk_bytes": 2**20}
    return {"stage": address, "runs": runs, "seconds": seconds, **known}


def test_the_log_has_the_sum_over_the_stages_of_the_flow_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row("split", True, 4.0), row("pretrain", True, 300.0), row("tune", True, 900.0), row("report", False, 9.0)]
    text = json.dumps({"stages": rows, "total": {}}, indent=2)
    processes = Answering(["plan: pretrain: times a few of 9 steps", *text.splitlines()], 0)
    published: list[Any] = []
    monkeypatch.setattr(forecast, "create_table_artifact", lambda table, **named: published.append(table))
    with caplog.at_level(logging.INFO):
        publish_forecast(processes, [*GRAPH, stage("report")], True, logging.getLogger("flow"))  # type: ignore[arg-type]
    assert caplog.messages == [
        "plan: 2 stages run, one after another: about 5 min, 1.0 GiB of memory, 2 MiB on disk, and as much in DVC's"
        " cache unless it links."
    ]
    assert [[each["stage"] for each in table] for table in published] == [["split", "pretrain", "report"]]
    assert processes.commands[0][-3:] == ["plan", "--json", "--all"]


@pytest.mark.parametrize(("lines", "code"), [(["error: pictures: no such folder"], 3), (["{"], 0), ([], 0)])
def test_a_plan_that_fails_is_a_warning(lines: list[str], code: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        publish_forecast(Answering(lines, code), GRAPH, False, logging.getLogger("flow"))  # type: ignore[arg-type]
    assert [(each.levelname, each.getMessage()[:9]) for each in caplog.records] == [("WARNING", "no plan: ")]
