"""What is reported of a stage: why it ran, why it failed, its progress, and whether it is retried."""

import pytest

from artifacts import artifact_key, fraction_done, table_rows
from changes import in_words, read_status
from stage_run import cause, is_transient

STATUS = """
WARNING: something {else}
{"train": [{"changed deps": {"params.yaml": {"seed": "modified"}, "src/a.py": "modified", "data": "deleted"}},
 {"changed outs": {"models": "deleted"}}, "changed command", "always changed"], "new": ["unheard of"]}
"""


def test_the_reasons_of_a_stage_are_put_into_words() -> None:
    reasons = read_status(STATUS.replace("something {else}", "something"))
    assert reasons == {
        "train": [
            "parameter seed modified",
            "code src/a.py modified",
            "dependency data deleted",
            "output models deleted",
            "its command changed",
            "it runs every time",
        ],
        "new": ["unheard of"],
    }
    assert in_words(reasons["train"], ["split"]).startswith("split ran before it, parameter seed modified, ")
    assert in_words(reasons["train"], ["split"]).endswith(" and 1 more")


@pytest.mark.parametrize("text", ["", "no JSON", "[]"])
def test_an_output_without_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        read_status(text)


def test_the_cause_is_the_stages_own_error_before_dvcs() -> None:
    of_dvc = "ERROR: failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause(["error: too short", "bye", of_dvc]) == "too short"
    assert cause(["bye", of_dvc]) == "failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause([]) == "it printed nothing"


def test_a_held_lock_is_reported_with_its_holder() -> None:
    lines = ["ERROR: failed to reproduce 'a': 'a.txt' is busy, it is being blocked by:", "  (PID 17): dvc repro", "If"]
    assert cause(lines) == (
        "another DVC process holds a lock on the same files: (PID 17): dvc repro; wait for it, or end it"
    )
    assert is_transient(lines)


def test_a_broken_lock_file_is_reported_with_what_to_do() -> None:
    assert cause(["ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted"]).endswith(
        "remove it if no other DVC process runs"
    )


@pytest.mark.parametrize(
    ("line", "passing"),
    [
        ("ERROR: failed to reproduce 'a': failed to run: x, exited with 75", True),
        ("RuntimeError: CUDA error: unspecified launch failure", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", False),
        ("ERROR: failed to reproduce 'a': failed to run: x, exited with 2", False),
        ("RuntimeError: CUDA error: device-side assert triggered", False),
    ],
)
def test_only_transient_failures_are_retried(line: str, passing: bool) -> None:
    assert is_transient(["before", line]) is passing


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("pretrain: step 30/300, loss 1.5, 100 images/s, 3 s left", 0.1),
        ("tune: 2 of 8: trial 1, learning_rate 0.1: pruned", 0.25),
        ("step 400/300", 1.0),
        ("12 of 13 files", None),
        ("step 3/0", None),
    ],
)
def test_progress_is_read_from_the_output_of_a_stage(line: str, share: float | None) -> None:
    assert fraction_done(line) == share


def test_artifact_keys_are_lower_case_words_with_dashes() -> None:
    assert artifact_key("metrics/adapt/Train_on.json") == "metrics-adapt-train-on"


def test_nested_metrics_become_rows() -> None:
    assert table_rows({"a": {"b": [1, float("nan")]}, "c": "x"}) == [
        {"metric": "a.b.0", "value": 1},
        {"metric": "a.b.1", "value": "nan"},
        {"metric": "c", "value": "x"},
    ]
