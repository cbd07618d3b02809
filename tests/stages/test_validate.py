"""Validation: violations of every rule are found, critical rules stop the run, warnings are logged, results repeat."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.data.checks import ValidateConfig, checks, tables
from repflow.data.ingest.ingestion import describe
from repflow.data.ingest.sources.contract import listing
from repflow.data.store import open_store, write_store
from repflow.errors import ParameterError, ValidationFailed
from repflow.schema import build
from repflow.stages import validate

pytestmark = pytest.mark.xdist_group("validate")  # one worker imports Great Expectations, and checks the damaged images

DEFAULTS = Path(__file__).parents[2] / "conf" / "validate" / "default.yaml"

Images = list[tuple[dict[str, object], np.ndarray]]
"""Manifest values of each file, with its pixels, uint8 [3, 32, 32]."""


def digits(first: int, last: int) -> Images:
    """Handwritten digits of the bundled source."""
    data = load_digits()
    grey = (data.images[first:last] * (255 / 16)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    images = np.repeat(grey[:, None], 3, axis=1)
    facts = [
        {"path": f"digits/{number:04}", "given_class": str(label), "width": 32, "height": 32}
        for number, label in enumerate(data.target[first:last], first)
    ]
    return list(zip(facts, images, strict=True))


def photo(seed: int) -> np.ndarray:
    """Random noise that is no near-duplicate of any other image."""
    waves = np.fft.irfft2(np.fft.rfft2(np.random.default_rng(seed).normal(size=(32, 32))), s=(32, 32)).cumsum(0)
    grey = np.interp(waves, (waves.min(), waves.max()), (0, 255)).astype(np.uint8)
    return np.repeat(grey[None], 3, axis=0)


def store(folder: Path, files: Images, unreadable: tuple[str, ...] = ()) -> None:
    facts = pd.DataFrame([fact for fact, _ in files])
    facts = pd.concat([facts, pd.DataFrame({"path": list(unreadable), "reason": "is cut off"})], ignore_index=True)
    facts["index"] = [*range(len(files)), *[-1] * len(unreadable)]
    rows = listing(**{name: facts[name] for name in facts})
    images = np.stack([image for _, image in files])
    manifest, classes = describe(rows.astype({"index": "int64"}).fillna({"width": -1, "height": -1}), images)
    write_store(folder, images, manifest, classes, {})


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """A project with the default rules; call the fixture to change some."""
    monkeypatch.chdir(tmp_path)
    rules = yaml.safe_load(DEFAULTS.read_text())

    def change_rules(**changes: dict[str, object]) -> None:
        for name, change in changes.items():
            rules[name] = rules.get(name, {}) | change
        Path("params.yaml").write_text(yaml.safe_dump({"seed": 0, "validate": rules}))

    change_rules()
    return change_rules


def results(domain: str) -> dict[str, dict[str, object]]:
    return json.loads(Path(f"metrics/validate/{domain}.json").read_text())["rules"]


def broken(domain: str) -> dict[str, str]:
    return {name: rule["severity"] for name, rule in results(domain).items() if not rule["passed"]}


def test_clean_handwriting_passes_and_only_the_drift_of_another_domain_warns(configure, caplog):
    target = [(fact, 255 - image // 2) for fact, image in digits(900, 1300)]
    store(Path("data/stores/source"), digits(0, 900))
    store(Path("data/stores/target"), target)
    validate.run("source")
    validate.run("target")
    assert broken("source") == {}
    assert broken("target") == {"drift": "warning"}
    assert results("target")["drift"]["first"][0].startswith("brightness (")
    assert "warning: drift: 6 of 7 statistics differ between the domains" in caplog.text
    assert Path("reports/data_docs/source/index.html").is_file()
    assert list(Path("reports/data_docs/target/validations").rglob("*drift*.html"))


def damaged() -> tuple[Images, tuple[str, ...]]:
    """Digits with violations of every rule for one domain, and unreadable files."""
    good = digits(0, 900)

    def like(number: int, path: str, **changes: object) -> tuple[dict[str, object], np.ndarray]:
        fact, image = good[number]
        return fact | {"path": path} | changes, image.copy()

    exact = [like(number, f"copy/{number}") for number in range(12)]
    near = [like(number, f"near/{number}") for number in range(20, 90)]
    doubt = [like(number, f"doubt/{number}", given_class="x") for number in range(110, 126)]
    for _, image in near + doubt:
        image[:, 0, 0] += 2  # other bytes, but no visible difference
    plain = {"given_class": "0", "width": 32, "height": 32}
    odd = [({**plain, "path": f"tiny/{n}", "width": 3}, photo(n)) for n in range(14)]
    odd += [({**plain, "path": f"high/{n}", "width": 1, "height": 20_000}, photo(20 + n)) for n in range(7)]
    odd += [({**plain, "path": f"wide/{n}", "width": 20_000, "height": 1}, photo(30 + n)) for n in range(7)]
    odd += [({**plain, "path": f"blank/{n}"}, np.full((3, 32, 32), 100 + n, np.uint8)) for n in range(90)]
    odd += [({**plain, "path": f"dark/{n}"}, photo(200 + n) // 60) for n in range(80)]
    odd += [({**plain, "path": f"bright/{n}"}, 255 - photo(300 + n) // 60) for n in range(80)]
    odd += [({**plain, "path": f"few/{n}", "given_class": "rare"}, photo(400 + n)) for n in range(3)]
    files = good + exact + near + doubt + [like(100, "liar", given_class="7")] + odd
    return files, tuple(f"broken/{number}" for number in range(15))


DAMAGED = [
    ("readable", "critical", 15, "broken/0 (is cut off)"),
    ("exact_duplicates", "warning", 26, "digits/0000"),
    ("near_duplicates", "warning", 262, "digits/0020 (1)"),
    ("two_labels", "critical", 2, "digits/0100 (2)"),
    ("two_labels_near", "warning", 34, "digits/0100 (2)"),
    ("unknown_classes", "critical", 16, "doubt/110 (x)"),
    ("missing_classes", "critical", 1, "gone (0)"),
    ("images_per_class", "critical", 2, "rare (3)"),
    ("class_balance", "warning", 1, "rare ("),
    ("size", "critical", 28, "tiny/0 (3)"),
    ("aspect", "critical", 14, "high/0 (2e+04)"),
    ("blank", "critical", 250, "blank/0 (0)"),
    ("dark", "warning", 80, "dark/0 ("),
    ("bright", "warning", 80, "bright/0 ("),
    ("low_information", "warning", 90, "blank/0 (0)"),
]
"""Rule, severity, number of violations, and the first of them."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The results for the damaged source, by rule."""
    place = tmp_path_factory.mktemp("damaged")
    store(place / "source", *damaged())
    config = build(ValidateConfig, yaml.safe_load(DEFAULTS.read_text()), "validate")
    classes = (*map(str, range(10)), "rare", "gone")
    checked = tables(open_store(place / "source").manifest, classes, config.near_duplicate_distance)
    found = validate.run_checks(checked, checks(config, "source"), classes, "source", place / "pages")
    return {outcome.check.rule: outcome for outcome in found}


@pytest.mark.parametrize(("rule", "severity", "count", "first"), DAMAGED)
def test_a_broken_rule_is_found_with_its_count_and_the_first_paths(outcomes, rule, severity, count, first):
    outcome = outcomes[rule]
    assert not outcome.passed
    assert (outcome.check.severity, outcome.count) == (severity, count)
    assert outcome.first[0].startswith(first)
    assert len(outcome.first) == min(5, count)
    assert f"{rule}: {count} of " in str(outcome)
    assert first in str(outcome)


def test_images_of_one_colour_and_copies_of_the_source_are_found(configure):
    store(Path("data/stores/source"), digits(0, 300))
    grey = np.full((3, 32, 32), 5, np.uint8)
    grey[:, ::2] = 10  # not blank, and all alike
    alike = [({"path": f"grey/{n}", "given_class": "0", "width": 32, "height": 32}, grey) for n in range(20)]
    moved = digits(10, 12)
    for _, image in moved:
        image[:, 0, 0] += 2
    store(Path("data/stores/target"), alike + digits(7, 10) + moved)
    configure(two_labels={"severity": "off"}, channel_spread={"least": 90.0}, channel_means={"least": 200.0})
    validate.run("target")
    rules = results("target")
    assert "two_labels" not in rules
    assert broken("target").items() >= {"channel_means": "warning", "channel_spread": "warning"}.items()
    assert rules["in_both_domains"]["count"] == 5
    assert rules["in_both_domains"]["first"][0].startswith("digits/0007")


def test_a_critical_rule_stops_with_rule_count_paths_and_the_data_docs(configure):
    configure(two_labels_near={"severity": "off"})
    good = digits(0, 100)
    store(Path("data/stores/source"), good)
    validate.run("source")
    assert Path("metrics/validate/source.json").is_file()
    liars = [(fact | {"path": f"liar/{n}", "given_class": "9"}, image) for n, (fact, image) in enumerate(good[:9])]
    store(Path("data/stores/source"), good + liars)
    ended = CliRunner().invoke(app, ["validate", "source"])
    assert ended.exit_code == ValidationFailed.exit_code == 4
    assert "source: 1 critical rule is violated" in ended.stderr
    first = ", ".join(f"digits/000{number} (2)" for number in range(5))
    expected = f"two_labels: 18 of 109 images have exact copies with another label (none allowed): {first}, ..."
    assert expected in ended.stderr
    assert "reports/data_docs/source/index.html" in ended.stderr
    assert "Traceback" not in ended.output + ended.stderr
    assert Path("reports/data_docs/source/index.html").is_file()
    assert not Path("metrics/validate/source.json").exists(), "metrics of an earlier run do not describe these images"


def test_warnings_do_not_stop_and_are_in_the_metrics(configure, caplog):
    configure(two_labels={"severity": "warning"}, two_labels_near={"severity": False})
    good = digits(0, 100)
    store(Path("data/stores/source"), [*good, (good[5][0] | {"path": "liar", "given_class": "9"}, good[5][1])])
    validate.run("source")
    first = ["digits/0005 (2)", "liar (2)"]
    expected = {"severity": "warning", "passed": False, "count": 2, "of": 101, "first": first}
    assert results("source")["two_labels"] == expected
    assert "two_labels_near" not in results("source")
    assert json.loads(Path("metrics/validate/source.json").read_text())["warnings"] == len(broken("source"))
    assert "warning: two_labels: 2 of 101" in caplog.text


def test_the_targets_classes_are_compared_by_name_with_the_sources(configure):
    store(Path("data/stores/source"), digits(0, 300))
    unlike = [(fact | {"given_class": "yak"}, 255 - image) for fact, image in digits(300, 310)]
    known = [(fact, 255 - image) for fact, image in digits(310, 400) if fact["given_class"] not in "27"]
    store(Path("data/stores/target"), known + unlike)
    with pytest.raises(ValidationFailed, match=r"unknown_classes: 10 of 8\d images are of an unknown class .*\(yak\)"):
        validate.run("target")
    configure(unknown_classes={"severity": "warning"})
    validate.run("target")
    assert broken("target")["unknown_classes"] == "warning"
    assert results("target")["missing_classes"]["first"] == ["2 (0)", "7 (0)"]
    assert broken("target")["missing_classes"] == "warning", "a target may lack classes"


def test_a_target_without_labels_lacks_no_classes(configure):
    store(Path("data/stores/source"), digits(0, 300))
    store(Path("data/stores/target"), [(fact | {"given_class": None}, 255 - image) for fact, image in digits(300, 400)])
    validate.run("target")
    assert broken("target") == {"drift": "warning"}


def test_no_target_domain_passes_with_a_note(configure):
    store(Path("data/stores/source"), digits(0, 300))
    nothing = np.empty((0, 3, 32, 32), np.uint8)
    manifest, classes = describe(listing([]), nothing)
    write_store(Path("data/stores/target"), nothing, manifest, classes, {})
    validate.run("target")
    written = json.loads(Path("metrics/validate/target.json").read_text())
    assert written == {"files": 0, "note": "there is no target domain, nothing was checked"}


def test_violations_within_the_allowed_share_pass_and_are_still_listed(configure):
    blank = ({"path": "blank", "given_class": "0", "width": 32, "height": 32}, np.full((3, 32, 32), 9, np.uint8))
    store(Path("data/stores/source"), [*digits(0, 300), blank], unreadable=("broken",))
    validate.run("source")
    assert broken("source") == {}
    rules = results("source")
    assert rules["blank"] == {"severity": "critical", "passed": True, "count": 1, "of": 301, "first": ["blank (0)"]}
    assert rules["readable"]["count"] == 1
    assert rules["readable"]["of"] == 302


def test_results_are_the_same_bytes_in_every_run(configure):
    files, unreadable = damaged()
    for name in yaml.safe_load(DEFAULTS.read_text()):
        if name not in ("classes", "near_duplicate_distance"):
            configure(**{name: {"severity": "warning"}})
    store(Path("data/stores/source"), files, unreadable)
    runs = []
    for _ in range(2):
        validate.run("source")
        runs.append(Path("metrics/validate/source.json").read_bytes())
    assert runs[0] == runs[1]
    assert str(Path.cwd()).encode() not in runs[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blnak": {"severity": "off"}}, "validate.blnak: unknown parameter; did you mean 'blank'"),
        ({"dark": {"severity": "fatal"}}, 'validate.dark.severity: "fatal" is not allowed'),
        ({"dark": {"share": 1.5}}, "validate.dark.share: 1.5 is not allowed"),
        ({"readable": {"least": 3}}, "validate.readable.least: unknown parameter"),
    ],
)
def test_a_rule_misspelt_or_out_of_range_is_named(configure, change, message):
    configure(**change)
    with pytest.raises(ParameterError) as raised:
        validate.run("source")
    assert message in str(raised.value)


def test_the_stage_does_not_import_heavy_packages_before_it_needs_them():
    code = "import repflow.stages.validate, repflow.stages.split, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "great_expectations", "sklearn", "torchvision"} & set(loaded)
