"""The section on cost: how accurate each classifier is for the operations that went into it."""

from collections.abc import Iterator

from repflow.stages.reporting.charts import Estimate
from repflow.stages.reporting.content import Block, Figure, Figures, Paragraph, Section, Table, percent
from repflow.stages.reporting.cost_chart import cost_chart
from repflow.stages.reporting.facts import Facts, metrics
from repflow.stages.reporting.style import SOURCE, TARGET

UNIT = "10¹² operations"
_UNIT = 1e12


def cost_section(facts: Facts) -> Section:
    """Accuracy against floating-point operations. What depends on the machine has no place on this page."""
    work = {name: about["flops"] for name in _trainings(facts) if (about := metrics(name)).get("flops")}
    if not work:
        return Section("What it cost", [])
    text = (
        "Work is counted in floating-point operations: matrix products, convolutions and attention of one real step,"
        " forward and backward, times the steps. A model's work includes what it was made from: the"
        " pretraining where it starts from there, and the search of its settings. How long it took, how much memory and"
        " which energy depend on the machine, so they are not on this page: `repflow cost` shows them where it ran."
    )
    blocks: list[Block] = [Paragraph(text), Figures(list(_figures(facts, work))), _table(facts, work)]
    return Section("What it cost", blocks)


def _trainings(facts: Facts) -> list[str]:
    """The metrics' names of all trainings, in the order of the graph."""
    return ["pretrain", "tune", "finetune", *(f"adapt/{key}" for key in facts.adapt)]


def _behind(facts: Facts, model: str) -> list[str]:
    """The trainings that the classifier `model` is made of."""
    before = ["pretrain"] if facts.models[model].start == "pretrained" else []
    return [*before, "tune", "finetune"] if model == "finetune" else [*before, f"adapt/{model}"]


def _work_behind(facts: Facts, work: dict[str, int], model: str) -> int:
    return sum(work.get(name, 0) for name in _behind(facts, model))


def _figures(facts: Facts, work: dict[str, int]) -> Iterator[Figure]:
    for domain in facts.evaluation["rows"]:
        shown = [key for key in facts.models if facts.scores(key, domain) and _work_behind(facts, work, key)]
        if not shown:
            continue
        estimates = [
            Estimate(facts.models[key].name, own["accuracy"], own["low"], own["high"])
            for key in shown
            if (own := facts.scores(key, domain))
        ]
        title = f"Accuracy on the {domain} against work"
        colour = SOURCE if domain == "source" else TARGET
        flops = [_work_behind(facts, work, key) / _UNIT for key in shown]
        chart = cost_chart(f"cost.{domain}", title, title, estimates, flops, UNIT, colour)
        caption = f"Up is better, left is cheaper, on a logarithmic scale. Lines: the intervals of the {domain} test."
        yield Figure(chart, caption)


def _table(facts: Facts, work: dict[str, int]) -> Table:
    names = {"pretrain": facts.pretrain.name, "tune": "search", "finetune": facts.finetune.name}
    names |= {f"adapt/{key}": card.name for key, card in facts.adapt.items()}
    domains = list(facts.evaluation["rows"])
    rows = []
    for name, flops in work.items():
        about = metrics(name)
        model = name.removeprefix("adapt/") if name not in ("pretrain", "tune") else ""
        cells = [names[name], f"{about['images_seen']:,}", _work(flops)]
        if model:
            cells.append(_work(_work_behind(facts, work, model)))
            cells += [percent(own["accuracy"]) if (own := facts.scores(model, d)) else "" for d in domains]
        else:
            cells += [""] * (1 + len(domains))
        rows.append(cells)
    header = ["training", "images seen", "work", "with what it is made from", *(f"{d} accuracy" for d in domains)]
    return Table(header, rows, f"Work in {UNIT}.")


def _work(flops: int) -> str:
    """Operations in the unit, to three digits."""
    amount = flops / _UNIT
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:#.3g}"
