"""What is told of a stage: why it ran, why it failed, and whether another try is worth it."""

import pytest

from artifacts import artifact_key, share_done, table_rows
from changes import in_words, read_status
from stage_run import cause, may_pass

STATUS = """
WARNING: something {else}
{"train": [{"changed deps": {"params.yaml": {"seed": "modified"}, "src/a.py": "modified", "data": "deleted"}},
 {"changed outs": {"models": "deleted"}}, "changed command", "always changed"], "new": ["unheard of"]}
"""


def test_why_a_stage_runs_is_said_in_words() -> None:
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
def test_a_status_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        read_status(text)


def test_the_cause_is_the_stages_own_error_before_dvcs() -> None:
    of_dvc = "ERROR: failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause(["error: too short", "bye", of_dvc]) == "too short"
    assert cause(["bye", of_dvc]) == "failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause([]) == "it said nothing"


def test_a_lock_that_is_held_is_told_with_its_holder() -> None:
    lines = ["ERROR: failed to reproduce 'a': 'a.txt' is busy, it is being blocked by:", "  (PID 17): dvc repro", "If"]
    assert cause(lines) == (
        "another DVC process is at work on the same files: (PID 17): dvc repro; wait for it, or end it"
    )
    assert may_pass(lines)


def test_a_lock_that_a_full_disk_or_a_kill_broke_is_told_with_the_cure() -> None:
    assert cause(["ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'. JSON structure is corrupted"]).endswith(
        "where no other DVC is at work, remove it"
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
def test_only_what_may_pass_by_itself_is_tried_again(line: str, passing: bool) -> None:
    assert may_pass(["before", line]) is passing


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
def test_how_far_a_stage_is_comes_from_what_it_says(line: str, share: float | None) -> None:
    assert share_done(line) == share


def test_artifact_keys_are_lower_case_words_with_dashes() -> None:
    assert artifact_key("metrics/adapt/Train_on.json") == "metrics-adapt-train-on"


def test_nested_metrics_become_rows() -> None:
    assert table_rows({"a": {"b": [1, float("nan")]}, "c": "x"}) == [
        {"metric": "a.b.0", "value": 1},
        {"metric": "a.b.1", "value": "nan"},
        {"metric": "c", "value": "x"},
    ]
