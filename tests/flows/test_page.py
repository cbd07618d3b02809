"""The commands of docs/flows.md work."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import optuna

from repflow.stages.searching.journal import open_storage

PAGE = Path(__file__).parents[2] / "docs" / "flows.md"


def test_the_dashboard_opens_the_journal_of_a_search(tmp_path: Path, free_port: Callable[[], int]) -> None:
    journal = tmp_path / ".repflow" / "tune" / "last.log"
    journal.parent.mkdir(parents=True)
    study = optuna.create_study(study_name="the search", storage=open_storage(journal), direction="maximize")
    study.add_trial(optuna.create_trial(value=0.5))
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith("optuna-dashboard "))
    program, port = Path(sys.executable).with_name("optuna-dashboard"), free_port()
    command = [program, *line.split()[1:], "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as dashboard:
        try:
            while (found := studies(port)) is None:
                assert dashboard.poll() is None
                time.sleep(0.1)
        finally:
            dashboard.kill()
    assert found == ["the search"]


def studies(port: int) -> list[str] | None:
    """The names of the studies that the dashboard lists; None while it does not answer."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/studies", timeout=60)
    except httpx.TransportError:
        return None
    return [each["study_name"] for each in json.loads(answer.text)["study_summaries"]]
