"""The stage `report`: both pages are complete, self-contained and reproducible, and use no target labels."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import yaml

from repflow.data.read.rows import Domain
from repflow.evaluation.image_grids import ImageGrid
from repflow.stages import evaluate, probe, report
from repflow.stages.image_grids import write_image_grids
from repflow.stages.reporting.content import Table
from repflow.stages.reporting.results import read_results
from repflow.stages.reporting.sections.cost import cost_section

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The elements, identifiers, links and text of a page; fails if tags do not match."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.links += [str(values[name]) for name in ("href", "src", "xlink:href", "srcset") if name in values]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())


def page(folder: Path) -> Page:
    return Page((folder / "reports/report.html").read_text(encoding="utf-8"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_page_is_self_contained(reported: Path) -> None:
    found = page(reported)
    assert all(link.startswith(("#", "data:")) for link in found.links)
    html = (reported / "reports/report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)", html)
    assert "script" not in found.tags
    assert "svg" in found.tags
    assert "img" in found.tags
    assert str(reported) not in html


def test_identifiers_are_unique_and_links_lead_somewhere(reported: Path) -> None:
    found = page(reported)
    assert len(found.ids) == len(set(found.ids))
    inside = {link[1:] for link in found.links if link.startswith("#")}
    html = (reported / "reports/report.html").read_text(encoding="utf-8")
    inside |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert inside
    assert inside <= set(found.ids)


def test_markdown_shows_every_figure_and_no_other(reported: Path) -> None:
    text = (reported / "reports/report.md").read_text(encoding="utf-8")
    shown = [unquote(name) for name in re.findall(r'src="figures/([^"]+)"', text)]
    assert sorted(shown) == sorted(path.name for path in (reported / "reports/figures").iterdir())
    assert len(shown) == len(set(shown)) > 15
    for line in re.findall(r"^\|.*$", text, flags=re.MULTILINE):
        assert line.endswith("|")


def test_violations_of_the_data_validation_are_listed(reported: Path) -> None:
    assert "dark source 7 of 300 warning a/1_<b>.png (2), a/2.png (3)" in page(reported).text
    assert "1 of 2 checks found no violation" in page(reported).text
    assert r"| dark | source | 7 of 300 | warning | a/1\_\<b\>.png (2), a/2.png (3) |" in (
        reported / "reports/report.md"
    ).read_text(encoding="utf-8")


def test_the_page_begins_with_the_best_model_beside_the_baseline(reported: Path) -> None:
    chosen = json.loads((reported / "metrics/select.json").read_text())
    markdown = (reported / "reports/report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", markdown, flags=re.MULTILINE)[0] == "Best model"
    assert re.findall(r'src="figures/([^"]+)"', markdown)[0] == "best.png"
    for text in (page(reported).text, markdown):
        assert "Labels used: " in text
        for scores in (chosen["best"], chosen["candidates"]["baseline"]):
            assert f"{100 * scores['source']['accuracy']:.1f} %" in text
    assert "Probe with HOG" in markdown
    assert "| Source only |" in markdown


def test_the_last_lines_say_what_came_of_the_run(reported: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    report.run()
    said = [record.getMessage() for record in caplog.records if record.name == "repflow.stages.report"]
    assert said[0].startswith("report: Best model: ")
    assert any("Baseline" in line or "baseline" in line for line in said)
    assert any(line.startswith("report: Labels used: ") for line in said)
    assert said[-1].endswith("reports/report.html")


def test_both_pages_show_the_metrics(reported: Path) -> None:
    results = json.loads((reported / "metrics/evaluate.json").read_text())
    markdown = (reported / "reports/report.md").read_text(encoding="utf-8")
    for text in (page(reported).text, markdown):
        for model in ("finetune", "source_only", "coral", "train_on_target"):
            for domain in ("source", "target"):
                assert f"{100 * results[model][domain]['accuracy']:.1f} %" in text
        assert f"{100 * results['coral']['gap_closed']['value']:.0f} %" in text
        assert "is significantly better" in text
        assert "n = 80" in text


def test_another_folder_target_labels_and_costs_of_this_machine_change_nothing(
    reported: Path, permute_labels: Callable[[Path, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report was made in one folder, and is made again in another, with all three changed."""
    before = files(reported / "reports")
    shutil.rmtree(reported / "reports")
    for side in ("labelled", "unlabelled", "validation", "test"):
        permute_labels(reported, "target", side)
    (reported / ".repflow/cost").mkdir(parents=True)
    (reported / ".repflow/cost/pretrain.json").write_text('{"seconds": 7777.0, "energy_kwh": 0.5}')
    read = Domain._labels

    def guarded(domain: Domain) -> np.ndarray:
        assert domain.name == "source", "the report reads target labels"
        return read(domain)

    monkeypatch.setattr(Domain, "_labels", guarded)
    report.run()
    assert files(reported / "reports") == before
    permute_labels(reported, "source", "test")
    report.run()
    assert files(reported / "reports") != before, "source labels colour the map; this shows that the test can fail"


def test_one_domain_alone(one_domain: Path) -> None:
    text = page(one_domain).text
    assert "no target domain" in text
    assert "domain gap" not in text.replace("Share of the domain gap closed", "")
    names = [path.name for path in (one_domain / "reports/figures").iterdir()]
    assert not [name for name in names if "target" in name or "coral" in name]
    assert "map.pretrain.png" in names


def test_a_target_without_labels(trained_project: Path) -> None:
    path = trained_project / "data/stores/target/manifest.parquet"
    manifest = pd.read_parquet(path)
    manifest["given_class"], manifest["label"] = None, -1
    manifest.to_parquet(path, index=False)
    probe.run()
    evaluate.run()
    report.run()
    text = page(trained_project).text
    assert "no labelled test images" in text
    assert "Accuracy on the source" in text
    assert "Accuracy on the target" not in text
    assert (trained_project / "reports/figures/map.coral.png").is_file()


def test_names_are_escaped(trained_project: Path) -> None:
    """Class names and method descriptions are never interpreted as HTML or Markdown."""
    names = ("<script>alert(1)</script>", "a|b", "*bold*", "$\\frac{1}$ 日本", *map(str, range(4, 10)))
    for domain in ("source", "target"):
        path = trained_project / "data/stores" / domain / "manifest.parquet"
        manifest = pd.read_parquet(path)
        manifest["given_class"] = manifest["label"].map(dict(enumerate(names)))
        manifest.to_parquet(path, index=False)
    (trained_project / "data/splits/classes.json").write_text(json.dumps(names))
    for model in sorted((trained_project / "models").rglob("model.json")):
        about = json.loads(model.read_text())
        model.write_text(json.dumps(about | ({"classes": names} if about["classes"] else {})))
    probe.run()
    evaluate.run()
    report.run()
    found = page(trained_project)
    assert "script" not in found.tags
    assert names[0] in found.text
    markdown = (trained_project / "reports/report.md").read_text(encoding="utf-8")
    assert r"a\|b" in markdown
    assert r"\*bold\*" in markdown
    assert "<script>" not in markdown.replace(r"\<script\>", "")
    header = markdown[markdown.index("| source class") :].splitlines()
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in header[:6]}
    assert len(columns) == 1


def test_a_search_image_grids_and_published_results_are_shown_where_there_are_any(reported: Path) -> None:
    figures = reported / "reports/figures"
    assert not (figures / "search.png").exists()
    assert not list(figures.glob("pretrain.*"))
    (figures / "old.png").write_bytes(b"")
    (reported / "models/tune").mkdir()
    table = "number,state,steps,value,training.optimizer.learning_rate\n0,complete,40,0.5,0.01\n1,pruned,20,0.3,0.1\n"
    (reported / "models/tune/trials.csv").write_text(table + "2,failed,0,,1.0\n3,complete,40,0.625,0.02\n")
    (reported / "models/tune/best.yaml").write_text("training.optimizer.learning_rate: 0.02\n")
    lines = [np.full((2, 3, 8, 8), 90, np.uint8)]
    drawn = [
        ImageGrid("pictures", "What <it> makes", "2 images. From the left: image, made of its code.", lines, group=2),
        ImageGrid("filters", "Filters", "The 2 filters of the first layer, 8 × 8 pixels each.", lines),
    ]
    write_image_grids(reported / "plots/pretrain", drawn)
    parameters = yaml.safe_load((reported / "params.yaml").read_text())
    published = {"source": "Somebody 2016", "differences": "Other images.", "accuracy": {"source_only": 0.5225}}
    parameters["report"]["published"] = published
    (reported / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    report.run()
    assert (figures / "search.png").is_file()
    assert not (figures / "old.png").exists(), "outdated figures are deleted"
    text = page(reported).text
    assert "4 trials, 1 of them pruned" in text
    assert "training.optimizer.learning_rate 0.01 0.02" in text
    for sheet in drawn:
        shown = (figures / f"pretrain.{sheet.name}.png").read_bytes()
        assert shown == (reported / f"plots/pretrain/{sheet.name}.png").read_bytes()
        for text in (page(reported).text, (reported / "reports/report.md").read_text(encoding="utf-8")):
            assert sheet.caption in text
    html = (reported / "reports/report.html").read_text(encoding="utf-8")
    assert 'width="132" alt="What &lt;it&gt; makes">' in html, "not smoothed"
    assert html.index("made of its code") < html.index("filters of the first layer")
    for text in (page(reported).text, (reported / "reports/report.md").read_text(encoding="utf-8")):
        assert "52.2 %" in text
        assert "Somebody 2016" in text
        assert "Other images." in text


def test_accuracy_is_shown_with_the_total_compute(reported: Path) -> None:
    """In TFLOP: the pretraining took 4, CORAL 250, the others 1 each; there was no search."""
    results = json.loads((reported / "metrics/evaluate.json").read_text())
    accuracy = f"{100 * results['coral']['target']['accuracy']:.1f} %"
    rows = re.findall(r"^\| (.*) \|$", (reported / "reports/report.md").read_text(encoding="utf-8"), re.MULTILINE)
    cells = {row.split(" | ")[0]: row.split(" | ")[1:] for row in rows if re.search(r" \| [36],[24]00 \| ", row)}
    assert cells["Made-up learning"] == ["6,400", "4.00", "", "", ""]
    assert cells["Supervised learning"][:3] == ["3,200", "1.00", "5.00"]
    assert cells["CORAL"][:3] == ["3,200", "250", "254"]
    assert cells["CORAL"][-1] == accuracy
    assert (reported / "reports/figures/cost.source.png").is_file()
    assert (reported / "reports/figures/cost.target.png").is_file()
    assert "`repflow cost`" in page(reported).text


def test_a_model_without_steps_costs_what_it_starts_from(reported: Path) -> None:
    described = reported / "models/adapt/coral/model.json"
    described.write_text(described.read_text().replace('"start": "pretrained"', '"start": "source_only"'))
    metrics = {"steps": 0, "kept_step": 0, "images_seen": 0, "flops": 0}
    (reported / "metrics/adapt/coral.json").write_text(json.dumps(metrics))
    *_, table = cost_section(read_results()).blocks
    assert isinstance(table, Table)
    rows = {row[0]: row[1:4] for row in table.rows}
    assert rows["Source only"] == ["3,200", "1.00", "5.00"]  # with the pretraining
    assert rows["CORAL"] == ["0", "0", "5.00"]


def test_a_run_without_a_choice_and_without_flop_counts_has_a_report_without_these_sections(reported: Path) -> None:
    (reported / "metrics/select.json").unlink()
    for path in (reported / "metrics").rglob("*.json"):
        about = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in about.items() if key != "flops"}))
    report.run()
    assert "Best model" not in (reported / "reports/report.md").read_text(encoding="utf-8")
    assert "Training cost" not in page(reported).text
    assert not list((reported / "reports/figures").glob("cost.*"))
