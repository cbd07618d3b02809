"""The model card `models/best/README.md`, in the form that model hubs take: YAML metadata, then Markdown.

Mitchell et al. Model Cards for Model Reporting. FAT* 2019. The metadata are those of the Hugging Face Hub, its
`model-index` among them: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from repflow.data.read.rows import Domain, Side
from repflow.encoders.model_files import Description, EnsembleDescription, read_any_description
from repflow.stages.conclusion import beside_baseline
from repflow.stages.names import joined_names, names_in_words
from repflow.stages.parameters import read_raw
from repflow.stages.starting_models import SOURCE_ONLY

_LICENCES = ("licence", "license")
_TASK = {"type": "image-classification", "name": "Image classification"}


def model_card(folder: Path, selection: Mapping[str, Any], domains: Mapping[str, Domain]) -> str:
    """The card of the model in `folder`.

    Args:
        folder: holds the chosen model.
        selection: the content of `metrics/select.json`.
        domains: "source" and "target".
    """
    description = read_any_description(folder)
    members = description.members if isinstance(description, EnsembleDescription) else (description,)
    names = names_in_words(selection["candidates"])
    title = joined_names(names, selection["chosen"])
    metadata = yaml.safe_dump(_metadata(selection, members), sort_keys=False, allow_unicode=True, width=120)
    sections = {
        "What it is": _what(selection, members, title),
        "Classes": ", ".join(f"`{name}`" for name in description.classes) + ".",
        "Data": _data(selection, domains),
        "How it was made": _making(selection, members, names),
        "Figures": _figures(selection, names),
        "Limits": _limits(selection, members),
        "Licence": _licence_text(members),
        "How to use it": _USE,
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    return f"---\n{metadata}---\n\n# {title}\n\n{body}\n"


def _metadata(selection: Mapping[str, Any], members: tuple[Description, ...]) -> dict[str, Any]:
    """The metadata of the card, by the names of the Hub."""
    found: dict[str, Any] = {"library_name": "repflow", "pipeline_tag": "image-classification"}
    licences = sorted({str(about[key]) for about in _origins(members) for key in _LICENCES if about.get(key)})
    if len(licences) == 1 and re.fullmatch(r"[a-z0-9.-]+", licences[0].lower()):
        found["license"] = licences[0].lower()
    elif licences:
        found |= {"license": "other", "license_name": ", ".join(licences)}
    found["tags"] = ["image-classification", "repflow", "pytorch", "safetensors"]
    found["metrics"] = ["accuracy", "f1"]
    results = [
        {
            "task": dict(_TASK),
            "dataset": {"name": f"{kind} ({domain})", "type": kind, "split": "test"},
            "metrics": [
                {"type": "accuracy", "value": round(own["accuracy"], 4), "name": f"Accuracy, {_between(own)}"},
                {"type": "f1", "value": round(own["f1"], 4), "name": "F1, macro average"},
            ],
        }
        for domain, kind, own in _tested(selection)
    ]
    return found | {"model-index": [{"name": "best", "results": results}]}


def _tested(selection: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Domain, kind of data and scores of the chosen model, for each domain that it was tested on."""
    for domain in ("source", "target"):
        if domain in selection["best"]:
            yield domain, str(read_raw(f"data.{domain}.kind")), selection["best"][domain]


def _origins(members: tuple[Description, ...]) -> Iterator[Mapping[str, Any]]:
    """Every mapping in the provenances and encoders' parameters of the members, in which a licence may stand."""
    for member in members:
        yield from _mappings(member.provenance)


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from _mappings(each)


def _what(selection: Mapping[str, Any], members: tuple[Description, ...], title: str) -> str:
    about = members[0].preprocessing
    colours = "colour" if about["channels"] == 3 else "grey"
    kind = f"The weighted mean of {len(members)} classifiers" if len(members) > 1 else "One classifier"
    return (
        f"{kind}: {title}. It takes {colours} images of {about['size']} × {about['size']} pixels (others are resized:"
        f" `{about['resize']}`) and gives the probabilities of {len(members[0].classes)} classes. Of"
        f" {len(selection['candidates'])} classifiers of the same run it was chosen by the log-likelihood of"
        f" {selection['rows']['validation']:,} validation images."
    )


def _data(selection: Mapping[str, Any], domains: Mapping[str, Domain]) -> str:
    lines = ["| domain | kind | images | " + " | ".join(side.value for side in Side) + " |"]
    lines.append("| --- | --- | ---: |" + " ---: |" * len(Side))
    for name, domain in domains.items():
        if len(domain.sides):
            counts = [f"{int((domain.sides == side.value).sum()):,}" for side in Side]
            lines.append(f"| {name} | {read_raw(f'data.{name}.kind')} | {len(domain.sides):,} | {' | '.join(counts)} |")
    labels = selection["labels"]
    return "\n".join(lines) + (
        f"\n\nLabels used: {labels['training']:,} for training, {labels['choosing']:,} for choosing. Near-duplicates of"
        " a test image are on no other side."
    )


def _making(selection: Mapping[str, Any], members: tuple[Description, ...], names: Mapping[str, str]) -> str:
    lines = ["| part | weight | temperature | method | encoder | steps |", "| --- | ---: | ---: | --- | --- | ---: |"]
    for (key, weight), member in zip(selection["chosen"].items(), members, strict=True):
        about = member.provenance
        steps = about.get("training", {}).get("steps", "")
        method = f"`{about.get('method', 'unknown')}`"
        if "encoder" in about:
            method += f" on `{about['encoder'].get('method', 'unknown')}`"
        elif about.get("start") in ("pretrained", "probed"):
            method += " from the pretrained encoder"
        elif about.get("start") == SOURCE_ONLY:
            method += " on the network trained on the source alone"
        cells = (names[key], f"{weight:.2f}", f"{member.temperature:g}", method, _encoder(member.encoder), str(steps))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + (
        "\n\n`model.json` holds all settings. Every logit is divided by the temperature, which was fitted on the"
        " validation images."
    )


def _encoder(about: Any) -> str:
    parts = [part.name for part in about.parts] if about.name == "concatenated" else [about.name]
    return " beside ".join(parts)


def _figures(selection: Mapping[str, Any], names: Mapping[str, str]) -> str:
    lines = [f"| model | validation | source test | {_level()} interval |", "| --- | ---: | ---: | ---: |"]
    for name, own in (
        ("**this model**", selection["best"]),
        *((names[k], v) for k, v in selection["candidates"].items()),
    ):
        test = own["source"]
        lines.append(
            f"| {name} | {_percent(own['validation'])} | {_percent(test['accuracy'])} |"
            f" {_percent(test['low'])} to {_percent(test['high'])} |"
        )
    text = "\n".join(lines)
    text += f"\n\n{selection['rows']['source']:,} test images of the source. {beside_baseline(selection)}"
    if "target" in selection["best"]:
        own, number = selection["best"]["target"], selection["rows"]["target"]
        text += f" On {number:,} test images of the target: {_percent(own['accuracy'])}, {_between(own)}."
    return text


def _limits(selection: Mapping[str, Any], members: tuple[Description, ...]) -> str:
    own = selection["best"]["source"]
    return (
        f"- It always answers with one of its {len(members[0].classes)} classes, also for an image of something else.\n"
        "- The figures hold for images like those of the test split; intervals show the chance in the choice of test"
        " images, not that of another training.\n"
        f"- Of the class that it recognises worst, it finds {_percent(own['worst_recall'])}; its probabilities are off"
        f" by {_percent(own['ece'])} on average (expected calibration error on the test images).\n"
        f"- {selection['rows']['validation']:,} validation images chose it, so its validation figures are a little too"
        " good."
    )


def _licence_text(members: tuple[Description, ...]) -> str:
    lines = []
    for about in _origins(members):
        licence = next((about[key] for key in _LICENCES if about.get(key)), None)
        if licence is not None:
            source = f", from {about['source']}" if about.get("source") else ""
            lines.append(f"- Pretrained weights{source}: {licence}.")
    if not lines:
        return (
            "All weights were trained by this run, on the data above. What holds for these data, holds for the model."
        )
    return "\n".join(dict.fromkeys(lines)) + "\n\nThe rest was trained by this run, on the data above."


_USE = """\
The folder with this card is the model, here `best/`. With the Python package `repflow`:

```
repflow predict photo.jpg photos/ --model best
repflow export classifier.onnx --model best
```

```python
from pathlib import Path

from repflow.evaluation.prediction import predict

for prediction in predict(Path("best"), [Path("photos")], top=3):
    print(prediction.path, prediction.classes)
```"""


def _between(own: Mapping[str, float]) -> str:
    return f"{_level()} interval {_percent(own['low'])} to {_percent(own['high'])}"


def _level() -> str:
    return f"{100 * read_raw('evaluate.confidence'):g} %"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
